package strictyaml

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Mismatcher may be implemented by the types of values to explain better than
// "must be a mapping" what is wrong with a value of another kind. It must not
// quote the value if n.Secret is set.
type Mismatcher interface {
	Mismatch(n *Node) (message, hint string)
}

// Decode lays a tree over the struct that into points to, and reports all that
// does not fit. Path is that of n in the file; "" is the file itself.
//
// The struct's fields are of type Value[T], T being string, bool, int, a struct of
// such fields, or a slice of Values; embedded structs add their fields. A
// field's key is its json tag; a key without omitempty must be given. The
// example in a field's jsonschema tag is used in hints. The tag
// strictyaml:"nullable" allows null, which [Value.Reset] then tells; the tag alias
// lists other names that people give the key, for hints only. A struct may have
// one field with the tags json:"-" and strictyaml:"text": text in the place of
// the mapping goes there.
func Decode(r *Report, root *Node, into any) {
	v := reflect.ValueOf(into).Elem()
	d := decoder{r: r, root: v.Type()}
	d.decode(root, "", v)
}

type decoder struct {
	r    *Report
	root reflect.Type
}

type decodable interface {
	decodeFrom(d *decoder, n *Node, path string)
}

func (v *Value[T]) decodeFrom(d *decoder, n *Node, path string) {
	v.Node, v.Path = n, path
	v.bad = !d.decode(n, path, reflect.ValueOf(&v.V).Elem())
}

// place notes where a value stands without reading it.
func (v *Value[T]) place(n *Node, path string) { v.Node, v.Path = n, path }

// decode reports whether n is of the kind that v holds; inside of mappings and
// lists the inner values know for themselves.
func (d *decoder) decode(n *Node, path string, v reflect.Value) bool {
	kind := kindOf(v.Type())
	if kind == Map && n.Kind == String {
		if i, ok := textField(v.Type()); ok {
			v.Field(i).Addr().Interface().(decodable).decodeFrom(d, n, path)
			return true
		}
	}
	number, err := strconv.Atoi(n.Text)
	if n.Kind != kind || kind == Int && (err != nil || strconv.Itoa(number) != n.Text) {
		d.mismatch(n, path, v)
		return false
	}
	switch kind {
	case String:
		v.SetString(n.Text)
	case Bool:
		v.SetBool(strings.EqualFold(n.Text, "true"))
	case Int:
		v.SetInt(int64(number))
	case List:
		v.Set(reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items)))
		for i, item := range n.Items {
			v.Index(i).Addr().Interface().(decodable).decodeFrom(d, item, fmt.Sprintf("%s[%d]", path, i))
		}
	case Map:
		d.decodeStruct(n, path, v)
	}
	return true
}

// kindOf returns the kind of node that a Go type holds.
func kindOf(t reflect.Type) Kind {
	switch t.Kind() {
	case reflect.String:
		return String
	case reflect.Bool:
		return Bool
	case reflect.Int:
		return Int
	case reflect.Slice:
		return List
	case reflect.Struct:
		return Map
	}
	panic("strictyaml: cannot decode into " + t.String())
}

// textField returns the field of a struct that text in its place goes to.
func textField(t reflect.Type) (int, bool) {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("strictyaml") == "text" {
			return i, true
		}
	}
	return 0, false
}

func (d *decoder) mismatch(n *Node, path string, v reflect.Value) {
	if m, ok := v.Interface().(Mismatcher); ok {
		message, hint := m.Mismatch(n)
		d.r.Add(n.Span, path, message, hint)
		return
	}
	if n.Kind == Null {
		d.r.Add(n.Span, path, "the key has no value", "give it one, or remove the key")
		return
	}
	quoted := fmt.Sprintf("%q", n.Text)
	if n.Secret {
		quoted = `"…"`
	}
	message, hint := "", ""
	switch v.Kind() {
	case reflect.String:
		message = "must be text, not " + n.Kind.String()
		if n.Kind < Map {
			hint = "put it in quotes: " + quoted
		}
	case reflect.Bool:
		message = "must be true or false, not " + n.Kind.String()
		if n.Kind == String {
			switch strings.ToLower(n.Text) {
			case "yes", "on", "y", "true", "enabled":
				hint = "write true, without quotes"
			case "no", "off", "n", "false", "disabled":
				hint = "write false, without quotes"
			}
		}
	case reflect.Int:
		message = "must be a whole number, not " + n.Kind.String()
		if n.Kind == Int || n.Kind == Float {
			message = "must be a whole number in decimal digits"
		}
	case reflect.Slice:
		message = "must be a list, not " + n.Kind.String()
		if n.Kind != Map && !n.Secret {
			hint = "write it in brackets: [" + n.Text + "]"
		}
	case reflect.Struct:
		message = "must be a mapping, not " + n.Kind.String()
		if keys := requiredFirst(fields(v.Type())); len(keys) > 0 {
			hint = "give it keys: " + strings.Join(keys, ", ")
		}
	}
	d.r.Add(n.Span, path, message, hint)
}

// A field is one key of a struct type.
type field struct {
	key      string
	index    []int
	required bool
	nullable bool
	example  string
	aliases  []string // what people write by mistake, lower case
}

