package artifacts

import (
	"fmt"
	"slices"
	"strings"
)

// Source is where a requirement is fetched from.
type Source struct {
	URL string // of a file; "" for an image
	// Member is the path within the archive at URL; "" if URL is the file itself.
	Member string
	// SumsURL names a file with the SHA-256 of what is at URL: alone, or in the
	// form of sha256sum.
	SumsURL string
	Image   string // the reference of an image; "" for a file
}

// String returns the URL or the reference.
func (s Source) String() string {
	if s.Image != "" {
		return s.Image
	}
	return s.URL
}

// Upstream returns where a requirement is fetched from: an https URL, the
// reference of an image, or "" if piimg does not fetch it.
func Upstream(r Requirement, binaries string) string {
	s, _ := SourceOf(r, binaries)
	return s.String()
}

const (
	kubernetesReleases = "https://dl.k8s.io"
	github             = "https://github.com"
)

// SourceOf returns where a requirement is fetched from; false if it is not
// fetched by piimg, as Debian's packages, which apt knows best how to find.
//
// Binaries, if not empty, is the https URL of a mirror in the place of both
// dl.k8s.io and github.com, with the paths that the two have:
// release/v1.34.1/bin/linux/arm64/kubeadm and OWNER/NAME/releases/download/….
func SourceOf(r Requirement, binaries string) (Source, bool) {
	if r.Kind == Image && r.Name != K3sImages {
		if r.From != "" {
			return Source{Image: r.From}, true
		}
		return Source{Image: r.Name}, true
	}
	if r.From != "" {
		return Source{URL: r.From, SumsURL: r.From + ".sha256"}, strings.HasPrefix(r.From, "https://")
	}
	s, ok := released(r)
	if ok && binaries != "" {
		s.URL, s.SumsURL = mirrored(s.URL, binaries), mirrored(s.SumsURL, binaries)
	}
	return s, ok
}

func mirrored(url, base string) string {
	for _, from := range []string{kubernetesReleases, github} {
		if rest, ok := strings.CutPrefix(url, from+"/"); ok {
			return strings.TrimSuffix(base, "/") + "/" + rest
		}
	}
	return url
}

// released returns where the publisher of a program has its releases.
func released(r Requirement) (Source, bool) {
	if r.Version == "" {
		return Source{}, false
	}
	v := r.Version
	arch, _ := GoArch(r.Arch)
	switch {
	case r.Kind == CNIPlugin:
		url := fmt.Sprintf("%s/containernetworking/plugins/releases/download/v%s/cni-plugins-linux-%s-v%s.tgz", github, v, arch, v)
		return Source{URL: url, Member: r.Name, SumsURL: url + ".sha256"}, true
	case r.Kind == Image: // K3sImages
		return k3sRelease(v, r.Arch, fmt.Sprintf("k3s-airgap-images-%s.tar.zst", arch)), true
	case r.Kind != Binary:
		return Source{}, false
	}
	switch {
	case r.Name == "k3s":
		return k3sRelease(v, r.Arch, map[string]string{"amd64": "k3s", "arm64": "k3s-arm64", "armhf": "k3s-armhf"}[r.Arch]), true
	case slices.Contains([]string{"kubeadm", "kubelet", "kubectl"}, r.Name):
		url := fmt.Sprintf("%s/release/v%s/bin/linux/%s/%s", kubernetesReleases, v, arch, r.Name)
		return Source{URL: url, SumsURL: url + ".sha256"}, true
	case r.Name == "crictl":
		url := fmt.Sprintf("%s/kubernetes-sigs/cri-tools/releases/download/v%s/crictl-v%s-linux-%s.tar.gz", github, v, v, arch)
		return Source{URL: url, Member: "crictl", SumsURL: url + ".sha256"}, true
	case r.Name == "runc":
		base := fmt.Sprintf("%s/opencontainers/runc/releases/download/v%s/", github, v)
		return Source{URL: base + "runc." + r.Arch, SumsURL: base + "runc.sha256sum"}, true
	case slices.Contains([]string{"containerd", "containerd-shim-runc-v2", "ctr"}, r.Name) && r.Arch != "armhf": // for which only Debian has them
		// Static, so that the C library of the base image does not matter.
		url := fmt.Sprintf("%s/containerd/containerd/releases/download/v%s/containerd-static-%s-linux-%s.tar.gz", github, v, v, arch)
		return Source{URL: url, Member: "bin/" + r.Name, SumsURL: url + ".sha256sum"}, true
	}
	return Source{}, false
}

// k3sRelease is a file of a release of k3s, whose version has a plus in the tag.
func k3sRelease(version, dpkg, file string) Source {
	arch, _ := GoArch(dpkg)
	base := fmt.Sprintf("%s/k3s-io/k3s/releases/download/v%s/", github, strings.ReplaceAll(version, "+", "%2B"))
	return Source{URL: base + file, SumsURL: base + "sha256sum-" + arch + ".txt"}
}
