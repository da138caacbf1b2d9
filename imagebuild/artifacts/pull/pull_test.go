package pull

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/artifacts/artifactstest"
)

// internet stands in for dl.k8s.io, GitHub and a registry: one server over TLS.
type internet struct {
	*testing.T
	server *httptest.Server
	host   string

	mu       sync.Mutex
	files    map[string][]byte
	handlers map[string]http.HandlerFunc
	requests []string
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	n := &internet{T: t, files: map[string][]byte{}, handlers: map[string]http.HandlerFunc{}}
	reg := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	n.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		n.requests = append(n.requests, r.Method+" "+r.URL.Path)
		content, found := n.files[r.URL.Path]
		handler := n.handlers[r.URL.Path]
		n.mu.Unlock()
		switch {
		case handler != nil:
			handler(w, r)
		case strings.HasPrefix(r.URL.Path, "/v2/"):
			reg.ServeHTTP(w, r)
		case found:
			_, _ = w.Write(content)
		default:
			http.NotFound(w, r)
		}
	}))
	n.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(n.server.Close)
	n.host = strings.TrimPrefix(n.server.URL, "https://")
	return n
}

// serve has a file, and its SHA-256 beside it.
func (n *internet) serve(path string, content []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.files[path] = content
	n.files[path+".sha256"] = fmt.Appendf(nil, "%x\n", sha256.Sum256(content))
}

func (n *internet) handle(path string, h http.HandlerFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handlers[path] = h
}

// asked returns the requests since the last call.
func (n *internet) asked() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.requests
	n.requests = nil
	return r
}

// push puts an image for several architectures into the registry.
func (n *internet) push(ref, content string, arches ...string) {
	n.Helper()
	index := v1.ImageIndex(empty.Index)
	for _, arch := range arches {
		img, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte(content+arch), types.DockerUncompressedLayer))
		if err != nil {
			n.Fatal(err)
		}
		c, err := img.ConfigFile()
		if err != nil {
			n.Fatal(err)
		}
		c = c.DeepCopy()
		c.Architecture, c.OS = arch, "linux"
		if img, err = mutate.ConfigFile(img, c); err != nil {
			n.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: arch},
		}})
	}
	r, err := name.ParseReference(n.host + "/" + ref)
	if err != nil {
		n.Fatal(err)
	}
	if err := remote.WriteIndex(r, index, remote.WithTransport(n.server.Client().Transport)); err != nil {
		n.Fatal(err)
	}
}

// options are those of a pull from this internet.
func (n *internet) options(needs ...artifacts.Requirement) Options {
	return Options{
		Dir: filepath.Join(n.TempDir(), "artifacts"), Requirements: needs, Binaries: n.server.URL,
		CacheDir: n.TempDir(), Client: n.server.Client(),
	}
}

func (n *internet) pull(o Options) *Result {
	n.Helper()
	r, err := Run(n.Context(), o)
	if err != nil {
		n.Fatal(err)
	}
	return r
}

func (n *internet) refused(o Options, wanted ...string) {
	n.Helper()
	_, err := Run(n.Context(), o)
	if err == nil {
		n.Fatal("nothing was refused")
	}
	for _, w := range wanted {
		if !strings.Contains(err.Error(), w) {
			n.Errorf("the error does not say %q:\n%v", w, err)
		}
	}
}

// tree returns the content of all files of a folder, but for those that begin
// with a dot and are no unfinished ones.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() || d.Name() == lockFileName {
			return err
		}
		content, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(rel)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

const arch = "arm64"

func kubelet(version string) artifacts.Requirement {
	return artifacts.Requirement{Kind: artifacts.Binary, Name: "kubelet", Version: version, Arch: arch}
}

func kubeletPath(version string) string { return "/release/v" + version + "/bin/linux/arm64/kubelet" }

func elfOf(m elf.Machine, text string) []byte { return append(artifactstest.Program(m), text...) }

// pause is an image that is needed by its upstream name, and comes from the test's registry.
func (n *internet) pause() artifacts.Requirement {
	return artifacts.Requirement{Kind: artifacts.Image, Name: "registry.k8s.io/pause:3.10.1", Arch: arch, From: n.host + "/pause:3.10.1"}
}

