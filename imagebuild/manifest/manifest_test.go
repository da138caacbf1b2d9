package manifest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"

	"github.com/piimg/piimg/imagebuild/plan"
)

var update = flag.Bool("update", false, "write schema.json anew")

func TestSchemaIsCurrent(t *testing.T) {
	r := jsonschema.Reflector{AllowAdditionalProperties: true}
	s := r.Reflect(&Manifest{})
	s.ID = "https://raw.githubusercontent.com/piimg/piimg/main/imagebuild/manifest/schema.json"
	s.Title = "manifest.json"
	s.Description = "What a build of piimg was made of, and what it made."
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema.json", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(b.Bytes(), Schema()) {
		t.Error("schema.json is not what the types say: run go test ./imagebuild/manifest -update")
	}
}

var sum = strings.Repeat("0a", 32)

func node(name string, formats ...string) Node {
	n := Node{Hostname: name, Role: "plain", Unpacked: Sum{1 << 20, sum}, Map: File{name + ".img.bmap", Sum{5, sum}}, Edits: []plan.Record{}}
	for _, f := range formats {
		n.Images = append(n.Images, Image{File{name + "." + f, Sum{7, sum}}, f})
	}
	return n
}

func made(nodes ...Node) *Manifest {
	return &Manifest{
		Schema: Version, Piimg: "v1", Base: Base{"base.img.xz", "trixie", "arm64", sum, 9, 1 << 20}, Config: NodesFile{sum},
		Time: "2024-11-19T00:00:00Z", Edits: []plan.Record{plan.Edit{Partition: plan.Root, Path: "etc/x", Op: plan.Remove}.Record()}, Nodes: nodes,
	}
}

func TestEncode(t *testing.T) {
	m := made(node("b", "img.xz", "img"), node("a", "img"))
	content, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(content)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Fatalf("reads back differently: %v\n%s", err, content)
	}
	if got.Nodes[0].Hostname != "a" || got.Nodes[1].Images[0].Name != "b.img" {
		t.Errorf("not sorted:\n%s", content)
	}
}

func TestMerge(t *testing.T) {
	all := func(string) bool { return true }
	names := func(m *Manifest) (s string) {
		if _, err := m.Encode(); err != nil {
			t.Fatal(err)
		}
		for _, n := range m.Nodes {
			for _, i := range n.Images {
				s += i.Name + " "
			}
		}
		return s
	}
	for what, c := range map[string]struct {
		old   *Manifest
		there func(string) bool
		want  string
		same  bool
	}{
		"the others are kept":      {made(node("a", "img"), node("c", "img")), all, "a.img b.img c.img ", true},
		"what is gone is not":      {made(node("a", "img"), node("c", "img")), func(s string) bool { return s[0] != 'c' }, "a.img b.img ", true},
		"other formats are kept":   {made(node("b", "img.xz")), all, "b.img b.img.xz ", true},
		"unless they are another":  {func() *Manifest { m := made(node("b", "img.xz")); m.Nodes[0].Unpacked.Size++; return m }(), all, "b.img ", true},
		"other inputs, other file": {func() *Manifest { m := made(node("a", "img")); m.Piimg = "v2"; return m }(), all, "b.img ", false},
	} {
		m := made(node("b", "img"))
		same, err := m.Merge(c.old, c.there)
		if err != nil || same != c.same || names(m) != c.want {
			t.Errorf("%s: got %v %s %v", what, same, names(m), err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	content, err := made(node("a", "img")).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"schema": 1`, `"schema": 2`, "use the piimg that made it"},
		{`"a.img"`, `"../a.img"`, "no name of a file"},
		{`"a.img"`, `"a\u001b[2J.img"`, "no name of a file"},
		{`"a.img.bmap"`, `"a.img"`, "no name of a file"},
		{`"hostname": "a"`, `"hostname": ""`, "without a hostname"},
		{sum, strings.ToUpper(sum), "sha256"},
		{"{", "[", "not a manifest"},
		{`"piimg": "`, `"nodesFile": ["`, "not a manifest"},
		{`"schema": 1`, `"schema": 1, "edits": "none"`, "before byte 31: edits cannot be of the type string"},
		{`"size": 7`, `"size": "7"`, "before byte 691: size cannot be of the type string"},
		{string(content), "[]", "before byte 1: the whole cannot be of the type array"},
		{`"schema": 1`, `"schema": 2, "edits": "none"`, "use the piimg that made it"},
		{`"size": 7`, `"size": -7`, "no size"},
	} {
		if _, err := Decode([]byte(strings.Replace(string(content), c.old, c.new, 1))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.new, err, c.want)
		}
	}
	if _, err := Decode(append(content, '{')); err == nil {
		t.Error("something behind the end is taken")
	}
}

func FuzzDecode(f *testing.F) {
	content, err := made(node("a", "img"), node("b", "img.xz")).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := Decode(content)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(again); err != nil {
			t.Fatalf("what was read and written cannot be read: %v", err)
		}
	})
}
