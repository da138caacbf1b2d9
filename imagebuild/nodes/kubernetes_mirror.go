package nodes

import (
	"net/url"
	"regexp"
	"strings"
)

// registryPattern is a registry with a path or without one. Its first part has
// a dot or a port: otherwise it would be taken for a user of Docker Hub.
const registryPattern = `^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+(:[0-9]{1,5})?|[a-z0-9]([a-z0-9-]*[a-z0-9])?:[0-9]{1,5})(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`

var registryRE = regexp.MustCompile(registryPattern)

func (c *checker) mirrors(v value[mirrorsDoc]) Mirrors {
	d := v.V
	var m Mirrors
	if d.Packages.Set() {
		m.Packages = c.mirrorURL(d.Packages)
	}
	if d.Binaries.Set() {
		m.Binaries = c.mirrorURL(d.Binaries)
	}
	if d.Images.Set() {
		m.Images = c.registry(d.Images)
	}
	return m
}

// mirrorURL checks the URL that paths are appended to. It never quotes one
// before it is known to hold no password.
func (c *checker) mirrorURL(v text) string {
	u, err := url.Parse(v.V)
	switch {
	case strings.Contains(v.V, "@"):
		c.r.Mask(v.Span())
		c.fail(at(v), "leave the part before @ out", "the URL holds a user name or a password, which every node would show")
	case err != nil || strings.IndexFunc(v.V, func(r rune) bool {
		return r <= ' ' || r > '~' || r == '\'' || r == '"' || r == '\\' || r == '$' || r == '`'
	}) >= 0:
		c.fail(at(v), "write https://…", "this is not a URL")
	case u.Scheme == "http":
		c.fail(at(v), "write https", "nodes download by https only")
	case u.Scheme != "https" || u.Hostname() == "":
		c.fail(at(v), "write https://…", "%q is not an https URL", v.V)
	case u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(v.V, "?#"):
		c.fail(at(v), "leave what follows ? or # out", "paths are appended to the URL, so that it can have neither ? nor #")
	default:
		return strings.TrimRight(v.V, "/")
	}
	return ""
}

func (c *checker) registry(v text) string {
	s := v.V
	switch {
	case strings.Contains(s, "@"):
		c.r.Mask(v.Span())
		c.fail(at(v), "leave the part before @ out", "the registry holds a user name or a password")
	case strings.Contains(s, "://"):
		c.fail(at(v), "leave the part up to // out", "%q is a URL; a registry is named by its host", s)
	case registryRE.MatchString(s):
		return s
	case registryRE.MatchString(strings.TrimRight(strings.ToLower(s), "/")):
		c.fail(at(v), "write "+strings.TrimRight(strings.ToLower(s), "/"), "%q is not how images are named", s)
	default:
		c.fail(at(v), "write host[:port][/path], such as registry.example.net/k8s; a host without a dot needs its port", "%q is not a registry", s)
	}
	return ""
}

// serverNames checks certSANs: names, wildcards and addresses.
func (c *checker) serverNames(v value[list]) []string {
	return each(c, v, func(t text) (string, bool) {
		s := t.V
		if digitsOnly(s) {
			a, ok := c.ipv4(t, "certSANs entry")
			return a.String(), ok
		}
		if dotted(strings.TrimPrefix(s, "*.")) {
			return s, true
		}
		hint := "write one name or IPv4 address in each entry, without a port"
		if l := strings.ToLower(s); dotted(strings.TrimPrefix(l, "*.")) {
			hint = "write " + l
		}
		c.fail(at(t), hint, "%q is neither a name nor an IPv4 address", s)
		return "", false
	})
}