// everything is a server with one of each, and the requirements that ask for it.
func everything(t *testing.T) (*internet, []artifacts.Requirement) {
	n := newInternet(t)
	n.serve(kubeletPath("1.34.1"), elfOf(elf.EM_AARCH64, "v1.34.1"))
	plugins := artifactstest.Gzip(artifactstest.Tar(
		artifactstest.Entry{Name: "./LICENSE", Content: "free"},
		artifactstest.Entry{Name: "./bridge", Content: string(artifactstest.Program(elf.EM_AARCH64))},
		artifactstest.Entry{Name: "./host-local", Content: string(elfOf(elf.EM_AARCH64, "host-local"))},
	))
	n.serve("/containernetworking/plugins/releases/download/v1.7.1/cni-plugins-linux-arm64-v1.7.1.tgz", plugins)
	const runc = "/opencontainers/runc/releases/download/v1.3.0/"
	n.serve(runc+"runc.arm64", elfOf(elf.EM_AARCH64, "runc"))
	n.files[runc+"runc.sha256sum"] = fmt.Appendf(nil, "%064d  runc.amd64\n%x *runc.arm64\n", 0, sha256.Sum256(n.files[runc+"runc.arm64"]))
	const containerd = "/containerd/containerd/releases/download/v2.1.4/containerd-static-2.1.4-linux-arm64.tar.gz"
	n.serve(containerd, artifactstest.Gzip(artifactstest.Tar(
		artifactstest.Entry{Name: "bin/containerd", Content: string(elfOf(elf.EM_AARCH64, "containerd"))},
		artifactstest.Entry{Name: "bin/ctr", Content: string(elfOf(elf.EM_AARCH64, "ctr"))},
	)))
	n.files[containerd+".sha256sum"] = fmt.Appendf(nil, "%x  containerd-static-2.1.4-linux-arm64.tar.gz\n", sha256.Sum256(n.files[containerd]))
	const k3s = "/k3s-io/k3s/releases/download/v1.34.1+k3s1/"
	n.serve(k3s+"k3s-arm64", elfOf(elf.EM_AARCH64, "v1.34.1+k3s1"))
	n.serve(k3s+"k3s-airgap-images-arm64.tar.zst", artifactstest.Zstd(artifactstest.DockerArchive(arch, "docker.io/rancher/mirrored-pause:3.6", "docker.io/rancher/klipper-lb:v0.4")))
	n.files[k3s+"sha256sum-arm64.txt"] = fmt.Appendf(nil, "%x  k3s-airgap-images-arm64.tar.zst\n%x  k3s-arm64\n",
		sha256.Sum256(n.files[k3s+"k3s-airgap-images-arm64.tar.zst"]), sha256.Sum256(n.files[k3s+"k3s-arm64"]))
	n.push("pause:3.10.1", "pause", "amd64", "arm64", "arm")
	n.push("flannel:v1", "flannel", "arm64")
	return n, []artifacts.Requirement{
		kubelet("1.34.1"),
		{Kind: artifacts.Binary, Name: "containerd", Version: "2.1.4", AtLeast: "1.7.28", Arch: arch},
		{Kind: artifacts.Binary, Name: "ctr", Version: "2.1.4", AtLeast: "1.7.28", Arch: arch},
		{Kind: artifacts.Binary, Name: "runc", Version: "1.3.0", Arch: arch},
		{Kind: artifacts.CNIPlugin, Name: "bridge", Version: "1.7.1", Arch: arch},
		{Kind: artifacts.CNIPlugin, Name: "host-local", Version: "1.7.1", Arch: arch},
		{Kind: artifacts.Binary, Name: "k3s", Version: "1.34.1+k3s1", Arch: arch},
		{Kind: artifacts.Image, Name: artifacts.K3sImages, Version: "1.34.1+k3s1", Arch: arch},
		n.pause(),
		{Kind: artifacts.Image, Name: "flannel/flannel:v1", Arch: arch, From: n.host + "/flannel:v1"},
	}
}

