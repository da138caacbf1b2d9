package kube

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/raspios"
)

// Check refuses a version of Kubernetes that the base image cannot run, before
// anything is planned: the error says where the version stands in nodes.yaml,
// why it cannot run, what the newest is that can, and the ways out. Set is what
// the nodes get with their images; nil if they download everything. Whether it
// is complete is not its matter.
func Check(config *nodes.Config, facts *raspios.Facts, set *artifacts.Set) error {
	k := config.Kubernetes
	if k == nil {
		return nil
	}
	p := platformOf(facts, set)
	obstacles := p.obstacles(k.Distribution, k.Version)
	if len(obstacles) == 0 {
		return nil
	}
	var why, ways []string
	for _, o := range obstacles {
		why = append(why, o.why)
		for _, w := range o.ways {
			if !slices.Contains(ways, w) {
				ways = append(ways, w)
			}
		}
	}
	if newest := p.newest(k.Distribution); newest > 0 {
		ways = slices.Insert(ways, 0, fmt.Sprintf("write a version of 1.%d, the newest that can", newest))
	} else {
		why = append(why, fmt.Sprintf("no version from 1.%d on can", oldestMinor))
	}
	return fmt.Errorf("%s: Kubernetes %s cannot run on this image (%s): %s; %s",
		k.VersionPlace, k.Version, p, strings.Join(why, "; "), strings.Join(ways, ", or "))
}

// versionNotices says what is not known for certain of the version.
func versionNotices(k *nodes.Kubernetes, facts *raspios.Facts) []string {
	var notices []string
	if k.Version.Minor > newestMinor {
		notices = append(notices, fmt.Sprintf("%s: Kubernetes 1.%d is newer than what this version of piimg knows; it is set up like 1.%d", k.VersionPlace, k.Version.Minor, newestMinor))
	}
	switch {
	case k.Distribution == nodes.K3s && facts.Architecture == armhf && k.Version.Minor > newestK3sArmhf:
		notices = append(notices, fmt.Sprintf("%s: k3s is known to exist for 32-bit systems up to 1.%d; look whether its release %s has k3s-armhf", k.VersionPlace, newestK3sArmhf, k.Version))
	case k.Distribution == nodes.Kubeadm && !k.Version.AtLeast(1, 31):
		for _, patch := range k.Patches {
			if strings.HasPrefix(patch.Name, "corednsdeployment") {
				notices = append(notices, fmt.Sprintf("%s: kubeadm patches the deployment of CoreDNS from 1.31 on, and passes over %s", k.VersionPlace, patch.Name))
			}
		}
	}
	return notices
}

const armhf = "armhf"

const (
	// newestArmhf is the last series with programs for 32-bit arm (kubernetes#115742).
	newestArmhf = 26
	// newestCgroupV1 is the last series whose kubelet starts on cgroup v1 (KEP 5573).
	newestCgroupV1 = 34
	// newestK3sArmhf is the last series of k3s that was seen with k3s-armhf.
	newestK3sArmhf = 36
)

// platform is what Kubernetes will run on.
type platform struct {
	release    raspios.Release
	arch       string  // dpkg's, which decides what runs, whatever the kernel is
	containerd version // that the nodes will have; zero if none, or if it is not known
	brought    bool    // containerd comes with the artifacts
	offline    bool    // nothing is downloaded
}

func platformOf(facts *raspios.Facts, set *artifacts.Set) platform {
	p := platform{release: facts.Release, arch: facts.Architecture, offline: set != nil}
	p.containerd = debianContainerd(facts.Release)
	if set == nil {
		return p
	}
	for _, item := range set.Items {
		program := item.Kind == artifacts.Binary && item.Name == "containerd"
		if program || item.Kind == artifacts.Deb && (item.Name == "containerd" || item.Name == "containerd.io") {
			p.containerd, p.brought = parseVersion(item.Version), true
			if program {
				break // a program by itself comes before the package's
			}
		}
	}
	return p
}

// String names the platform: "bookworm, arm64".
func (p platform) String() string { return string(p.release) + ", " + p.arch }

// debianContainerd is the version of the package containerd of a release.
func debianContainerd(r raspios.Release) version {
	switch r {
	case raspios.Buster:
		return version{1, 2, 6}
	case raspios.Bullseye:
		return version{1, 4, 13}
	case raspios.Bookworm:
		return version{1, 6, 20}
	case raspios.Trixie:
		return version{1, 7, 24}
	}
	return version{} // stretch has none
}

// cgroupV1 reports whether the release boots with cgroup v1.
func (p platform) cgroupV1() bool {
	return p.release == raspios.Stretch || p.release == raspios.Buster
}

