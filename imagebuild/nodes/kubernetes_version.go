package nodes

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

// versionPattern is an exact version, as kubeadm and k3s write it.
const versionPattern = `^v?([1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})(\+k3s[1-9][0-9]{0,2})?$`

var (
	versionRE    = regexp.MustCompile(versionPattern)
	minorRE      = regexp.MustCompile(`^v?[0-9]+\.[0-9]+$`)
	preReleaseRE = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+-?(alpha|beta|rc)`)
	k3sTagRE     = regexp.MustCompile(`^(v?[0-9]+\.[0-9]+\.[0-9]+)[-_. ]?(k3s[0-9]+)$`)
)

// exactVersion is a version as the file gives it.
type exactVersion string

// Mismatch explains what YAML makes of a version without quotes.
func (exactVersion) Mismatch(n *strictyaml.Node) (string, string) {
	if n.Kind == strictyaml.Int || n.Kind == strictyaml.Float {
		return "without quotes this is a number, in which 1.30 and 1.3 are the same, and no exact version",
			`write all three numbers in quotes, such as "` + withPatch(n.Text) + `"`
	}
	return "must be a version, not " + n.Kind.String(), `write it in quotes, such as "1.34.1"`
}

// withPatch completes what people write for a minor version.
func withPatch(s string) string {
	s = strings.TrimPrefix(s, "v")
	if minorRE.MatchString(s) {
		return s + ".1"
	}
	return "1.34.1"
}

// version checks the form of a version, and that it is of the distribution.
func (c *checker) version(v value[exactVersion], d Distribution) Version {
	s := string(v.V)
	m := versionRE.FindStringSubmatch(s)
	switch {
	case m == nil && minorRE.MatchString(s):
		c.fail(at(v), `write the patch release as well, such as "`+withPatch(s)+`": every node, now and later, must get the same`,
			"%q is a series of releases, not a version", s)
	case m == nil && preReleaseRE.MatchString(s):
		c.fail(at(v), "use a release", "%q is no release, but one that came before it", s)
	case m == nil && k3sTagRE.MatchString(s):
		c.fail(at(v), `write "`+k3sTagRE.ReplaceAllString(s, "$1+$2")+`"`, "%q is not how k3s writes its versions", s)
	case m == nil && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz-") == "" && s != "":
		c.fail(at(v), `write the version itself, such as "1.34.1": what is newest changes, and images built later would not fit`,
			"%q is not an exact version", s)
	case m == nil:
		c.fail(at(v), `write three numbers, such as "1.34.1"`, "%q is not a version of Kubernetes", s)
	case m[1] != "1":
		c.fail(at(v), `write a version such as "1.34.1"`, "there is no Kubernetes %q", s)
	case m[4] != "" && d == Kubeadm:
		c.fail(at(v), `leave `+m[4]+` out, or add distribution: k3s`, "%q is a version of k3s, and the distribution is kubeadm", s)
	case m[4] == "" && d == K3s:
		c.fail(at(v), `write "`+strings.TrimPrefix(s, "v")+`+k3s1", as k3s names its releases`, "%q does not say which release of k3s", s)
	default:
		number := func(i int) int { n, _ := strconv.Atoi(m[i]); return n } // the pattern lets no other through
		return Version{Major: number(1), Minor: number(2), Patch: number(3), Suffix: m[4]}
	}
	return Version{}
}
