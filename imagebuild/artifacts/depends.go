package artifacts

import (
	"fmt"
	"strings"
)

// dependency is one alternative of what a package depends on.
type dependency struct {
	name    string
	op      string // ">=", "<<" …; "" for any version
	version string
}

func (d dependency) String() string {
	if d.op == "" {
		return d.name
	}
	return fmt.Sprintf("%s (%s %s)", d.name, d.op, d.version)
}

// parseDepends splits a Depends field into groups, of each of which one package
// is needed, after deb-control(5). Architectures are left out.
func parseDepends(field string) [][]dependency {
	var groups [][]dependency
	for part := range strings.SplitSeq(field, ",") {
		var group []dependency
		for alternative := range strings.SplitSeq(part, "|") {
			if d := parseDependency(alternative); d.name != "" {
				group = append(group, d)
			}
		}
		if len(group) > 0 {
			groups = append(groups, group)
		}
	}
	return groups
}

func parseDependency(s string) (d dependency) {
	s = strings.TrimSpace(s)
	rest := ""
	if i := strings.IndexAny(s, " (\t[<"); i >= 0 {
		s, rest = s[:i], s[i:]
	}
	d.name, _, _ = strings.Cut(s, ":")
	if _, inner, ok := strings.Cut(rest, "("); ok {
		inner, _, _ = strings.Cut(inner, ")")
		inner = strings.TrimSpace(inner)
		d.version = strings.TrimLeft(inner, "<>= ")
		d.op = strings.TrimSpace(inner[:len(inner)-len(d.version)])
	}
	return d
}

// metBy reports whether a package of a version does. That of a virtual package
// is "" where it is not known, and does then.
func (d dependency) metBy(version string) bool {
	if version == "" {
		return true
	}
	c := compareDebVersions(version, d.version)
	switch d.op {
	case ">=", ">":
		return c >= 0
	case "<=", "<":
		return c <= 0
	case ">>":
		return c > 0
	case "<<":
		return c < 0
	case "=":
		return c == 0
	}
	return true
}

// dependencies adds the packages of the folder that the chosen ones depend on, and
// notes what neither the folder nor the base image has.
func (c *chooser) dependencies(queue []int, arch string, add func(int)) {
	for _, i := range queue {
		it := c.set.Items[i]
		for _, group := range parseDepends(it.Depends) {
			in, met := c.inFolder(group, arch)
			for _, j := range in {
				add(j)
			}
			if !met && c.set.installed != nil && !c.set.onBase(group) {
				var names []string
				for _, d := range group {
					names = append(names, d.String())
				}
				c.wrong(fmt.Sprintf("%s: it depends on %s, which neither the folder nor the base image has: on a system of the base image's release, run apt-get download %s:%s",
					it.Path, strings.Join(names, " or "), group[0].name, arch))
			}
		}
	}
}

// inFolder returns the packages of the folder that are of a group, and whether one
// of them meets it.
func (c *chooser) inFolder(group []dependency, arch string) (in []int, met bool) {
	for _, d := range group {
		for i, it := range c.set.Items {
			if it.Kind != Deb || it.Arch != arch && it.Arch != "all" {
				continue
			}
			switch version, provided := it.Provides[d.name]; {
			case it.Name == d.name:
				in = append(in, i)
				met = met || d.metBy(it.Version)
			case provided:
				in = append(in, i)
				met = met || d.metBy(version)
			}
		}
	}
	return in, met
}

// onBase reports whether a package of the base image meets a group.
func (s *Set) onBase(group []dependency) bool {
	for _, d := range group {
		if version, ok := s.installed[d.name]; ok && d.metBy(version) {
			return true
		}
	}
	return false
}
