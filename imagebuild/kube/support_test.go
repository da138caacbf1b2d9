package kube

import (
	"fmt"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/raspios"
)

func kubernetes(d nodes.Distribution, minor int) *nodes.Kubernetes {
	return &nodes.Kubernetes{Version: nodes.Version{Major: 1, Minor: minor, Patch: 1}, Distribution: d, VersionPlace: "nodes.yaml:4:12"}
}

func withContainerd(kind artifacts.Kind, version string) *artifacts.Set {
	return &artifacts.Set{Items: []artifacts.Item{{Kind: artifacts.Binary, Name: "kubelet"}, {Kind: kind, Name: "containerd", Version: version}}}
}

// TestCheck has what runs and what does not, release by release.
func TestCheck(t *testing.T) {
	set := &artifacts.Set{}
	for _, test := range []struct {
		distribution nodes.Distribution
		minor        int
		release      raspios.Release
		arch         string
		set          *artifacts.Set
		want         []string // in the error; none if it runs
	}{
		{nodes.Kubeadm, 34, raspios.Trixie, "arm64", nil, nil},
		{nodes.Kubeadm, 26, raspios.Bookworm, "arm64", nil, nil},
		{nodes.Kubeadm, 34, raspios.Bookworm, "arm64", nil, nil},
		{nodes.Kubeadm, 34, raspios.Bookworm, "amd64", nil, nil},
		{nodes.Kubeadm, 24, raspios.Bullseye, "arm64", nil, nil},
		{nodes.Kubeadm, 25, raspios.Bullseye, "arm64", nil, nil},
		{nodes.Kubeadm, 23, raspios.Bookworm, "arm64", nil, []string{"from 1.24 on", "1.34, the newest"}},
		{nodes.Kubeadm, 35, raspios.Bookworm, "arm64", nil, []string{"nodes.yaml:4:12: Kubernetes 1.35.1 cannot run on this image (bookworm, arm64)", "containerd 1.7.28, 2.1.5 or later, and bookworm has 1.6.20", "1.34, the newest that can", "kubernetes.artifacts"}},
		{nodes.Kubeadm, 35, raspios.Trixie, "arm64", nil, []string{"trixie has 1.7.24", "1.34, the newest"}},
		{nodes.Kubeadm, 36, raspios.Trixie, "arm64", nil, []string{"containerd 2.2 or later", "1.34, the newest"}},
		{nodes.Kubeadm, 40, raspios.Trixie, "arm64", nil, []string{"containerd 2.2 or later"}},
		{nodes.Kubeadm, 26, raspios.Bullseye, "arm64", nil, []string{"containerd 1.6 or later, and bullseye has 1.4.13", "1.25, the newest"}},
		{nodes.Kubeadm, 24, raspios.Buster, "arm64", nil, []string{"containerd 1.3 or later, and buster has 1.2.6", "no version from 1.24 on can"}},
		{nodes.Kubeadm, 30, raspios.Stretch, "arm64", nil, []string{"stretch has none", "no version"}},
		// The artifacts' containerd.
		{nodes.Kubeadm, 35, raspios.Bookworm, "arm64", withContainerd(artifacts.Binary, "1.7.28"), nil},
		{nodes.Kubeadm, 35, raspios.Bookworm, "arm64", withContainerd(artifacts.Deb, "1:2.1.5~ds1-1"), nil},
		{nodes.Kubeadm, 35, raspios.Bookworm, "arm64", withContainerd(artifacts.Binary, "2.1.4"), []string{"the artifacts have 2.1.4"}},
		{nodes.Kubeadm, 35, raspios.Bookworm, "arm64", withContainerd(artifacts.Binary, "2.0.9"), []string{"the artifacts have 2.0.9"}},
		{nodes.Kubeadm, 36, raspios.Bookworm, "arm64", withContainerd(artifacts.Binary, "1.7.30"), []string{"the artifacts have 1.7.30", "1.35, the newest"}},
		{nodes.Kubeadm, 37, raspios.Bookworm, "arm64", withContainerd(artifacts.Binary, "2.2.0"), nil},
		{nodes.Kubeadm, 37, raspios.Bookworm, "arm64", withContainerd(artifacts.Binary, ""), nil},
		{nodes.Kubeadm, 34, raspios.Trixie, "arm64", withContainerd(artifacts.Deb, "1.4.13~ds1-1"), []string{"the artifacts have 1.4.13"}},
		{nodes.Kubeadm, 36, raspios.Trixie, "arm64", set, []string{"trixie has 1.7.24"}},
		// cgroup v1.
		{nodes.Kubeadm, 34, raspios.Buster, "arm64", withContainerd(artifacts.Binary, "2.2.0"), nil},
		{nodes.Kubeadm, 35, raspios.Buster, "arm64", withContainerd(artifacts.Binary, "2.2.0"), []string{"buster has cgroup v1", "from 1.35 on", "1.34, the newest", "newer base image"}},
		{nodes.Kubeadm, 36, raspios.Buster, "arm64", nil, []string{"buster has cgroup v1", "buster has 1.2.6"}},
		{nodes.Kubeadm, 33, raspios.Stretch, "arm64", withContainerd(artifacts.Binary, "1.7.28"), []string{"older than 4.19"}},
		{nodes.Kubeadm, 31, raspios.Stretch, "arm64", withContainerd(artifacts.Binary, "1.7.28"), nil},
		// 32-bit.
		{nodes.Kubeadm, 34, raspios.Bookworm, "armhf", nil, []string{"32-bit (armhf), whatever its kernel is", "pkgs.k8s.io", "64-bit image (arm64)", "distribution: k3s", "no version"}},
		{nodes.Kubeadm, 24, raspios.Bullseye, "armhf", nil, []string{"32-bit"}},
		{nodes.Kubeadm, 26, raspios.Bookworm, "armhf", set, nil},
		{nodes.Kubeadm, 27, raspios.Bookworm, "armhf", set, []string{"exists for that up to 1.26", "1.26, the newest"}},
		// k3s.
		{nodes.K3s, 37, raspios.Trixie, "armhf", nil, nil},
		{nodes.K3s, 34, raspios.Stretch, "armhf", nil, nil},
		{nodes.K3s, 34, raspios.Buster, "armhf", set, nil},
		{nodes.K3s, 35, raspios.Buster, "armhf", nil, []string{"cgroup v1", "1.34, the newest"}},
		{nodes.K3s, 20, raspios.Trixie, "arm64", nil, []string{"from 1.24 on"}},
	} {
		k := kubernetes(test.distribution, test.minor)
		err := Check(&nodes.Config{Kubernetes: k}, &raspios.Facts{Release: test.release, Architecture: test.arch}, test.set)
		name := fmt.Sprintf("%s 1.%d on %s %s (%+v)", test.distribution, test.minor, test.release, test.arch, test.set)
		if (err == nil) != (test.want == nil) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, w := range test.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: no %q in: %v", name, w, err)
			}
		}
	}
	if err := Check(&nodes.Config{}, &raspios.Facts{}, nil); err != nil {
		t.Errorf("without Kubernetes: %v", err)
	}
}

