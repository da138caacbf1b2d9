package strictyaml

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// fruit is a type of file for these tests.
type fruit struct {
	Name     Value[string]          `json:"name" jsonschema:"example=pear" alias:"title"`
	Ripe     Value[bool]            `json:"ripe,omitempty"`
	Count    Value[int]             `json:"count,omitempty"`
	Tags     Value[[]Value[string]] `json:"tags,omitempty" strictyaml:"nullable"`
	Login    Value[login]           `json:"login,omitempty"`
	Children Value[[]Value[child]]  `json:"children,omitempty"`
}

type login struct {
	Password Value[string] `json:"password,omitempty"`
	Hash     Value[origin] `json:"hash,omitempty"`
}

type origin struct {
	File Value[string] `json:"file,omitempty"`
}

type child struct {
	Colour Value[string] `json:"colour" alias:"name"`
	common
}

type common struct {
	Weight Value[string] `json:"weight,omitempty"`
}

func read(data string) (fruit, *Report) {
	var f fruit
	root, r := Parse("fruit.yaml", []byte(data))
	if root != nil {
		Decode(r, root, &f)
	}
	return f, r
}

func TestDecode(t *testing.T) {
	f, r := read("name: \"pear\\n\"\nripe: TRUE\ncount: 12\ntags: [a, 'b ''c''', \"d\"]\nlogin: {password: hunter2, hash: {file: ~/x}}\n" +
		"children:\n  - colour: green\n    weight: |\n      heavy\n      very\n  - {weight: light, colour: no}\n")
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%q %v %d %q %q %q %q %q %q %q", f.Name.V, f.Ripe.V, f.Count.V, f.Tags.V[1].V, f.Login.V.Password.V, f.Login.V.Hash.V.File.V,
		f.Children.V[0].V.Colour.V, f.Children.V[0].V.Weight.V, f.Children.V[1].V.Colour.V, f.Children.V[1].Path)
	want := `"pear\n" true 12 "b 'c'" "hunter2" "~/x" "green" "heavy\nvery\n" "no" "children[1]"`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if w := f.Children.V[0].V.Weight; w.Path != "children[0].weight" || w.Span().Line != 8 || w.Span().Col != 13 {
		t.Errorf("weight is %s at %+v", w.Path, w.Span())
	}
	if f.Login.Reset() || !f.Login.Set() || f.Children.V[1].V.Weight.Reset() {
		t.Error("Set or Reset is wrong")
	}
}

