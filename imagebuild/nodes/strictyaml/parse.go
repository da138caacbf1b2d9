package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// MaxSize is the size in bytes of the largest file that Parse reads.
	MaxSize = 4 << 20
	// maxDepth bounds how deep values may be nested in each other: the parser
	// and the conversion recurse.
	maxDepth = 64
)

// Parse reads one document. Name is what problems call the file.
//
// The report is never nil. If it has [Report.Failed], the node is nil: syntax
// errors stop at the first. Line ends may be LF or CRLF, and a byte order mark
// may precede the text.
func Parse(name string, data []byte) (*Node, *Report) {
	r := &Report{file: newFile(name, ""), seen: map[entry]bool{}}
	text, ok := r.decodeText(data)
	if !ok {
		return nil, r
	}
	tokens, err := tokenize(text)
	if err != nil {
		r.syntax(Span{Line: 1, Col: 1}, err.Error())
		return nil, r
	}
	if !r.acceptable(tokens) {
		return nil, r
	}
	root, err := parseTokens(tokens)
	if err != nil {
		at := Span{Line: 1, Col: 1}
		message := "this is not valid YAML, in a way that cannot be placed"
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			at.Line, at.Col = syntax.GetToken().Position.Line, max(1, syntax.GetToken().Position.Column)
			message = syntax.GetMessage()
		}
		r.syntax(at, message)
		return nil, r
	}
	if root == nil {
		r.Add(Span{Line: 1, Col: 1}, "", "the file is empty", "")
		return nil, r
	}
	c := converter{r: r}
	n := c.convert(root, false)
	if r.Failed() {
		return nil, r
	}
	return n, r
}

// decodeText checks the encoding and returns the text with LF line ends.
func (r *Report) decodeText(data []byte) (string, bool) {
	start := Span{Line: 1, Col: 1}
	if len(data) > MaxSize {
		r.Add(start, "", fmt.Sprintf("the file has %d bytes; at most %d are read", len(data), MaxSize), "")
		return "", false
	}
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) ||
		len(data) > 1 && (data[0] == 0) != (data[1] == 0) {
		r.Add(start, "", "the file is UTF-16 or UTF-32", "save it as UTF-8")
		return "", false
	}
	text := strings.TrimPrefix(string(data), "\uFEFF")
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	r.file = newFile(r.file.name, text)
	r.file.masks = nil
	line, col := 1, 1
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			r.file.maskText()
			r.Add(Span{Line: line, Col: col}, "", fmt.Sprintf("byte 0x%02x is not UTF-8", text[i]), "save the file as UTF-8")
			return "", false
		case c < ' ' && c != '\t' && c != '\n' || c == 0x7f || c == 0xfeff:
			r.file.maskText()
			r.Add(Span{Line: line, Col: col}, "", fmt.Sprintf("control character U+%04X is not allowed", c),
				"remove it, or write it as an escape in a double-quoted string")
			return "", false
		}
		i += size
		if col++; c == '\n' {
			line, col = line+1, 1
		}
	}
	return text, true
}

// syntax reports that the text does not parse. The structure being unknown,
// secrets are masked by the look of the text.
func (r *Report) syntax(at Span, message string) {
	r.file.maskText()
	at.Line = max(1, min(at.Line, len(r.file.lines)))
	line := r.file.lines[at.Line-1]
	// What the parser quotes may be a secret: a line of one after | or >, say.
	message, _, _ = strings.Cut(message, `"`)
	message, hint := strings.TrimRight(strings.TrimSpace(message), ": "), ""
	switch {
	case bytes.ContainsRune([]byte(string(line[:indent(line)])), '\t'):
		message, hint = "the line is indented by a tab", "indent with spaces only"
	case strings.HasPrefix(message, "mapping value is not allowed"):
		message = "a key and its value cannot stand here"
		hint = `check the indentation of this line and the next; put a value that contains ": " in quotes`
	case strings.Contains(message, "end character of"):
		message, hint = "the quote is never closed", "close it, or check the quotes inside"
	case strings.Contains(message, "end token") || strings.Contains(message, "not found"):
		message, hint = "the bracket is never closed", "close it"
	case strings.Contains(message, "must be specified"):
		hint = "check the brackets and commas; put text that contains them in quotes"
	case strings.Contains(message, "reserved character"):
		hint = "put the value in quotes"
	default:
		hint = "check the indentation, and that every key is followed by a colon and a space"
	}
	r.Add(at, "", "not valid YAML: "+message, hint)
}

// tokenize contains what the scanner may do on bytes that nobody expected.
func tokenize(text string) (tokens token.Tokens, err error) {
	defer contain(&err)
	return lexer.Tokenize(text), nil
}

// parseTokens returns the value of the only document, or nil if it is empty.
func parseTokens(tokens token.Tokens) (root ast.Node, err error) {
	defer contain(&err)
	f, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, err
	}
	for _, doc := range f.Docs {
		if doc.Body != nil {
			return doc.Body, nil
		}
	}
	return nil, nil
}

// contain turns a panic of the YAML library into an error, without its text,
// which may hold parts of the file.
func contain(err *error) {
	if recover() != nil {
		*err = errors.New("the text is malformed in a way that cannot be placed")
	}
}

// acceptable refuses, by name and before anything is parsed, what this package
// does not read. All of it is reported.
func (r *Report) acceptable(tokens token.Tokens) bool {
	depth, entries, lastLine, content := 0, 0, 0, false
	for _, t := range tokens {
		at := Span{Line: t.Position.Line, Col: max(1, t.Position.Column)}
		if at.Line != lastLine {
			entries, lastLine = 0, at.Line
		}
		switch t.Type {
		case token.InvalidType:
			// The scanner gave up here: what follows means nothing.
			return r.reportUnless()
		case token.CommentType:
			if HoldsSecret(t.Value) {
				r.file.mask(restOfLine(at))
			}
		case token.AnchorType, token.AliasType:
			r.file.mask(restOfLine(at))
			r.Add(at, "", "anchors (&) and aliases (*) are not supported",
				"write the value where it is meant; put text that starts with & or * in quotes")
		case token.MergeKeyType:
			r.Add(at, "", "merge keys (<<) are not supported", "use defaults, or write the keys where they are meant")
		case token.TagType:
			r.Add(at, "", "tags (!) are not supported", "leave the tag out; put text in quotes")
		case token.DirectiveType:
			r.Add(at, "", "directives (%) are not supported", "remove the line")
		case token.MappingKeyType:
			r.Add(at, "", "keys written with ? are not supported", "write the key, a colon and the value")
		case token.DocumentHeaderType:
			if content {
				r.Add(at, "", "the file holds a second document", "use one file for each, or remove the line ---")
			}
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType:
			entries++
		}
		if depth > maxDepth || entries > maxDepth {
			r.file.maskText()
			r.Add(at, "", fmt.Sprintf("values are nested more than %d deep", maxDepth), "")
			return false
		}
		if t.Type != token.DocumentHeaderType && t.Type != token.CommentType {
			content = true
		}
	}
	return r.reportUnless()
}

func restOfLine(s Span) Span {
	s.EndLine, s.EndCol = s.Line, math.MaxInt
	return s
}

// reportUnless ends acceptable: once something was refused, the structure of
// the file stays unknown.
func (r *Report) reportUnless() bool {
	if r.Failed() {
		r.file.maskText()
	}
	return !r.Failed()
}