// TestNewestCanRun takes the newest that an error names, and wants it to run.
func TestNewestCanRun(t *testing.T) {
	for _, release := range raspios.Releases() {
		for _, arch := range []string{"armhf", "arm64"} {
			for _, set := range []*artifacts.Set{nil, {}, withContainerd(artifacts.Binary, "2.2.1")} {
				for _, d := range []nodes.Distribution{nodes.Kubeadm, nodes.K3s} {
					facts := &raspios.Facts{Release: release, Architecture: arch}
					newest := platformOf(facts, set).newest(d)
					if newest == 0 {
						continue
					}
					if err := Check(&nodes.Config{Kubernetes: kubernetes(d, newest)}, facts, set); err != nil {
						t.Errorf("%s %s: %v", release, arch, err)
					}
				}
			}
		}
	}
}

func TestVersionNotices(t *testing.T) {
	arm := &raspios.Facts{Release: raspios.Trixie, Architecture: "armhf"}
	patched := kubernetes(nodes.Kubeadm, 30)
	patched.Patches = []nodes.KubeadmPatch{{Name: "corednsdeployment.yaml"}, {Name: "etcd.yaml"}}
	for _, test := range []struct {
		k    *nodes.Kubernetes
		want string
	}{
		{kubernetes(nodes.Kubeadm, newestMinor), ""},
		{kubernetes(nodes.Kubeadm, newestMinor+1), "is set up like 1.37"},
		{kubernetes(nodes.K3s, newestK3sArmhf), ""},
		{kubernetes(nodes.K3s, newestK3sArmhf+1), "k3s-armhf"},
		{patched, "passes over corednsdeployment.yaml"},
	} {
		got := versionNotices(test.k, arm)
		if test.want == "" && len(got) != 0 || test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)) {
			t.Errorf("1.%d: %q instead of %q", test.k.Version.Minor, got, test.want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for s, want := range map[string]version{
		"1.7.24~ds1-6+deb13u1+b4": {1, 7, 24}, "1:2.2.0-1": {2, 2, 0}, "v2.1.5": {2, 1, 5}, "1.6": {1, 6, 0}, "": {}, "x": {}, "99999999999.1.1": {},
	} {
		if got := parseVersion(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}
