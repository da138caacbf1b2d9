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
		if n.Token.Type == token.StringType && out.Span.EndLine > out.Span.Line {
			// Legal, and nearly always an indentation gone wrong; the parser even
			// takes list items and keys into the text.
			c.r.file.maskText()
			c.r.Add(out.Span, "", "the value goes on in the next line",
				"check the indentation of the next line; put text over several lines in quotes")
		}
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
	if out.Kind == String && HoldsSecret(out.Text) {
		out.Secret = true // a quote that was closed too late, say
		c.r.file.mask(out.Span)
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
	secret := m.Secret && !openKey(key.Text) || secretKey(key.Text)
	if m.Secret && !openKey(key.Text) && key.Text != "hash" {
		// {hunter2}: perhaps a secret in the place of a key.
		key.Secret = true
		c.r.file.mask(key.Span)
	}
	value := c.convert(kv.Value, secret)
	if secretHolder(key.Text) && value.Kind != Map && value.Kind != List && value.Kind != Null {
		// user: "pi:hunter2", where a mapping with a password belongs.
		value.Secret = true
		c.r.file.mask(value.Span)
	}
	m.Entries = append(m.Entries, Entry{Key: key, Value: value})
}

// span returns where a node stands. A scalar reaches to the next token that is
// not its own; of a mapping or a list the span is the first character.
func (c *converter) span(n ast.Node) Span {
	lines := c.r.file.lines
	if n == nil || n.GetToken() == nil {
		return Span{Line: 1, Col: 1, EndLine: 1, EndCol: 2}
	}
	t := n.GetToken()
	s := Span{Line: min(max(1, t.Position.Line), len(lines)), Col: max(1, t.Position.Column)}
	s.EndLine, s.EndCol = s.Line, s.Col+1
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
	s.Line, s.Col = c.start(t, s.Line, s.Col)
	s.EndLine, s.EndCol = len(lines), len(lines[len(lines)-1])+1
	if next != nil {
		if at := next.Position; at.Line > s.Line || at.Line == s.Line && at.Column > s.Col {
			s.EndLine, s.EndCol = min(at.Line, len(lines)), at.Column
		}
	}
	return c.trim(s)
}

// start returns where a scalar starts. The scanner misplaces a plain scalar that
// blanks follow, but not the indicator before it.
func (c *converter) start(t *token.Token, line, col int) (int, int) {
	prev := t.Prev
	for prev != nil && prev.Type == token.CommentType {
		prev = prev.Prev
	}
	if prev == nil {
		return line, col
	}
	switch prev.Type {
	case token.MappingValueType, token.SequenceEntryType, token.SequenceStartType, token.MappingStartType, token.CollectEntryType:
	default:
		return line, col
	}
	at := prev.Position
	for l, i := at.Line, at.Column; l >= 1 && l <= len(c.r.file.lines); l, i = l+1, 0 {
		text := c.r.file.lines[l-1]
		for i < len(text) && (text[i] == ' ' || text[i] == '\t') {
			i++
		}
		if i < len(text) && text[i] != '#' {
			return l, i + 1
		}
	}
	return line, col
}

// trim leaves out the blank space at the end of a span.
func (c *converter) trim(s Span) Span {
	for s.EndLine > s.Line || s.EndCol > s.Col+1 {
		line := c.r.file.lines[s.EndLine-1]
		if s.EndCol <= 1 {
			s.EndLine--
			s.EndCol = len(c.r.file.lines[s.EndLine-1]) + 1
			continue
		}
		if i := s.EndCol - 2; i < len(line) && line[i] != ' ' && line[i] != '\t' {
			break
		}
		s.EndCol--
	}
	return s
}
