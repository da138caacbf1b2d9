package strictyaml

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// converter makes our nodes of the parser's, and masks secrets on the way.
type converter struct {
	r     *Report
	depth int
}

func (c *converter) convert(n ast.Node, secret bool) *Node {
	if c.depth++; c.depth > maxDepth {
		c.r.file.maskText()
		c.r.Add(c.span(n), "", fmt.Sprintf("values are nested more than %d deep", maxDepth), "")
		return &Node{}
	}
	defer func() { c.depth-- }()
	out := &Node{Span: c.span(n), Secret: secret}
	switch n := n.(type) {
	case nil:
	case *ast.NullNode:
		out.Explicit = n.Token.Type != token.ImplicitNullType
	case *ast.BoolNode:
		out.Kind, out.Text = Bool, n.Token.Value
	case *ast.IntegerNode:
		out.Kind, out.Text = Int, n.Token.Value
	case *ast.FloatNode:
		out.Kind, out.Text = Float, n.Token.Value
	case *ast.InfinityNode:
		out.Kind, out.Text = Float, n.Token.Value
	case *ast.NanNode:
		out.Kind, out.Text = Float, n.Token.Value
	case *ast.StringNode:
		out.Kind, out.Text = String, n.Value
	case *ast.LiteralNode:
		out.Kind, out.Text = String, n.Value.Value
	case *ast.SequenceNode:
		out.Kind = List
		for _, v := range n.Values {
			out.Items = append(out.Items, c.convert(v, secret))
		}
	case *ast.MappingValueNode:
		out.Kind = Map
		c.entry(out, n)
	case *ast.MappingNode:
		out.Kind = Map
		for _, v := range n.Values {
			c.entry(out, v)
		}
	default:
		c.r.file.maskText()
		c.r.Add(out.Span, "", "this kind of YAML value is not supported", "use plain mappings, lists and values")
	}
	if out.Kind == Map && len(out.Entries) > 0 && out.Span.Col > out.Entries[0].Key.Span.Col {
		// A block mapping's own token is its first colon.
		out.Span = out.Entries[0].Key.Span
	}
	if secret && out.Kind != Map && out.Kind != List && out.Kind != Null {
		c.r.file.mask(out.Span)
	}
	return out
}

func (c *converter) entry(m *Node, kv *ast.MappingValueNode) {
	key := c.convert(kv.Key, false)
	if key.Kind == Map || key.Kind == List {
		c.r.file.maskText()
		c.r.Add(key.Span, "", "a mapping or a list cannot be a key", "")
		return
	}
	secret := (m.Secret && !openKey(key.Text)) || secretKey(key.Text)
	if m.Secret && kv.Value != nil {
		if null, ok := kv.Value.(*ast.NullNode); ok && null.Token.Type == token.ImplicitNullType && !openKey(key.Text) {
			// {hunter2}: a secret in the place of a key.
			key.Secret = true
			c.r.file.mask(key.Span)
		}
	}
	m.Entries = append(m.Entries, Entry{Key: key, Value: c.convert(kv.Value, secret)})
}

// span returns where a node stands. A scalar reaches to the next token that is
// not its own, or to the end of its line; of a mapping or a list the span is
// the first character.
func (c *converter) span(n ast.Node) Span {
	if n == nil || n.GetToken() == nil {
		return Span{Line: 1, Col: 1, EndLine: 1, EndCol: 1}
	}
	t := n.GetToken()
	s := Span{Line: t.Position.Line, Col: max(1, t.Position.Column)}
	s.EndLine, s.EndCol = s.Line, s.Col+1
	lines := c.r.file.lines
	if s.Line < 1 || s.Line > len(lines) {
		return Span{Line: 1, Col: 1, EndLine: 1, EndCol: 1}
	}
	next := t.Next
	switch n.(type) {
	case *ast.LiteralNode:
		if next != nil && next.Type == token.StringType {
			next = next.Next
		}
	case *ast.NullNode, *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode, *ast.StringNode:
	default:
		return s
	}
	if t.Type == token.ImplicitNullType {
		return s
	}
	if next == nil {
		s.EndLine, s.EndCol = len(lines), len(lines[len(lines)-1])+1
	} else if at := next.Position; at.Line > s.Line || at.Line == s.Line && at.Column > s.Col {
		s.EndLine, s.EndCol = at.Line, at.Column
	} else {
		s.EndLine, s.EndCol = len(lines), len(lines[len(lines)-1])+1
	}
	// Leave out the blank space before the next token.
	for s.EndLine > s.Line || s.EndCol > s.Col+1 {
		line := lines[min(s.EndLine, len(lines))-1]
		if s.EndCol <= 1 {
			s.EndLine--
			s.EndCol = len(lines[s.EndLine-1]) + 1
			continue
		}
		if s.EndCol-2 < len(line) {
			if b := line[s.EndCol-2]; b != ' ' && b != '\t' {
				break
			}
		}
		s.EndCol--
	}
	return s
}
