package artifactstest

import (
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
)

// Internet answers, over TLS, for the publishers of everything that nodes need:
// programs, CNI plugins, k3s and images of any version, for amd64, arm64 and arm.
// The same path always gives the same bytes.
func Internet() http.Handler { return &internet{blobs: map[string][]byte{}} }

type internet struct {
	mu    sync.Mutex
	blobs map[string][]byte // of images, by digest
}

func (n *internet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, kind := n.get(r.URL.Path)
	if content == nil {
		http.NotFound(w, r)
		return
	}
	if kind != "" {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Docker-Content-Digest", digest(content))
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(content)
	}
}

func (n *internet) get(p string) (content []byte, kind string) {
	if rest, ok := strings.CutPrefix(p, "/v2/"); ok {
		return n.registry(rest)
	}
	dir, base := path.Split(p)
	for _, ending := range []string{".sha256", ".sha256sum"} {
		if of, ok := strings.CutSuffix(p, ending); ok && !strings.HasSuffix(of, "/runc") {
			return fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(release(of)), path.Base(of)), ""
		}
	}
	switch {
	case base == "runc.sha256sum":
		return sumsOf(dir, "runc.amd64", "runc.arm64", "runc.armhf"), ""
	case strings.HasPrefix(base, "sha256sum-") && strings.HasSuffix(base, ".txt"):
		arch := strings.TrimSuffix(strings.TrimPrefix(base, "sha256sum-"), ".txt")
		return sumsOf(dir, "k3s", "k3s-arm64", "k3s-armhf", "k3s-airgap-images-"+arch+".tar.zst"), ""
	}
	return release(p), ""
}

func sumsOf(dir string, names ...string) (b []byte) {
	for _, name := range names {
		b = fmt.Appendf(b, "%x  %s\n", sha256.Sum256(release(dir+name)), name)
	}
	return b
}

// release returns the file of a release at a path; nil if there is none.
func release(p string) []byte {
	base := path.Base(p)
	arch, machine := "arm64", elf.EM_AARCH64
	if strings.Contains(p, "amd64") || base == "k3s" {
		arch, machine = "amd64", elf.EM_X86_64
	}
	// The version, as programs of Kubernetes have it among their strings.
	program := func(name string) []byte { return append(Program(machine), name+" "+p...) }
	archive := func(names ...string) []byte {
		var entries []Entry
		for _, name := range names {
			entries = append(entries, Entry{name, string(program(name))})
		}
		return Gzip(Tar(entries...))
	}
	switch {
	case strings.HasPrefix(p, "/release/v"), strings.HasPrefix(base, "runc."), base == "k3s", strings.HasPrefix(base, "k3s-arm"):
		return program(base)
	case strings.HasPrefix(base, "cni-plugins-"):
		return archive("./LICENSE", "./bridge", "./host-local", "./loopback", "./portmap")
	case strings.HasPrefix(base, "containerd-static-"):
		return archive("bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr")
	case strings.HasPrefix(base, "crictl-"):
		return archive("crictl")
	case strings.HasPrefix(base, "k3s-airgap-images-"):
		return Zstd(DockerArchive(arch, "docker.io/rancher/mirrored-pause:3.6", "docker.io/rancher/mirrored-coredns-coredns:1.12.3"))
	}
	return nil
}

// Media types of images.
const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// registry answers for an image of any name: an index of three architectures.
func (n *internet) registry(p string) (content []byte, kind string) {
	if p == "" {
		return []byte("{}"), "application/json"
	}
	dir, ref := path.Split(p)
	repository, what := path.Split(strings.TrimSuffix(dir, "/"))
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case what == "blobs":
		return n.blobs[ref], "application/octet-stream"
	case what != "manifests":
		return nil, ""
	case strings.HasPrefix(ref, "sha256:"):
		return n.blobs[ref], manifestType
	}
	var manifests []string
	for _, arch := range []string{"amd64", "arm64", "arm"} {
		layer := Gzip(Tar(Entry{"about", repository + ref + " for " + arch}))
		manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, manifestType,
			n.blob(configType, []byte(Config(arch)), ""), n.blob(layerType, layer, ""))
		platform := fmt.Sprintf(`,"platform":{"architecture":%q,"os":"linux"}`, arch)
		manifests = append(manifests, n.blob(manifestType, []byte(manifest), platform))
	}
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, indexType, strings.Join(manifests, ",")), indexType
}

// blob keeps a blob and returns its descriptor.
func (n *internet) blob(kind string, content []byte, more string) string {
	n.blobs[digest(content)] = content
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, kind, digest(content), len(content), more)
}

func digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
