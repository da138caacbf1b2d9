package artifacts

import (
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// What a package depends on must be in the folder or in the base image, in a
// version that does.
func TestDependencies(t *testing.T) {
	f := newFolder(t)
	f.write("kubelet.deb", deb(t, "xz", "Package: kubelet\nVersion: 1.34.1-1.1\nArchitecture: arm64\nPre-Depends: libc6 (>= 2.34)\nDepends: awk, iptables | nftables, conntrack (>= 1:1.4), new (>= 2)\n"))
	f.write("iptables.deb", deb(t, "xz", "Package: iptables\nVersion: 1.8.9-2\nArchitecture: arm64\nDepends: libxtables12 (= 1.8.9-2)\n"))
	f.write("new.deb", deb(t, "xz", "Package: newer\nVersion: 9\nArchitecture: all\nProvides: new (= 2.1)\n"))
	f.sum()
	needs := []Requirement{
		{Kind: Binary, Name: "kubelet", Version: "1.34.1", Arch: arch},
		{Kind: Deb, Name: "ethtool", Arch: arch},
		{Kind: Binary, Name: "containerd", Version: "1.7.35", AtLeast: "1.7.0", Arch: arch},
	}
	base := map[string]string{
		"libc6": "2.36-9+deb12u1", "awk": "", "conntrack": "1:1.4.7-1+b2", "libxtables12": "1.8.9-2", "ethtool": "1:6.1-1",
		"containerd": "1.7.24~ds1-6",
	}
	set := f.open()
	if err := set.On(base).Check(needs); err != nil {
		t.Errorf("everything is there: %v", err)
	}
	if n := len(set.On(base).For(needs)); n != 3 {
		t.Errorf("%d files, want 3", n)
	}
	base["libc6"] = "2.31-13"
	base["containerd"] = "1.6.20~ds1-1"
	delete(base, "libxtables12")
	delete(base, "ethtool")
	err := set.On(base).Check(needs)
	if err == nil {
		t.Fatal("nothing is missing")
	}
	f.says(err.Error(),
		"kubelet.deb: it depends on libc6 (>= 2.34), which neither the folder nor the base image has",
		"iptables.deb: it depends on libxtables12 (= 1.8.9-2)",
		"apt-get download libxtables12:arm64",
		"package ethtool for arm64 is missing",
		"containerd 1.7.0 or later for arm64 is missing (that of the base image is version 1.6.20)",
	)
	if n := strings.Count(err.Error(), "\n") + 1; n != 4 {
		t.Errorf("%d problems, want 4:\n%v", n, err)
	}
}

// dpkg orders versions alike.
func TestCompareDebVersions(t *testing.T) {
	tooltest.Need(t, "dpkg")
	part := rapid.StringOfN(rapid.SampledFrom([]rune("0019abzAZ~+.")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		version := func(label string) string {
			v := "1" + part.Draw(t, label)
			if rapid.Bool().Draw(t, label+" epoch") {
				v = rapid.SampledFrom([]string{"0:", "1:", "12:"}).Draw(t, label+" of") + v
			}
			if rapid.Bool().Draw(t, label+" revision") {
				v += "-1" + part.Draw(t, label+" of revision")
			}
			return v
		}
		a, b := version("a"), version("b")
		for op, want := range map[string]bool{"lt": compareDebVersions(a, b) < 0, "eq": compareDebVersions(a, b) == 0} {
			got := exec.Command("dpkg", "--compare-versions", a, op, b).Run() == nil
			if got != want {
				t.Fatalf("dpkg says that %s %s %s is %v", a, op, b, got)
			}
		}
	})
}
