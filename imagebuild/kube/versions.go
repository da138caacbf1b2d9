package kube

import "github.com/piimg/piimg/imagebuild/nodes"

// The minor versions that this package knows. Kubernetes 1.24 is the oldest of
// pkgs.k8s.io, and the first that needs no dockershim.
const (
	oldestMinor = 24
	newestMinor = 37
)

// components are what belongs to a version of Kubernetes.
type components struct {
	// API is the version of kubeadm's configuration: "v1beta4".
	API string
	// Etcd, CoreDNS and Pause are the tags of the images that kubeadm of this
	// version uses: "3.6.5-0", "v1.12.1", "3.10.1".
	Etcd, CoreDNS, Pause string
	// Exact says that the tags are certain. Otherwise they are those of the
	// nearest version that is known, and kubeadm is to be told them.
	Exact bool
}

// release is a version whose tags are known.
type release struct {
	minor, patch         int
	etcd, coreDNS, pause string
	guess                bool // known for the series, not read from this version
}

// releases are the tags in cmd/kubeadm/app/constants/constants.go of the module
// k8s.io/kubernetes, at every version that the Go module proxy had; of the series
// before, and of first releases that it lacked, those that were announced.
// In the order of the versions.
func releases() []release {
	return []release{
		{24, 0, "3.5.3-0", "v1.8.6", "3.7", true},
		{25, 0, "3.5.4-0", "v1.9.3", "3.8", true},
		{26, 0, "3.5.6-0", "v1.9.3", "3.9", true},
		{27, 0, "3.5.7-0", "v1.10.1", "3.9", true},
		{28, 0, "3.5.9-0", "v1.10.1", "3.9", true},
		{29, 0, "3.5.10-0", "v1.11.1", "3.9", true},
		{29, 6, "3.5.12-0", "v1.11.1", "3.9", false},
		{30, 0, "3.5.12-0", "v1.11.1", "3.9", true},
		{30, 4, "3.5.12-0", "v1.11.1", "3.9", false},
		{30, 14, "3.5.15-0", "v1.11.3", "3.9", false},
		{31, 0, "3.5.15-0", "v1.11.1", "3.10", false},
		{31, 14, "3.5.24-0", "v1.11.3", "3.10", false},
		{32, 2, "3.5.16-0", "v1.11.3", "3.10", false},
		{32, 13, "3.5.24-0", "v1.11.3", "3.10", false},
		{33, 0, "3.5.21-0", "v1.12.0", "3.10", true},
		{33, 6, "3.5.24-0", "v1.12.0", "3.10", false},
		{33, 13, "3.5.24-0", "v1.12.0", "3.10", false},
		{34, 0, "3.6.4-0", "v1.12.1", "3.10.1", false},
		{34, 2, "3.6.5-0", "v1.12.1", "3.10.1", false},
		{34, 4, "3.6.5-0", "v1.12.1", "3.10.1", false},
		{35, 4, "3.6.6-0", "v1.13.1", "3.10.1", false},
		{36, 1, "3.6.8-0", "v1.14.2", "3.10.2", false},
		{36, 3, "3.6.8-0", "v1.14.2", "3.10.2", false},
		{37, 2, "3.7.0-0", "v1.14.6", "3.10.2", false},
	}
}

// componentsOf returns what belongs to a version of Kubernetes: that of the
// version itself, or of the nearest one before it in its series, or else of the
// first after it; of a series that is newer than all, that of the newest.
func componentsOf(v nodes.Version) components {
	c := components{API: "v1beta4"}
	if !v.AtLeast(1, 31) {
		c.API = "v1beta3" // v1beta4 is of 1.31
	}
	all := releases()
	minor := min(max(v.Minor, oldestMinor), newestMinor)
	var before, after *release
	for i := range all {
		switch r := &all[i]; {
		case r.minor != minor:
		case r.patch <= v.Patch:
			before = r
		case after == nil:
			after = r
		}
	}
	r := before
	if r == nil {
		r = after
	}
	c.Etcd, c.CoreDNS, c.Pause = r.etcd, r.coreDNS, r.pause
	switch {
	case r.guess || before == nil || minor != v.Minor:
	case before.patch == v.Patch:
		c.Exact = true
	case after != nil: // what does not change from one to the other has not changed between
		c.Exact = !after.guess && after.etcd == before.etcd && after.coreDNS == before.coreDNS && after.pause == before.pause
	}
	return c
}
