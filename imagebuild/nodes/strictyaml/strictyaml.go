// Package strictyaml reads YAML files that people write by hand, and reports
// everything that is wrong with them at once, each problem with its place, the
// line it is on, and what to do about it.
//
// [Parse] turns bytes into a tree of [Node], in which every key and every value
// knows where it stands. It reads the part of YAML that such files need: one
// document of mappings, lists and scalars, in block or flow style. Anchors,
// aliases, merge keys, tags and directives are refused by name, and so are other
// encodings than UTF-8 and text without quotes that goes on in the next line: a
// line means what it says, and nothing that is written elsewhere. [Decode] lays
// the tree over Go structs whose fields are of type [Value]: it refuses unknown
// keys, keys given twice, missing keys and values of another type, and carries
// on, so that one run shows all of them.
//
// A [Problem] quotes the line it is about. Values that stand under a key such
// as password or seed are never shown: not in messages, not in excerpts, and
// not when the file is so broken that its structure is unknown.
//
// The scanner and parser are goccy/go-yaml's; its panics are contained here and
// reported as syntax errors.
package strictyaml

import "strings"

// Kind is what a node is.
type Kind int

// The kinds of nodes, by the core schema of YAML 1.2: yes, no, on and off are
// strings.
const (
	Null Kind = iota
	Bool
	Int
	Float
	String
	Map
	List
)

// String returns the kind as it is called in messages, with its article.
func (k Kind) String() string {
	return [...]string{"nothing", "a truth value", "a number", "a number", "text", "a mapping", "a list"}[k]
}

// Span is a stretch of the file: from Line and Col up to, but not including,
// EndLine and EndCol. All count from 1; columns count characters, not bytes.
type Span struct {
	Line, Col       int
	EndLine, EndCol int
}

// before says whether s starts before t.
func (s Span) before(t Span) bool {
	return s.Line < t.Line || s.Line == t.Line && s.Col < t.Col
}

// Node is one value of a file.
type Node struct {
	Kind Kind
	Span Span
	// Text is a string's value, and the spelling in the file of a number or a
	// truth value: 0644 stays "0644".
	Text string
	// Explicit is set for a Null that is written out, as null or ~.
	Explicit bool
	// Secret is set for what stands under a key that holds secrets: its text
	// must not be shown.
	Secret  bool
	Items   []*Node // of a List
	Entries []Entry // of a Map, in the order of the file, duplicates included
}

// Entry is one key of a mapping, and its value.
type Entry struct {
	Key   *Node
	Value *Node
}

// Value is a value of a file with the place it came from. The zero Value is one
// that the file does not give.
type Value[T any] struct {
	V    T
	Node *Node  // nil if the file does not give the value
	Path string // such as nodes[2].ip
	bad  bool   // a problem was reported in the place of V
}

// Given says whether the file has the key, whatever stands there.
func (v Value[T]) Given() bool { return v.Node != nil }

// Set says whether V is what the file gives.
func (v Value[T]) Set() bool { return v.Node != nil && !v.bad && v.Node.Kind != Null }

// Reset says whether the file says null, which takes a default back.
func (v Value[T]) Reset() bool { return v.Node != nil && !v.bad && v.Node.Kind == Null }

// Span is where the value stands; the zero Span if it is not given.
func (v Value[T]) Span() Span {
	if v.Node == nil {
		return Span{}
	}
	return v.Node.Span
}

// JSONSchemaAlias makes jsonschema describe the value itself.
func (v Value[T]) JSONSchemaAlias() any { var zero T; return zero }

// secretHolder says whether the value of a key is a mapping with a secret in it,
// which some would write as one text.
func secretHolder(key string) bool { return key == "user" || key == "wifi" }

// secretKey says whether values under a key of this name are secrets. It errs
// on the side of silence, so that a misspelt key protects its value as well.
func secretKey(key string) bool {
	k := strings.ToLower(key)
	if k == "key" {
		return true
	}
	for _, part := range []string{"pass", "pw", "psk", "secret", "token", "hash", "seed", "credential", "private"} {
		if strings.Contains(k, part) {
			return true
		}
	}
	for _, word := range []string{"seed", "pass", "hash", "token", "secret"} {
		if distance(k, word) <= 1 {
			return true
		}
	}
	return distance(k, "password") <= 2 || distance(k, "passphrase") <= 2
}

// openKey says whether a value under this key may be shown although it stands
// under a secret one: it says where the secret is, not what it is.
func openKey(key string) bool { return key == "file" || key == "env" }