// obstacle is one reason why a version cannot run, and what to do beside taking
// another version.
type obstacle struct {
	why  string
	ways []string
}

// newest returns the newest minor version that can run; 0 if none can.
func (p platform) newest(d nodes.Distribution) int {
	for minor := newestMinor; minor >= oldestMinor; minor-- {
		if len(p.obstacles(d, nodes.Version{Major: 1, Minor: minor})) == 0 {
			return minor
		}
	}
	return 0
}

// obstacles returns all that is in a version's way.
func (p platform) obstacles(d nodes.Distribution, v nodes.Version) []obstacle {
	var all []obstacle
	if v.Minor < oldestMinor {
		all = append(all, obstacle{why: fmt.Sprintf("piimg knows Kubernetes from 1.%d on, the oldest of pkgs.k8s.io", oldestMinor)})
	}
	if p.cgroupV1() && v.Minor > newestCgroupV1 {
		all = append(all, obstacle{
			fmt.Sprintf("%s has cgroup v1, with which the kubelet does not start from 1.%d on", p.release, newestCgroupV1+1),
			[]string{"take a newer base image"},
		})
	}
	if d == nodes.K3s {
		return all // its programs exist for all our architectures, and bring their own containerd
	}
	if p.arch == armhf && (!p.offline || v.Minor > newestArmhf) {
		why := "its system is 32-bit (armhf), whatever its kernel is, and pkgs.k8s.io has nothing for that"
		if p.offline {
			why = fmt.Sprintf("its system is 32-bit (armhf), whatever its kernel is, and Kubernetes exists for that up to 1.%d", newestArmhf)
		}
		return append(all, obstacle{why, []string{"take the 64-bit image (arm64)", "set distribution: k3s, which exists for 32-bit systems"}})
	}
	if p.release == raspios.Stretch && (v.Minor == 32 || v.Minor == 33) {
		all = append(all, obstacle{"its kernel is older than 4.19, which kubeadm of 1.32 and 1.33 asks for", nil})
	}
	if o, ok := p.containerdObstacle(v); !ok {
		all = append(all, o)
	}
	return all
}

// containerdObstacle compares the containerd that nodes will have with what a
// version needs: CRI v1 from 1.26 on, and later what containerd's RELEASES.md
// names for it. The first is a matter of life and death; with the second the
// kubelet up to 1.37 merely warns, but nobody tests the two together.
func (p platform) containerdObstacle(v nodes.Version) (obstacle, bool) {
	has := p.containerd
	if p.brought && has == (version{}) {
		return obstacle{}, true // nobody knows; what is brought was chosen
	}
	needs, ok := "", true
	switch {
	case v.Minor >= 36:
		needs, ok = "2.2", has.atLeast(2, 2, 0)
	case v.Minor == 35:
		needs, ok = "1.7.28, 2.1.5", has.atLeast(2, 1, 5) || has[0] == 1 && has.atLeast(1, 7, 28)
	case v.Minor >= 26:
		needs, ok = "1.6", has.atLeast(1, 6, 0)
	default:
		needs, ok = "1.3", has.atLeast(1, 3, 0) // the first that reads the configuration that piimg writes
	}
	if ok {
		return obstacle{}, true
	}
	theirs := fmt.Sprintf("%s has %s", p.release, has)
	switch {
	case p.brought:
		theirs = fmt.Sprintf("the artifacts have %s", has)
	case has == (version{}):
		theirs = fmt.Sprintf("%s has none", p.release)
	}
	why := fmt.Sprintf("1.%d needs containerd %s or later, and %s", v.Minor, needs, theirs)
	return obstacle{why, []string{"put a newer containerd into kubernetes.artifacts", "set distribution: k3s, which brings its own"}}, false
}

// version is the numbers of a program's version.
type version [3]int

var versionRE = regexp.MustCompile(`^(?:[0-9]+:)?v?([0-9]{1,9})\.([0-9]{1,9})(?:\.([0-9]{1,9}))?`)

// parseVersion reads upstream's version, or a package's: "1.7.24~ds1-6+b4".
func parseVersion(s string) version {
	var v version
	m := versionRE.FindStringSubmatch(s)
	for i := range v {
		if m != nil && m[i+1] != "" {
			v[i], _ = strconv.Atoi(m[i+1]) // the pattern lets no other through
		}
	}
	return v
}

func (v version) atLeast(major, minor, patch int) bool {
	return slices.Compare(v[:], []int{major, minor, patch}) >= 0
}

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }
