package kube

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/nodes"
)

func TestReleasesAreInOrder(t *testing.T) {
	all := releases()
	if !slices.IsSortedFunc(all, func(a, b release) int { return cmp.Or(cmp.Compare(a.minor, b.minor), cmp.Compare(a.patch, b.patch)) }) {
		t.Error("the table is not in the order of the versions")
	}
	for minor := oldestMinor; minor <= newestMinor; minor++ {
		if !slices.ContainsFunc(all, func(r release) bool { return r.minor == minor }) {
			t.Errorf("1.%d is missing", minor)
		}
	}
	if first, last := all[0].minor, all[len(all)-1].minor; first != oldestMinor || last != newestMinor {
		t.Errorf("the table is from 1.%d to 1.%d", first, last)
	}
}

func TestComponentsOf(t *testing.T) {
	for v, want := range map[nodes.Version]components{
		{Major: 1, Minor: 24, Patch: 3}:  {"v1beta3", "3.5.3-0", "v1.8.6", "3.7", false},
		{Major: 1, Minor: 30, Patch: 14}: {"v1beta3", "3.5.15-0", "v1.11.3", "3.9", true},
		{Major: 1, Minor: 30, Patch: 9}:  {"v1beta3", "3.5.12-0", "v1.11.1", "3.9", false},
		{Major: 1, Minor: 31}:            {"v1beta4", "3.5.15-0", "v1.11.1", "3.10", true},
		{Major: 1, Minor: 33, Patch: 3}:  {"v1beta4", "3.5.21-0", "v1.12.0", "3.10", false},
		{Major: 1, Minor: 33, Patch: 9}:  {"v1beta4", "3.5.24-0", "v1.12.0", "3.10", true},
		{Major: 1, Minor: 34, Patch: 1}:  {"v1beta4", "3.6.4-0", "v1.12.1", "3.10.1", false},
		{Major: 1, Minor: 34, Patch: 3}:  {"v1beta4", "3.6.5-0", "v1.12.1", "3.10.1", true},
		{Major: 1, Minor: 34, Patch: 9}:  {"v1beta4", "3.6.5-0", "v1.12.1", "3.10.1", false},
		{Major: 1, Minor: 35}:            {"v1beta4", "3.6.6-0", "v1.13.1", "3.10.1", false},
		{Major: 1, Minor: 36, Patch: 2}:  {"v1beta4", "3.6.8-0", "v1.14.2", "3.10.2", true},
		{Major: 1, Minor: 41}:            {"v1beta4", "3.7.0-0", "v1.14.6", "3.10.2", false},
		{Major: 1, Minor: 12}:            {"v1beta3", "3.5.3-0", "v1.8.6", "3.7", false},
	} {
		if got := componentsOf(v); got != want {
			t.Errorf("%s: %+v instead of %+v", v, got, want)
		}
	}
}

// TestComponentsAgainstKubeadm asks every kubeadm that was built for its images.
func TestComponentsAgainstKubeadm(t *testing.T) {
	for _, k := range kubeadms(t) {
		t.Run(k.version.String(), func(t *testing.T) {
			out := k.run(t, "config", "images", "list", "--kubernetes-version", "v"+k.version.String())
			c := componentsOf(k.version)
			if !c.Exact {
				t.Error("the tags are not certain")
			}
			for _, image := range []string{"etcd:" + c.Etcd, "coredns/coredns:" + c.CoreDNS, "pause:" + c.Pause} {
				if !strings.Contains(out, "registry.k8s.io/"+image+"\n") {
					t.Errorf("no %s in\n%s", image, out)
				}
			}
		})
	}
}
