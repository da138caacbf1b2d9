package nodes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// yamlDocument is the outline of one document of somebody else's YAML.
type yamlDocument struct {
	line    int // where it begins
	mapping bool
	list    bool
	object  bool // a mapping with apiVersion and kind
}

// documents reads the outline of YAML or JSON that is passed on as it stands.
// Unlike nodes.yaml it may use all of YAML. Documents without a value are left
// out, as kubectl does.
func documents(data []byte) (docs []yamlDocument, err error) {
	defer func() {
		if r := recover(); r != nil { // the parser's, on bytes that nobody expected
			docs, err = nil, errors.New("not valid YAML")
		}
	}()
	if bytes.IndexByte(data, 0) >= 0 {
		return nil, errors.New("not text: it holds a NUL byte")
	}
	if json.Valid(data) { // what YAML need not read, such as tabs between values
		trimmed := bytes.TrimSpace(data)
		d := yamlDocument{line: 1, mapping: trimmed[0] == '{', list: trimmed[0] == '['}
		var object struct{ APIVersion, Kind string }
		d.object = d.mapping && json.Unmarshal(data, &object) == nil && object.APIVersion != "" && object.Kind != ""
		return []yamlDocument{d}, nil
	}
	line := 0 // how many are before the document
	for _, text := range split(data) {
		d, ok, err := outlineOf(text, line)
		if err != nil {
			return nil, err
		}
		if ok {
			d.line += line
			docs = append(docs, d)
		}
		line += bytes.Count(text, []byte("\n"))
	}
	return docs, nil
}

// split cuts YAML before each line that begins a document, which is how kubectl
// does it. The parser loses what comes after a document without a value.
func split(data []byte) (texts [][]byte) {
	start, end := 0, 0
	for line := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(line, []byte("---")); ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0) {
			texts = append(texts, data[start:end])
			start = end
		}
		end += len(line)
	}
	return append(texts, data[start:])
}

// outlineOf reads the outline of one document, before which there are as many lines.
// False without an error means that it has no value.
func outlineOf(text []byte, before int) (yamlDocument, bool, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			return yamlDocument{}, false, fmt.Errorf("line %d is not valid YAML: %s", before+syntax.GetToken().Position.Line, strings.TrimSpace(syntax.GetMessage()))
		}
		return yamlDocument{}, false, errors.New("not valid YAML")
	}
	for _, doc := range file.Docs {
		if d, ok := outline(doc.Body); ok {
			return d, true, nil
		}
	}
	return yamlDocument{}, false, nil
}

func outline(n ast.Node) (yamlDocument, bool) {
	var d yamlDocument
	if n == nil || n.GetToken() == nil {
		return d, false
	}
	d.line = n.GetToken().Position.Line
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.NullNode, *ast.CommentGroupNode:
		return d, false
	case *ast.AnchorNode:
		return outline(n.Value)
	case *ast.TagNode:
		return outline(n.Value)
	case *ast.SequenceNode:
		d.list = true
	case *ast.MappingNode:
		values = n.Values
		d.mapping = true
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
		d.mapping = true
	}
	found := 0
	for _, v := range values {
		if key := v.Key.GetToken(); key != nil && (key.Value == "apiVersion" || key.Value == "kind") {
			found++
		}
	}
	d.object = found == 2
	return d, true
}
