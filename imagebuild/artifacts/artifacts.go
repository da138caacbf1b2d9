// Package artifacts knows the folder of packages, programs and container images
// from which nodes are set up without the internet.
//
// What nodes need is a list of [Requirement]; what a folder holds is a [Set],
// made by [Open], which finds out by their content what its files are, and checks
// every one of them against the folder's SHA256SUMS. [Set.Check] compares the two,
// [Set.For] and [Set.Edits] choose what one node gets.
//
// A folder is laid out as
//
//	SHA256SUMS         of all other files, as sha256sum(1) writes and reads it
//	artifacts.lock     where files were fetched from; only if piimg fetched any
//	debs/*.deb         Debian packages
//	bin/NAME           programs: kubeadm, kubelet, containerd, k3s
//	cni/NAME           CNI plugins: bridge, host-local, flannel
//	images/*.tar       container images: docker archives or OCI layouts, also .tar.gz and .tar.zst
//
// but only for programs and CNI plugins, which are named by their files and told
// apart by their folder, do the names of folders and files count. Files whose
// names begin with a dot are left alone.
package artifacts

import "strings"

// Kind is what a file of the folder is, and what a requirement asks for.
type Kind string

// The kinds.
const (
	Deb       Kind = "deb"    // a Debian package
	Binary    Kind = "binary" // a program
	CNIPlugin Kind = "cni"    // a plugin of the container network interface
	Image     Kind = "image"  // a container image, or an archive of several
)

// SumsName and LockName are the files that describe a folder.
const (
	SumsName = "SHA256SUMS"
	LockName = "artifacts.lock"
)

// OnCard is the folder of a node's root partition that holds its artifacts, in
// the subfolders debs, bin, cni and images, and their SHA256SUMS.
const OnCard = "var/lib/piimg/artifacts"

// K3sImages is the name of the requirement that k3s's archive of all its
// container images meets.
const K3sImages = "k3s-airgap-images"

// Requirement is one thing that a node needs.
type Requirement struct {
	Kind Kind `json:"kind"`
	// Name is that of a package, of a program (kubeadm), of a CNI plugin (bridge),
	// or the whole reference of an image: registry.k8s.io/pause:3.10.1.
	Name string `json:"name"`
	// Version is the exact version without a v: "1.34.1", "1.34.1+k3s1"; "" for
	// any, and for images, whose references name it. Of a package it is the
	// version that upstream gave it.
	Version string `json:"version,omitempty"`
	// AtLeast, if not empty, is the lowest version that will do; Version is then
	// only what is fetched where nothing is there.
	AtLeast string `json:"atLeast,omitempty"`
	// Arch is the architecture as dpkg names it: armhf, arm64, amd64.
	Arch string `json:"arch"`
	// Debs are the names of Debian packages that do as well, beside the one with
	// the requirement's own name: kubernetes-cni for the plugin bridge.
	Debs []string `json:"debs,omitempty"`
	// From is where it is fetched from, if not from where [Upstream] says: the
	// reference of an image, or an https URL that has its SHA-256 beside it, with
	// .sha256 behind the name.
	From string `json:"from,omitempty"`
	// Optional says that a node can do without it.
	Optional bool `json:"optional,omitempty"`
	// Why says in a few words what it is for: "container runtime".
	Why string `json:"why,omitempty"`
}

// String names the requirement for people: "kubelet 1.34.1 for arm64",
// "image registry.k8s.io/pause:3.10.1 for arm64".
func (r Requirement) String() string {
	s := r.Name
	switch r.Kind {
	case Image:
		s = "image " + s
	case CNIPlugin:
		s = "CNI plugin " + s
	case Deb:
		s = "package " + s
	}
	switch {
	case r.AtLeast != "":
		s += " " + r.AtLeast + " or later"
	case r.Version != "":
		s += " " + r.Version
	}
	if r.Arch != "" {
		s += " for " + r.Arch
	}
	return s
}

// Item is one file of a folder.
type Item struct {
	Path string // of the file on the host
	Rel  string // of the file in the folder, slash-separated
	Kind Kind
	// Name is a package's name, the file name of a program or CNI plugin, the
	// reference of the image in an archive of one; the file name of an archive of several.
	Name string
	// Version is the version without a v, of a package with its epoch and
	// revision; "" if the file does not tell.
	Version string
	// Arch is the architecture as dpkg names it; "all" for any.
	Arch string
	// Images are the references of all images in an archive, in full and sorted:
	// docker.io/flannel/flannel:v0.27.4.
	Images []string
	// Depends is the Depends and Pre-Depends fields of a package.
	Depends string
	// Provides are the virtual packages that a package provides, with their
	// versions, "" where it gives none.
	Provides map[string]string
	Size     int64 // in bytes
	SHA256   [32]byte

	digests map[string]string // of the images' configurations, by reference
	packing string            // of an archive of images: "", gzip, zstd
}

// Set is what a folder holds.
type Set struct {
	Dir   string // the folder, absolute
	Items []Item // sorted by Rel
	Lock  Lock   // of artifacts.lock; empty without one

	installed map[string]string // see On
}

// On returns the set as it is used with a base image that has these packages, by
// name, with their versions; "" for the virtual packages that others provide. They
// meet requirements that nothing in the folder does, and what packages of the
// folder depend on must be among them or in the folder.
func (s *Set) On(installed map[string]string) *Set {
	on := *s
	on.installed = installed
	return &on
}

// Size returns the bytes that the files take, without any file system's overhead.
func Size(items []Item) int64 {
	var n int64
	for _, it := range items {
		n += it.Size
	}
	return n
}

// GoArch returns the name by which Go and container registries call dpkg's
// architecture, with the variant: "arm64", ""; "arm", "v7"; "amd64", "".
func GoArch(dpkg string) (arch, variant string) {
	switch dpkg {
	case "armhf":
		return "arm", "v7"
	case "i386":
		return "386", ""
	}
	return dpkg, ""
}

// dpkgArch is the opposite of GoArch. The variants of arm are not told apart:
// which of them a Pi can run does not stand in its package database.
func dpkgArch(goarch string) string {
	switch goarch {
	case "arm":
		return "armhf"
	case "386":
		return "i386"
	}
	return strings.ToLower(goarch)
}