func TestProblems(t *testing.T) {
	for name, test := range map[string]struct{ data, want string }{
		"unknown key":          {"name: x\nnam: y\n", `2:1: there is no key "nam" here|did you mean name?`},
		"alias of a key":       {"title: x\n", `1:1: there is no key "title" here|did you mean name?`},
		"alias, key elsewhere": {"name: x\nchildren: [{name: red}]\n", `2:13: children[0]: there is no key "name" here|did you mean colour?`},
		"key of another place": {"name: x\ncolour: red\n", `2:1: there is no key "colour" here|it belongs in children[]`},
		"case":                 {"name: x\nRipe: true\n", `did you mean ripe?`},
		"near another place":   {"name: x\nwieght: red\n", `did you mean weight, in children[]?`},
		"no idea":              {"name: x\nzebra: red\n", `the keys here are name, ripe,`},
		"top level elsewhere":  {"name: x\nchildren: [{colour: red, ripe: true}]\n", `2:26: children[0]: there is no key "ripe" here|it belongs at the top of the file`},
		"missing":              {"ripe: true\n", "1:1: the key name is missing|for example name: pear"},
		"missing in a list":    {"name: x\nchildren:\n  - weight: 1kg\n", "3:5: children[0]: the key colour is missing"},
		"twice":                {"name: x\nripe: true\nname: y\n", "3:1: name: the key is given twice, first in line 1"},
		"number for text":      {"name: 0644\n", `1:7: name: must be text, not a number|put it in quotes: "0644"`},
		"float for text":       {"name: 1.10\n", `put it in quotes: "1.10"`},
		"truth for text":       {"name: true\n", `1:7: name: must be text, not a truth value|"true"`},
		"map for text":         {"name: {a: b}\n", "1:7: name: must be text, not a mapping"},
		"yes":                  {"name: x\nripe: yes\n", "2:7: ripe: must be true or false, not text|write true, without quotes"},
		"off":                  {"name: x\nripe: off\n", "write false"},
		"number for truth":     {"name: x\nripe: 1\n", "must be true or false, not a number"},
		"octal for number":     {"name: x\ncount: 010\n", "must be a whole number in decimal digits"},
		"huge number":          {"name: x\ncount: 99999999999999999999\n", "must be a whole number"},
		"float for number":     {"name: x\ncount: 1.5\n", "must be a whole number"},
		"text for a list":      {"name: x\ntags: a\n", "2:7: tags: must be a list, not text|write it in brackets: [a]"},
		"map for a list":       {"name: x\ntags:\n  a: b\n", "3:3: tags: must be a list, not a mapping"},
		"text for a map":       {"name: x\nlogin: me\n", "2:8: login: must be a mapping, not text|give it keys: password, hash"},
		"list for the file":    {"- a\n", "1:1: must be a mapping, not a list"},
		"text for the file":    {"hello\n", "1:1: must be a mapping, not text"},
		"no value":             {"name:\nripe: true\n", "1:1: name: the key has no value|remove the key"},
		"no value, nullable":   {"name: x\ntags:\n", "2:1: tags: the key has no value"},
		"null":                 {"name: null\n", "1:1: name: the key has no value"},
		"empty":                {"", "1:1: the file is empty"},
		"comments":             {"# a\n\n# b\n", "the file is empty"},
		"marker only":          {"---\n", "the file is empty"},
		"anchor":               {"name: &a x\n", "1:7: anchors (&) and aliases (*) are not supported"},
		"alias":                {"name: *a\n", "1:7: anchors (&) and aliases (*) are not supported"},
		"merge key":            {"<<: {name: x}\n", "1:1: merge keys (<<) are not supported"},
		"tag":                  {"name: !!str x\n", "1:7: tags (!) are not supported"},
		"directive":            {"%YAML 1.2\n---\nname: x\n", "1:1: directives (%) are not supported"},
		"question mark":        {"? name\n: x\n", "1:1: keys written with ? are not supported"},
		"two documents":        {"name: x\n---\nname: y\n", "2:1: the file holds a second document"},
		"tab":                  {"login:\n\tpassword: x\n", "2:1: not valid YAML: the line is indented by a tab"},
		"open quote":           {"name: \"x\n", "1:7: not valid YAML: the quote is never closed"},
		"open bracket":         {"name: x\ntags: [a, b\n", "2:7: not valid YAML: the bracket is never closed"},
		"colon in a value":     {"name: a: b\n", "1:7: not valid YAML: a key and its value cannot stand here"},
		"reserved":             {"name: @x\n", "put the value in quotes"},
		"control character":    {"name: a\x1b[31m\n", "1:8: control character U+001B is not allowed"},
		"NUL":                  {"name: a\x00\n", "U+0000"},
		"Latin-1":              {"name: caf\xe9\n", "1:10: byte 0xe9 is not UTF-8"},
		"UTF-16":               {"\xff\xfen\x00a\x00", "the file is UTF-16 or UTF-32|save it as UTF-8"},
		"UTF-16 without mark":  {"n\x00a\x00m\x00", "the file is UTF-16"},
		"deep flow":            {"name: " + strings.Repeat("[", 70) + "\n", "nested more than 64 deep"},
		"deep block":           {strings.Repeat("- ", 70) + "a\n", "nested more than 64 deep"},
		"deep indentation":     {deep(70), "nested more than 64 deep"},
		"large":                {"name: " + strings.Repeat("x", MaxSize) + "\n", "are read"},
		"text over lines":      {"name: a\n  b\n", "1:7: the value goes on in the next line|check the indentation"},
		"item too far":         {"name: x\ntags:\n  - a\n   - b\n", "3:5: the value goes on in the next line"},
		"list as a key":        {"[a]: x\nname: y\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, r := read(test.data)
			err := r.Err()
			if err == nil {
				t.Fatal("accepted")
			}
			for part := range strings.SplitSeq(test.want, "|") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("want %q in:\n%v", part, err)
				}
			}
		})
	}
}

func deep(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%sa:\n", strings.Repeat(" ", i))
	}
	return b.String()
}

func TestGoodFiles(t *testing.T) {
	for name, data := range map[string]string{
		"mark":          "---\nname: x\n",
		"marks":         "# c\n---\nname: x\n...\n",
		"BOM":           "\uFEFFname: x\n",
		"CRLF":          "name: x\r\nripe: true\r\ntags:\r\n  - a\r\n",
		"CR":            "name: x\rripe: true\r",
		"no newline":    "name: x",
		"null":          "name: x\ntags: null\n",
		"tilde":         "name: x\ntags: ~\n",
		"trailing":      "name: x   \t\n\n\n",
		"flow":          `{"name": "x", "ripe": false, "tags": ["a", "b"]}`,
		"over lines":    "name: x\ntags: [a,\n  b,   # comment\n  c]\n",
		"tab in text":   "name: \"a\tb\"\n",
		"list unindent": "name: x\ntags:\n- a\n- b\n",
	} {
		t.Run(name, func(t *testing.T) {
			f, r := read(data)
			if err := r.Err(); err != nil {
				t.Fatal(err)
			}
			if name == "null" && (!f.Tags.Reset() || f.Tags.Set() || !f.Tags.Given()) {
				t.Error("null is not told")
			}
		})
	}
}

