package nodes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

// checker turns the values of the file into the types of Config. Its methods
// report what is wrong; what they return is then the zero value.
type checker struct {
	r    *strictyaml.Report
	name string // of the file, as problems call it
	dir  string // that relative paths start in
	env  Env
	// misread is set if a part of the file could not be read at all, so that
	// something that seems to be absent may be there.
	misread bool
	// nodesMisread is misread of the parts that say what the nodes are together.
	nodesMisread bool
	// told has, of what two ranges have in common, what was reported: the two
	// places, and what kind of value it is.
	told map[[3]string]bool
}

// place is where in the file something was said.
type place struct {
	span strictyaml.Span
	path string
}

func at[T any](v value[T]) place { return place{v.Span(), v.Path} }

// fail reports a problem. Values of the file go into messages by %q. One that
// seems to hold a part of the file with a secret in it, since a quote was
// closed too late, is left out.
func (c *checker) fail(p place, hint, format string, args ...any) {
	for i, arg := range args {
		if s, ok := arg.(string); ok && strictyaml.HoldsSecret(s) {
			args[i], hint = "…", "check that quotes are closed where they should be"
		}
	}
	c.r.Add(p.span, p.path, fmt.Sprintf(format, args...), hint)
}

func (c *checker) notice(p place, format string, args ...any) {
	c.r.Notice(p.span, p.path, fmt.Sprintf(format, args...))
}

// opt is a checked setting: one that may be absent, or wrong.
type opt[T any] struct {
	v     T
	given bool // the file has the key
	reset bool // the file says null: v is the zero value, and replaces a default
	place
}

// absent says that the setting was left out or taken back. One that is given
// but wrong is not absent.
func (o opt[T]) absent() bool { return !o.given || o.reset }

// or returns o, or else the default.
func (o opt[T]) or(def opt[T]) opt[T] {
	if o.given {
		return o
	}
	return def
}

// checked runs a check on a value of the file, if there is one.
func checked[D, T any](v value[D], check func(value[D]) T) opt[T] {
	o := opt[T]{given: v.Given(), reset: v.Reset(), place: at(v)}
	if v.Set() {
		o.v = check(v)
	}
	return o
}

// choice checks a word that is one of a few.
func (c *checker) choice(v text, what string, words ...string) string {
	if slices.Contains(words, v.V) {
		return v.V
	}
	hint := "use " + strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	if n := strictyaml.Nearest(v.V, words); n != "" {
		hint = "did you mean " + n + "?"
	}
	c.fail(at(v), hint, "there is no %s %q", what, v.V)
	return ""
}

// each runs a check on every item of a list, and refuses items that come out
// twice.
func each[T comparable](c *checker, l value[list], check func(text) (T, bool)) []T {
	out := make([]T, 0, len(l.V))
	first := map[T]int{}
	for _, item := range l.V {
		if !item.Set() {
			continue
		}
		v, ok := check(item)
		if !ok {
			continue
		}
		if line, dup := first[v]; dup {
			c.fail(at(item), "keep one of them", "it is listed twice, first in line %d", line)
			continue
		}
		first[v] = item.Span().Line
		out = append(out, v)
	}
	return out
}
