package artifacts

import (
	"cmp"
	"regexp"
	"strings"
)

// repacked is what Debian adds to the version of sources that it changed: ~ds1, +dfsg.
var repacked = regexp.MustCompile(`[~+](ds|dfsg|repack)[0-9.]*$`)

// upstreamVersion returns the version that upstream gave what a package holds:
// of "1:1.7.24~ds1-6+b4" it is "1.7.24".
func upstreamVersion(deb string) string {
	_, upstream, _ := splitDebVersion(deb)
	return repacked.ReplaceAllString(upstream, "")
}

// compareVersions orders upstream versions: one with a suffix such as -rc.1 or
// ~beta comes before the one without, one with a suffix such as +k3s1 after it.
func compareVersions(a, b string) int {
	comparable := func(v string) string { return strings.ReplaceAll(strings.TrimPrefix(v, "v"), "-", "~") }
	return comparePart(comparable(a), comparable(b))
}

// compareDebVersions orders versions of packages, after deb-version(7).
func compareDebVersions(a, b string) int {
	epochA, upstreamA, revisionA := splitDebVersion(a)
	epochB, upstreamB, revisionB := splitDebVersion(b)
	return cmp.Or(comparePart(epochA, epochB), comparePart(upstreamA, upstreamB), comparePart(revisionA, revisionB))
}

func splitDebVersion(v string) (epoch, upstream, revision string) {
	if e, rest, ok := strings.Cut(v, ":"); ok {
		epoch, v = e, rest
	}
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		v, revision = v[:i], v[i+1:]
	}
	return epoch, v, revision
}

// comparePart compares parts of versions: in turn, what is no digit, and a number.
func comparePart(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a = splitAt(a, false)
		y, b = splitAt(b, false)
		if c := compareText(x, y); c != 0 {
			return c
		}
		x, a = splitAt(a, true)
		y, b = splitAt(b, true)
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
			return c
		}
	}
	return 0
}

// splitAt splits off the digits that s begins with, or what is before the first.
func splitAt(s string, digits bool) (head, tail string) {
	i := strings.IndexFunc(s, func(r rune) bool { return (r >= '0' && r <= '9') != digits })
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

// compareText orders a tilde before the end, and letters before all else.
func compareText(a, b string) int {
	rank := func(s string, i int) int {
		switch {
		case i >= len(s):
			return 0
		case s[i] == '~':
			return -1
		case s[i] >= 'A' && s[i] <= 'Z', s[i] >= 'a' && s[i] <= 'z':
			return int(s[i])
		}
		return int(s[i]) + 256
	}
	for i := range max(len(a), len(b)) {
		if c := cmp.Compare(rank(a, i), rank(b, i)); c != 0 {
			return c
		}
	}
	return 0
}