func TestAllProblemsInOrder(t *testing.T) {
	_, r := read("zebra: 1\nname: 5\nchildren:\n  - x: 1\n  - colour: 5\n    weight: []\nripe: no\n")
	var err *Error
	if e := r.Err(); e == nil {
		t.Fatal("accepted")
	} else {
		err = e.(*Error)
	}
	var at []string
	for _, p := range err.Problems {
		at = append(at, fmt.Sprintf("%d:%d", p.Line, p.Column))
	}
	if got, want := strings.Join(at, " "), "1:1 2:7 4:5 4:5 5:13 6:13 7:7"; got != want {
		t.Errorf("got %s, want %s\n%v", got, want, err)
	}
}

func TestExcerpt(t *testing.T) {
	for name, test := range map[string]struct {
		data string
		want string
	}{
		"plain": {"name: x\nripe: yes   # really\n", "2 | ripe: yes   # really\n  |       ^^^"},
		"wide":  {"name: x\ntags: [é, ü, 12, y]\n", "2 | tags: [é, ü, 12, y]\n  |              ^^"},
		"mask before": {"name: x\nlogin: {password: hunter2, hash: 5}\n",
			"2 | login: {password: ********, hash: ********}\n  |                                   ^^^^^^^^"},
		"open keys": {"name: x\nlogin: {hash: {file: 5}}\n", "2 | login: {hash: {file: 5}}\n  |                      ^"},
		"long": {"name: x\ntags: [" + strings.Repeat("aaaa, ", 100) + "5, " + strings.Repeat("bbbb, ", 100) + "c]\n",
			"2 | …, aaaa, aaaa, aaaa, aaaa, aaaa, 5, bbbb, bbbb, bbbb, bbbb, bbbb, bbbb, bbbb, bbbb, bbbb, bbbb, bbb…\n  |                                  ^"},
		"mask over lines": {"name: x\nlogin:\n  password:\n    - hunter2\n    - hunter3\n", "4 |     - ********\n  |     ^"},
	} {
		t.Run(name, func(t *testing.T) {
			_, r := read(test.data)
			err := r.Err().(*Error)
			if got := err.Problems[0].Excerpt; got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// What the parser quotes of a file is left out of messages.
func TestSyntaxErrorsQuoteNothing(t *testing.T) {
	_, r := read("name: x\nlogin:\n  password: |hunter2\n")
	if err := r.Err(); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "invalid header option") {
		t.Errorf("got %v", err)
	}
}

// TestSpans writes values in every style at random places and finds them again.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		type spot struct {
			value     string
			line, col int
			end       int
		}
		var spots []spot
		line := 1
		put := func(prefix, written, value, suffix string) {
			col := len([]rune(prefix)) + 1
			spots = append(spots, spot{value, line, col, col + len([]rune(written))})
			b.WriteString(prefix + written + suffix + "\n")
			line++
		}
		for i := range rapid.IntRange(1, 12).Draw(t, "keys") {
			word := rapid.StringMatching(`[a-zé漢][a-zé漢 ]{0,8}[a-zé漢]`).Draw(t, "word")
			prefix := fmt.Sprintf("ké%d:%s", i, strings.Repeat(" ", rapid.IntRange(1, 3).Draw(t, "space")))
			suffix := rapid.SampledFrom([]string{"", " ", "   # x: y", "\t# \"c"}).Draw(t, "suffix")
			switch rapid.IntRange(0, 4).Draw(t, "style") {
			case 0:
				put(prefix, word, word, suffix)
			case 1:
				put(prefix, `"`+word+`\t"`, word+"\t", suffix)
			case 2:
				put(prefix, `'`+word+`'''`, word+"'", suffix)
			case 3:
				put(prefix+rapid.SampledFrom([]string{"[ x, ", "[x , ", "[  y z  ,  "}).Draw(t, "open"), word, word, rapid.SampledFrom([]string{"]", "  ]"}).Draw(t, "close")+suffix)
			case 4:
				b.WriteString(fmt.Sprintf("ké%d:\n", i))
				line++
				put("  -   ", word, word, suffix)
			}
			if rapid.Bool().Draw(t, "blank") {
				b.WriteString("\n # comment\n")
				line += 2
			}
		}
		text := b.String()
		if rapid.Bool().Draw(t, "crlf") {
			text = strings.ReplaceAll(text, "\n", "\r\n")
		}
		root, r := Parse("x", []byte(text))
		if root == nil {
			t.Fatalf("%v\n%s", r.Err(), text)
		}
		var found []*Node
		for _, e := range root.Entries {
			n := e.Value
			if n.Kind == List {
				n = n.Items[len(n.Items)-1]
			}
			found = append(found, n)
		}
		if len(found) != len(spots) {
			t.Fatalf("%d values instead of %d in\n%s", len(found), len(spots), text)
		}
		for i, s := range spots {
			want := Span{s.line, s.col, s.line, s.end}
			if n := found[i]; n.Text != s.value || n.Span != want {
				t.Fatalf("%q at %+v instead of %q at %+v in\n%s", n.Text, n.Span, s.value, want, text)
			}
		}
	})
}

