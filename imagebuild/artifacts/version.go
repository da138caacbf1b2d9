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
	if _, rest, ok := strings.Cut(deb, ":"); ok {
		deb = rest
	}
	if i := strings.LastIndexByte(deb, '-'); i >= 0 {
		deb = deb[:i]
	}
	return repacked.ReplaceAllString(deb, "")
}

// compareVersions orders versions: the numbers between the dots count, and one
// with a suffix such as -rc.1 or ~beta comes before the one without. What
// follows a plus, as in 1.34.1+k3s1, decides last.
func compareVersions(a, b string) int {
	coreA, restA := splitVersion(a)
	coreB, restB := splitVersion(b)
	for coreA != "" || coreB != "" {
		var x, y string
		x, coreA, _ = strings.Cut(coreA, ".")
		y, coreB, _ = strings.Cut(coreB, ".")
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(suffixRank(restA), suffixRank(restB)), cmp.Compare(restA, restB))
}

// splitVersion splits the numbers and dots at the beginning from the rest.
func splitVersion(v string) (core, rest string) {
	v = strings.TrimPrefix(v, "v")
	for i := range len(v) {
		if (v[i] < '0' || v[i] > '9') && v[i] != '.' {
			return v[:i], v[i:]
		}
	}
	return v, ""
}

func suffixRank(s string) int {
	switch {
	case s == "":
		return 0
	case s[0] == '+':
		return 1
	}
	return -1
}
