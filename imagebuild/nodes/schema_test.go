package nodes

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

// schemaMisfit says where a file does not fit schema.json; "" if it fits. It
// knows the few keywords that the schema uses, and fails the test on others.
func schemaMisfit(t testing.TB, text string) string {
	root, r := strictyaml.Parse("x", []byte(text))
	if root == nil {
		return r.Err().Error()
	}
	var schema map[string]any
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	v := validator{t, schema["$defs"].(map[string]any)}
	return v.misfit(schema, plainValue(root), "")
}

func plainValue(n *strictyaml.Node) any {
	switch n.Kind {
	case strictyaml.Null:
		return nil
	case strictyaml.Bool:
		return strings.EqualFold(n.Text, "true")
	case strictyaml.Int, strictyaml.Float:
		f, _ := strconv.ParseFloat(n.Text, 64)
		return f
	case strictyaml.List:
		list := []any{}
		for _, item := range n.Items {
			list = append(list, plainValue(item))
		}
		return list
	case strictyaml.Map:
		m := map[string]any{}
		for _, e := range n.Entries {
			m[e.Key.Text] = plainValue(e.Value)
		}
		return m
	}
	return n.Text
}

type validator struct {
	t    testing.TB
	defs map[string]any
}

func (v validator) misfit(schema map[string]any, x any, at string) string {
	object, isObject := x.(map[string]any)
	array, isArray := x.([]any)
	text, isText := x.(string)
	for _, keyword := range slices.Sorted(maps.Keys(schema)) {
		arg := schema[keyword]
		switch keyword {
		case "$schema", "$id", "$defs", "title", "description", "examples":
		case "$ref":
			if m := v.misfit(v.defs[strings.TrimPrefix(arg.(string), "#/$defs/")].(map[string]any), x, at); m != "" {
				return m
			}
		case "type":
			_, isBool := x.(bool)
			_, isNumber := x.(float64)
			if !map[string]bool{"object": isObject, "array": isArray, "string": isText, "boolean": isBool, "integer": isNumber, "null": x == nil}[arg.(string)] {
				return fmt.Sprintf("%s is no %s", at, arg)
			}
		case "enum":
			found := false
			for _, e := range arg.([]any) {
				found = found || e == x
			}
			if !found {
				return at + " is not in the enum"
			}
		case "pattern":
			if isText && !regexp.MustCompile(arg.(string)).MatchString(text) {
				return fmt.Sprintf("%s: %q does not match %s", at, text, arg)
			}
		case "minLength":
			if isText && utf8.RuneCountInString(text) < int(arg.(float64)) {
				return at + " is too short"
			}
		case "maxLength":
			if isText && utf8.RuneCountInString(text) > int(arg.(float64)) {
				return at + " is too long"
			}
		case "minItems":
			if isArray && len(array) < int(arg.(float64)) {
				return at + " has too few items"
			}
		case "uniqueItems":
			seen := map[string]bool{}
			for _, item := range array {
				if seen[fmt.Sprint(item)] {
					return at + " has an item twice"
				}
				seen[fmt.Sprint(item)] = true
			}
		case "items":
			for i, item := range array {
				if m := v.misfit(arg.(map[string]any), item, fmt.Sprintf("%s[%d]", at, i)); m != "" {
					return m
				}
			}
		case "required":
			for _, key := range arg.([]any) {
				if _, ok := object[key.(string)]; isObject && !ok {
					return fmt.Sprintf("%s lacks %s", at, key)
				}
			}
		case "properties":
			for key, value := range object {
				if s, ok := arg.(map[string]any)[key]; ok {
					if m := v.misfit(s.(map[string]any), value, at+"."+key); m != "" {
						return m
					}
				}
			}
		case "additionalProperties":
			known, _ := schema["properties"].(map[string]any)
			for key := range object {
				if _, ok := known[key]; !ok && arg == false {
					return at + " has the unknown key " + key
				}
			}
		case "anyOf", "oneOf":
			fits := 0
			for _, s := range arg.([]any) {
				if v.misfit(s.(map[string]any), x, at) == "" {
					fits++
				}
			}
			if fits == 0 || fits > 1 && keyword == "oneOf" {
				return fmt.Sprintf("%s fits %d alternatives", at, fits)
			}
		default:
			v.t.Fatalf("the schema uses %s, which this test does not know", keyword)
		}
	}
	return ""
}

func TestSchema(t *testing.T) {
	data, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if m := schemaMisfit(t, string(data)); m != "" {
		t.Error(m)
	}
	for text, want := range map[string]string{
		"cluster: {name: c}\nnodes: [{hostname: a}]\nkubernets: {}\n": "unknown key kubernets",
		"":                                "lacks cluster",
		"cluster: {name: c}\nnodes: []\n": "too few",
		"cluster: {name: C}\nnodes: [{hostname: a}]\n":                                              "does not match",
		"cluster: {name: c}\nnodes: [{hostname: a, rol: worker}]\n":                                 "unknown key rol",
		"cluster: {name: c}\nnodes: [{hostname: a, role: master}]\n":                                "alternatives",
		"cluster: {name: c}\nnodes: [{hostname: a, user: {password: x}}]\n":                         "alternatives",
		"cluster: {name: c}\nnodes: [{hostname: a, user: {password: {hash: x}}}]\n":                 "alternatives",
		"cluster: {name: c}\nnodes: [{hostname: a, swap: \"yes\"}]\n":                               "alternatives",
		"cluster: {name: c}\nnodes: [{hostname: a, files: [{path: /a, content: b, mode: 0644}]}]\n": "alternatives",
		"cluster: {name: c}\nnodes: [{hostname: null}]\n":                                           "no string",
		"cluster: {name: c}\ndefaults: {hostname: a}\nnodes: [{hostname: a}]\n":                     "unknown key hostname",
	} {
		text = "image: {path: a.img}\n" + text
		if m := schemaMisfit(t, text); !strings.Contains(m, want) {
			t.Errorf("%s: %q instead of %q", text, m, want)
		}
	}
}