// fields lists the keys of a struct type, in the order of its declaration.
func fields(t reflect.Type) []field {
	var list []field
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			for _, inner := range fields(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				list = append(list, inner)
			}
			continue
		}
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "" || key == "-" {
			continue
		}
		x := field{key: key, index: f.Index, required: !strings.Contains(options, "omitempty"),
			nullable: f.Tag.Get("strictyaml") == "nullable"}
		if a := f.Tag.Get("alias"); a != "" {
			x.aliases = strings.Split(a, ",")
		}
		for part := range strings.SplitSeq(f.Tag.Get("jsonschema"), ",") {
			if e, ok := strings.CutPrefix(part, "example="); ok && x.example == "" {
				x.example = e
			}
		}
		list = append(list, x)
	}
	return list
}

func requiredFirst(list []field) []string {
	var keys []string
	for _, f := range list {
		keys = append(keys, f.key)
	}
	slices.SortStableFunc(keys, func(a, b string) int {
		rank := func(k string) int {
			if slices.ContainsFunc(list, func(f field) bool { return f.key == k && f.required }) {
				return 0
			}
			return 1
		}
		return rank(a) - rank(b)
	})
	return keys
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (d *decoder) decodeStruct(n *Node, path string, v reflect.Value) {
	known := fields(v.Type())
	first, meant := map[string]*Node{}, map[string]bool{}
	for _, e := range n.Entries {
		if d.duplicate(first, e, path) {
			continue
		}
		i := slices.IndexFunc(known, func(f field) bool { return f.key == e.Key.Text && e.Key.Kind == String })
		if i < 0 {
			key, recognised := d.unknown(e.Key, path, known)
			meant[key] = true
			if !recognised && e.Value.Kind != Map && e.Value.Kind != List && e.Value.Kind != Null {
				d.r.Mask(e.Value.Span) // nobody knows whether it is a secret
			}
			continue
		}
		target := v.FieldByIndex(known[i].index).Addr().Interface()
		if known[i].nullable && e.Value.Kind == Null && e.Value.Explicit {
			target.(interface{ place(*Node, string) }).place(e.Value, join(path, e.Key.Text))
			continue
		}
		if e.Value.Kind == Null {
			e.Value.Span = e.Key.Span // the caret goes below the key
		}
		target.(decodable).decodeFrom(d, e.Value, join(path, e.Key.Text))
	}
	for _, f := range known {
		if f.required && first[f.key] == nil && !meant[f.key] {
			hint := "add " + f.key + ":"
			if f.example != "" {
				hint += " for example " + f.key + ": " + f.example
			}
			d.r.Add(n.Span, path, "the key "+f.key+" is missing", hint)
		}
	}
}

func (d *decoder) duplicate(first map[string]*Node, e Entry, path string) bool {
	earlier := first[e.Key.Text]
	if earlier == nil {
		first[e.Key.Text] = e.Key
		return false
	}
	if e.Key.Secret {
		d.r.Add(e.Key.Span, path, "the same key is given twice", "keep one of them")
		return true
	}
	d.r.Add(e.Key.Span, join(path, e.Key.Text), fmt.Sprintf("the key is given twice, first in line %d", earlier.Span.Line), "keep one of them")
	return true
}

// unknown reports a key that is not known. It returns the one of known that was
// probably meant, or "", and whether the key is known elsewhere at least.
func (d *decoder) unknown(key *Node, path string, known []field) (meant string, recognised bool) {
	if key.Secret {
		d.r.Add(key.Span, path, "there is no such key here", "the keys here are "+list(requiredFirst(known)))
		return "", false
	}
	near, alias := Nearest(key.Text, requiredFirst(known)), false
	for _, f := range known {
		if slices.Contains(f.aliases, strings.ToLower(key.Text)) {
			near, alias = f.key, true
		}
	}
	places, all := d.places(key.Text)
	var hint string
	switch elsewhere := Nearest(key.Text, all); {
	case near != "" && (alias || len(places) == 0 || plain(near) == plain(key.Text)):
		hint = fmt.Sprintf("did you mean %s?", near)
	case len(places) > 0:
		near, hint = "", "it belongs "+strings.Join(places, " or ")
	case elsewhere != "":
		places, _ = d.places(elsewhere)
		hint = fmt.Sprintf("did you mean %s, %s?", elsewhere, strings.Join(places, " or "))
	default:
		hint = "the keys here are " + list(requiredFirst(known))
	}
	d.r.Add(key.Span, path, fmt.Sprintf("there is no key %q here", key.Text), hint)
	return near, near != "" || len(places) > 0
}

func list(keys []string) string {
	if len(keys) < 2 {
		return strings.Join(keys, "")
	}
	return strings.Join(keys[:len(keys)-1], ", ") + " and " + keys[len(keys)-1]
}

// places says where a key is known, nearest to the root first, and lists all
// keys of the file.
func (d *decoder) places(key string) (found, all []string) {
	type at struct {
		t    reflect.Type
		path string
	}
	for queue := []at{{d.root, ""}}; len(queue) > 0; queue = queue[1:] {
		t, path := queue[0].t, queue[0].path
		switch kindOf(t) {
		case List:
			queue = append(queue, at{valueType(t.Elem()), path + "[]"})
		case Map:
			for _, f := range fields(t) {
				all = append(all, f.key)
				if f.key == key && path == "" {
					found = append(found, "at the top of the file")
				} else if f.key == key {
					found = append(found, "in "+path)
				}
				queue = append(queue, at{valueType(t.FieldByIndex(f.index).Type), join(path, f.key)})
			}
		}
	}
	return found, all
}

// valueType returns the T of a Value[T].
func valueType(t reflect.Type) reflect.Type {
	f, _ := t.FieldByName("V")
	return f.Type
}