// TestSecretsStayHidden breaks files at random and looks for the secret in what
// is said of them.
func TestSecretsStayHidden(t *testing.T) {
	const secret = "hUnTeR2"
	good := []string{
		"login: {password: " + secret + ", hash: {file: x}}",
		"login:\n  password: " + secret,
		"login:\n  password: \"" + secret + "\"   # c",
		"login:\n  password: '" + secret + "'",
		"login:\n  password: |\n    " + secret + "\n    " + secret,
		"login:\n  password: >-\n    a\n    " + secret,
		"login:\n  password:\n    - " + secret + "\n    - {x: " + secret + "}",
		"login:\n  passwords:\n  - " + secret,
		"login: {pasword: {" + secret + "}}",
		"login:\n  hash:\n    hash: " + secret,
		"login:\n  password: a\n    " + secret,
		"login:\n  password: \"a\n    " + secret + "\"",
		"login: {hash: {" + secret + ": x, \"" + secret + "\"}}",
		"login: {password: *" + secret + "}",
		"login: {password: &" + secret + " " + secret + "}",
		"login: {password: !" + secret + " x}",
	}
	bad := []string{"name: 5", "zebra: x", "name: \"", "\tname: x", "tags: [a", "login: x", "}", "name: &a b", "- x", "name: x: y", "%", "---", "a", "'", "ripe: yes", ": x", "name: é\xff"}
	keys := regexp.MustCompile(`pass?words?|hash`)
	rapid.Check(t, func(t *rapid.T) {
		parts := []string{rapid.SampledFrom(good).Draw(t, "secret")}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			p := rapid.SampledFrom(bad).Draw(t, "bad")
			if rapid.Bool().Draw(t, "before") {
				parts = append([]string{p}, parts...)
			} else {
				parts = append(parts, p)
			}
		}
		text := strings.Join(parts, "\n") + "\n"
		// Cut or insert a few characters anywhere but in the secret's own key.
		for range rapid.IntRange(0, 2).Draw(t, "edits") {
			i := rapid.IntRange(0, len(text)-1).Draw(t, "at")
			if slices.ContainsFunc(keys.FindAllStringIndex(text, -1), func(k []int) bool { return i > k[0]-2 && i < k[1]+3 }) {
				continue
			}
			text = text[:i] + rapid.SampledFrom([]string{"", "\"", "'", "{", "}", "[", ":", " ", "\n", "\t", "-"}).Draw(t, "ins") + text[i:]
		}
		_, r := read(text)
		if err := r.Err(); err != nil && strings.Contains(err.Error(), secret) {
			t.Fatalf("the secret is shown:\n%v\n--- of ---\n%s", err, text)
		}
	})
}

func TestNearest(t *testing.T) {
	words := []string{"hostname", "ip", "mac", "role", "authorizedKeys", "timezone"}
	for word, want := range map[string]string{
		"hostnam": "hostname", "Hostname": "hostname", "host_name": "hostname", "authorized_keys": "authorizedKeys",
		"authorisedKeys": "authorizedKeys", "pi": "ip", "rol": "role", "timezome": "timezone", "zebra": "", "": "", "x": "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%q: %q instead of %q", word, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("name: x\nlogin: {password: y}\n"))
	f.Add([]byte("a:\n  - |\n    x\n  - >-\n   y\n  - {b: [c, 'd', \"e\\u0041\"]}\n"))
	f.Add([]byte("a: &x b\nc: *x\n<<: d\n? e\n: f\n---\n...\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v fruit
		root, r := Parse("x", data)
		if (root == nil) != r.Failed() {
			t.Fatalf("a node: %v, failed: %v", root != nil, r.Failed())
		}
		if root == nil {
			_ = r.Err().Error()
			return
		}
		Decode(r, root, &v)
		if err := r.Err(); err != nil {
			for _, p := range err.(*Error).Problems {
				if p.Line < 1 || p.Column < 1 || p.Message == "" {
					t.Fatalf("%+v", p)
				}
			}
		}
	})
}