// A pull fetches everything once, what it leaves is what Open and sha256sum want,
// and it is the same in every folder.
func TestPull(t *testing.T) {
	n, needs := everything(t)
	conntrack := artifacts.Requirement{Kind: artifacts.Deb, Name: "conntrack", Arch: arch}
	o := n.options(append(slices.Concat(needs, needs), conntrack)...) // of two nodes
	r := n.pull(o)
	if len(r.Fetched) != len(needs) || r.Kept != 0 || len(r.Missing) != 1 || r.Missing[0].Name != "conntrack" {
		t.Errorf("fetched %d, kept %d, missing %v", len(r.Fetched), r.Kept, r.Missing)
	}
	set, err := artifacts.Open(t.Context(), o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Check(needs); err != nil {
		t.Error(err)
	}
	want := []string{
		"bin/containerd", "bin/ctr", "bin/k3s", "bin/kubelet", "bin/runc", "cni/bridge", "cni/host-local",
		"images/flannel_flannel_v1_arm64.tar", "images/k3s-airgap-images-arm64.tar.zst", "images/registry.k8s.io_pause_3.10.1_arm64.tar",
	}
	var got []string
	for _, it := range set.Items {
		got = append(got, it.Rel)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if v := set.Items[4].Version; v != "1.3.0" {
		t.Errorf("the lock gives runc the version %q", v)
	}
	if _, err := exec.LookPath("sha256sum"); err == nil {
		c := exec.Command("sha256sum", "--strict", "-c", artifacts.SumsName)
		c.Dir = o.Dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}

	// The second time there is nothing to do, and nobody is asked.
	n.asked()
	before := tree(t, o.Dir)
	if r := n.pull(o); len(r.Fetched) != 0 || r.Kept != len(needs) {
		t.Errorf("fetched %v again", r.Fetched)
	}
	if a := n.asked(); len(a) != 0 {
		t.Errorf("asked for %q", a)
	}
	// One file that is gone is fetched alone.
	if err := os.Remove(filepath.Join(o.Dir, "images/registry.k8s.io_pause_3.10.1_arm64.tar")); err != nil {
		t.Fatal(err)
	}
	if r := n.pull(o); len(r.Fetched) != 1 {
		t.Errorf("fetched %v", r.Fetched)
	}
	if !maps.Equal(tree(t, o.Dir), before) {
		t.Error("what was fetched again is something else")
	}
	// Another folder gets the same bytes; in another order, and from the lock alone.
	other := n.options(needs...)
	slices.Reverse(other.Requirements)
	if err := os.MkdirAll(other.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other.Dir, artifacts.LockName), []byte(before[artifacts.LockName]), 0o644); err != nil {
		t.Fatal(err)
	}
	n.asked()
	n.pull(other)
	if !maps.Equal(tree(t, other.Dir), before) {
		t.Error("another folder gets something else")
	}
	for _, a := range n.asked() {
		if strings.HasSuffix(a, ".sha256") || strings.Contains(a, "sha256sum") || strings.HasSuffix(a, "manifests/3.10.1") {
			t.Errorf("asked for %s although the digest is locked", a)
		}
	}
}

// A new version in nodes.yaml replaces what piimg fetched, and nothing else.
func TestReplace(t *testing.T) {
	n := newInternet(t)
	n.serve(kubeletPath("1.34.1"), elfOf(elf.EM_AARCH64, "v1.34.1"))
	n.serve(kubeletPath("1.34.2"), elfOf(elf.EM_AARCH64, "v1.34.2"))
	o := n.options(kubelet("1.34.1"))
	n.pull(o)
	o.Requirements = []artifacts.Requirement{kubelet("1.34.2")}
	n.pull(o)
	set, err := artifacts.Open(t.Context(), o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Check(o.Requirements); err != nil {
		t.Error(err)
	}
	for _, name := range []string{artifacts.LockName, artifacts.SumsName} {
		if err := os.Remove(filepath.Join(o.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	o.Requirements = []artifacts.Requirement{kubelet("1.34.1")}
	n.refused(o, "bin/kubelet", "was not fetched by piimg", "remove it")
}

// What a server sends is not believed.
func TestRefused(t *testing.T) {
	n := newInternet(t)
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	n.serve(kubeletPath("1.34.1"), elfOf(elf.EM_X86_64, "v1.34.1"))
	n.serve(kubeletPath("1.34.2"), elfOf(elf.EM_AARCH64, "v1.34.1"))
	n.serve(kubeletPath("1.34.3"), []byte("<html>not found</html>"))
	n.serve(kubeletPath("1.34.4"), elfOf(elf.EM_AARCH64, "v1.34.4"))
	n.handle(kubeletPath("1.34.4")+".sha256", text(strings.Repeat("0", 64)))
	n.serve(kubeletPath("1.34.5"), elfOf(elf.EM_AARCH64, "v1.34.5"))
	n.handle(kubeletPath("1.34.5")+".sha256", text("<html>no digest</html>"))
	insecure := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked without TLS") }))
	t.Cleanup(insecure.Close)
	away := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, insecure.URL+r.URL.Path, http.StatusFound)
	}
	n.serve(kubeletPath("1.34.6"), elfOf(elf.EM_AARCH64, "v1.34.6"))
	n.handle(kubeletPath("1.34.6"), away)
	n.serve(kubeletPath("1.34.7"), elfOf(elf.EM_AARCH64, "v1.34.7"))
	n.handle(kubeletPath("1.34.7")+".sha256", away)
	n.push("pause:3.10.1", "pause", "amd64")
	n.handle("/v2/away/manifests/1", away)
	image := func(from string) artifacts.Requirement {
		return artifacts.Requirement{Kind: artifacts.Image, Name: "registry.k8s.io/a:1", Arch: arch, From: from}
	}
	plain := image(strings.TrimPrefix(insecure.URL, "http://") + "/a:1")

	for _, c := range []struct {
		what string
		need artifacts.Requirement
		want []string
	}{
		{"another architecture", kubelet("1.34.1"), []string{"bin/kubelet is refused: it is for amd64, but the base image is for arm64"}},
		{"another version", kubelet("1.34.2"), []string{"bin/kubelet is refused", "not version 1.34.2"}},
		{"an error page", kubelet("1.34.3"), []string{"bin/kubelet is refused", "neither a Debian package"}},
		{"another file than stated", kubelet("1.34.4"), []string{"it has the sha256", ".sha256 says 0000"}},
		{"no digest stated", kubelet("1.34.5"), []string{"kubelet.sha256 has no sha256 of kubelet"}},
		{"a redirect to http", kubelet("1.34.6"), []string{"redirects to http://", "only https is accepted"}},
		{"a redirect of the digest", kubelet("1.34.7"), []string{"is not https"}},
		{"a version that there is not", kubelet("1.34.8"), []string{"404"}},
		{"a missing architecture", n.pause(), []string{"arm64"}},
		{"an image that there is not", image(n.host + "/none:1"), []string{"none:1", "NAME_UNKNOWN"}},
		{"a redirect of a registry", image(n.host + "/away:1"), []string{"is not https"}},
		{"a registry without TLS", plain, []string{"failed to fetch"}},
		{"an image without a tag", artifacts.Requirement{Kind: artifacts.Image, Name: "a@sha256:" + strings.Repeat("0", 64), Arch: arch}, []string{"by a tag"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			o := n.options(c.need)
			n.refused(o, c.want...)
			if left := tree(t, o.Dir); len(left) != 0 {
				t.Errorf("left behind: %q", slices.Sorted(maps.Keys(left)))
			}
		})
	}
	// One that cannot be had keeps none of the others away.
	o := n.options(kubelet("1.34.8"), artifacts.Requirement{Kind: artifacts.CNIPlugin, Name: "x", Version: "1", Arch: arch})
	n.serve("/containernetworking/plugins/releases/download/v1/cni-plugins-linux-arm64-v1.tgz",
		artifactstest.Gzip(artifactstest.Tar(artifactstest.Entry{Name: "x", Content: string(artifactstest.Program(elf.EM_AARCH64))})))
	n.refused(o, "kubelet")
	if got := tree(t, o.Dir)["cni/x"]; got == "" {
		t.Error("cni/x was not fetched")
	}
	// Nor is what nodes can do without worth more than a word.
	o.Requirements[0].Optional = true
	var notices []string
	o.Notice = func(text string) { notices = append(notices, text) }
	n.pull(o)
	if len(notices) != 1 || !strings.Contains(notices[0], "the nodes can do without it") {
		t.Errorf("%q", notices)
	}
}

// What is locked must stay the same, until it is locked anew.
func TestLock(t *testing.T) {
	n := newInternet(t)
	first := elfOf(elf.EM_AARCH64, "v1.34.1 first")
	n.serve(kubeletPath("1.34.1"), first)
	n.push("pause:3.10.1", "first", "arm64")
	o := n.options(kubelet("1.34.1"), n.pause())
	n.pull(o)
	before := tree(t, o.Dir)

	n.serve(kubeletPath("1.34.1"), elfOf(elf.EM_AARCH64, "v1.34.1 second"))
	n.push("pause:3.10.1", "second", "arm64")
	again := n.options(o.Requirements...) // another machine, with the lock alone
	relock := func() {
		if err := os.MkdirAll(again.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(again.Dir, artifacts.LockName), []byte(before[artifacts.LockName]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	relock()
	n.refused(again, "kubelet", "artifacts.lock names", "--update")
	// The image is fetched by its digest, whatever its name says by now.
	const image = "images/registry.k8s.io_pause_3.10.1_arm64.tar"
	if tree(t, again.Dir)[image] != before[image] {
		t.Error("the image is not the one that is locked")
	}
	again.Update = true
	if r := n.pull(again); len(r.Fetched) != 2 {
		t.Errorf("fetched %v", r.Fetched)
	}
	after := tree(t, again.Dir)
	if after["bin/kubelet"] == before["bin/kubelet"] || after[image] == before[image] || after[artifacts.LockName] == before[artifacts.LockName] {
		t.Error("--update did not take the new files")
	}
	if _, err := artifacts.Open(t.Context(), again.Dir); err != nil {
		t.Error(err)
	}
	// A file that was changed on the disk is fetched again.
	if err := os.WriteFile(filepath.Join(again.Dir, "bin/kubelet"), []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	again.Update = false
	n.pull(again)
	if !maps.Equal(tree(t, again.Dir), after) {
		t.Error("the damaged file was not replaced")
	}
	// A lock that cannot be read is not passed over.
	if err := os.WriteFile(filepath.Join(again.Dir, artifacts.LockName), []byte("version: 2\nfiles: []\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	n.refused(again, "version 2 is not known")
}

// A pull that is ended, and one that was cut off between any two steps, goes on.
func TestInterrupted(t *testing.T) {
	n := newInternet(t)
	content := append(elfOf(elf.EM_AARCH64, "v1.34.1"), bytes.Repeat([]byte{1}, 1<<20)...)
	n.serve(kubeletPath("1.34.1"), content)
	n.push("pause:3.10.1", strings.Repeat("pause", 1<<16), "arm64")
	o := n.options(kubelet("1.34.1"), n.pause())
	whole := n.options(o.Requirements...)
	n.pull(whole)
	want := tree(t, whole.Dir)

	for _, step := range []string{"fetch kubelet", "fetch " + n.pause().From} {
		ctx, cancel := context.WithCancel(t.Context())
		o.Progress = func(s string, _, _ int64) {
			if s == step {
				cancel()
			}
		}
		if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", step, err)
		}
		cancel()
		for name := range tree(t, o.Dir) {
			if strings.Contains(name, ".part") {
				t.Errorf("%s is left", name)
			}
		}
	}
	// The program has come by then; it is locked, and gets its line.
	if err := os.Remove(filepath.Join(o.Dir, artifacts.SumsName)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "bin", ".piimg-1.part"), []byte("of a pull that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Progress = nil
	r := n.pull(o)
	if len(r.Fetched) != 1 || r.Kept != 1 {
		t.Errorf("fetched %v", r.Fetched)
	}
	if !maps.Equal(tree(t, o.Dir), want) {
		t.Error("the outcome is another than without an interruption")
	}
}

// Two pulls do not work in one folder at once.
func TestAtOnce(t *testing.T) {
	n := newInternet(t)
	n.serve(kubeletPath("1.34.1"), elfOf(elf.EM_AARCH64, "v1.34.1"))
	o := n.options(kubelet("1.34.1"))
	var second error
	o.Progress = func(string, int64, int64) {
		inner := o
		inner.Progress = nil
		_, second = Run(t.Context(), inner)
	}
	n.pull(o)
	if second == nil || !strings.Contains(second.Error(), "another piimg artifacts pull is at work") {
		t.Error(second)
	}
}

func TestFindSum(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for text, want := range map[string]string{
		sum:                         sum,
		strings.ToUpper(sum) + "\n": sum,
		sum + "  runc.arm64\n":      sum,
		sum + " *dist/runc.arm64\n": sum,
		sum + "  runc.amd64\n":      "",
		sum + "\n" + sum + "\n":     "",
		sum[1:] + "  runc.arm64\n":  "",
		"":                          "",
	} {
		if got := findSum(text, "runc.arm64"); got != want {
			t.Errorf("%q gives %q", text, got)
		}
	}
}
