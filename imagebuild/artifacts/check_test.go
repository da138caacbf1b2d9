package artifacts

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/artifacts/artifactstest"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

const arch = "arm64"

func workerNeeds() []Requirement {
	return []Requirement{
		{Kind: Binary, Name: "kubelet", Version: "1.34.1", Arch: arch},
		{Kind: Binary, Name: "containerd", Version: "2.1.4", AtLeast: "1.7.28", Arch: arch, Debs: []string{"containerd.io"}},
		{Kind: CNIPlugin, Name: "bridge", Version: "1.7.1", Arch: arch, Debs: []string{"kubernetes-cni"}},
		{Kind: Image, Name: "registry.k8s.io/pause:3.10.1", Arch: arch},
	}
}

// A worker gets what it needs, with what its packages depend on, and no more.
func TestForAndEdits(t *testing.T) {
	f := newFolder(t)
	f.write("kubelet.deb", deb(t, "xz", "Package: kubelet\nVersion: 1.34.1-1.1\nArchitecture: arm64\nDepends: iptables | nftables, libc6\n"))
	f.write("iptables", deb(t, "xz", "Package: iptables\nVersion: 1.8.9-2\nArchitecture: arm64\nDepends: libnftnl11\n"))
	f.write("libnftnl11.deb", deb(t, "xz", "Package: libnftnl11\nVersion: 1.2.4-2\nArchitecture: arm64\nDepends: iptables\n"))
	f.write("other.deb", deb(t, "xz", "Package: other\nVersion: 1\nArchitecture: arm64\n"))
	f.write("debs/containerd.io.deb", deb(t, "xz", "Package: containerd.io\nVersion: 1.7.28-1~debian.12\nArchitecture: arm64\n"))
	f.write("cni/bridge", artifactstest.Program(elf.EM_AARCH64))
	f.write("bin/etcdctl", artifactstest.Program(elf.EM_AARCH64))
	f.write("images/pause.tar", artifactstest.DockerArchive(arch, "registry.k8s.io/pause:3.10.1"))
	f.write("images/api.tar", artifactstest.DockerArchive(arch, "registry.k8s.io/kube-apiserver:v1.34.1"))
	f.sum()
	s := f.open()
	needs := workerNeeds()
	if err := s.Check(needs); err != nil {
		t.Fatal(err)
	}
	var rels []string
	for _, it := range s.For(needs) {
		rels = append(rels, it.Rel)
	}
	want := []string{"cni/bridge", "debs/containerd.io.deb", "images/pause.tar", "iptables", "kubelet.deb", "libnftnl11.deb"}
	if !slices.Equal(rels, want) {
		t.Errorf("got %q, want %q", rels, want)
	}

	edits := s.Edits(needs)
	if err := plan.Validate(edits); err != nil {
		t.Fatal(err)
	}
	// sha256sum finds on the card what SHA256SUMS says.
	tooltest.Need(t, "sha256sum")
	card := t.TempDir()
	for _, e := range edits {
		content := e.Content
		if e.Source != nil {
			var err error
			if content, err = os.ReadFile(e.Source.Path); err != nil {
				t.Fatal(err)
			}
		}
		name := filepath.Join(card, e.Path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, e.Mode); err != nil {
			t.Fatal(err)
		}
		if program := strings.Contains(e.Path, "/cni/") || strings.Contains(e.Path, "/bin/"); program != (e.Mode == 0o755) {
			t.Errorf("%s has mode %v", e.Path, e.Mode)
		}
	}
	c := exec.Command("sha256sum", "--strict", "-c", SumsName)
	c.Dir = filepath.Join(card, OnCard)
	if out, err := c.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != len(want) {
		t.Errorf("%v\n%s", err, out)
	}
	for _, p := range []string{"debs/iptables.deb", "cni/bridge", "images/pause.tar"} {
		if _, err := os.Stat(filepath.Join(card, OnCard, p)); err != nil {
			t.Error(err)
		}
	}
	if s.Edits(nil) != nil {
		t.Error("a node without requirements gets edits")
	}
}

// All that does not fit is named, with what to do about it.
func TestCheckProblems(t *testing.T) {
	f := newFolder(t)
	f.write("bin/kubelet", artifactstest.Program(elf.EM_X86_64))
	f.write("kubeadm.deb", deb(t, "xz", "Package: kubeadm\nVersion: 1.33.5-1.1\nArchitecture: arm64\n"))
	f.write("containerd.deb", deb(t, "xz", "Package: containerd\nVersion: 1.6.20~ds1-1+deb12u1\nArchitecture: arm64\n"))
	f.write("bin/kubectl", append(artifactstest.Program(elf.EM_AARCH64), "v1.33.9"...))
	f.write("cni/bridge", artifactstest.Program(elf.EM_AARCH64))
	f.write("cni.deb", deb(t, "xz", "Package: kubernetes-cni\nVersion: 1.7.1-1.1\nArchitecture: arm64\n"))
	f.write("images/pause.tar", artifactstest.DockerArchive("arm", "registry.k8s.io/pause:3.10.1"))
	f.write("images/a/same.tar", artifactstest.DockerArchive(arch, "docker.io/library/a:1"))
	f.write("images/b/same.tar", artifactstest.DockerArchive(arch, "b:1"))
	f.sum()
	needs := append(workerNeeds(),
		Requirement{Kind: Binary, Name: "kubeadm", Version: "1.34.1", Arch: arch},
		Requirement{Kind: Binary, Name: "kubectl", Version: "1.34.1", Arch: arch},
		Requirement{Kind: Binary, Name: "runc", Version: "1.3.0", Arch: arch},
		Requirement{Kind: Deb, Name: "conntrack", Arch: arch},
		Requirement{Kind: Deb, Name: "ethtool", Arch: arch, Optional: true},
		Requirement{Kind: Image, Name: "registry.k8s.io/coredns/coredns:v1.12.1", Arch: arch},
		Requirement{Kind: Image, Name: "a:1", Arch: arch},
		Requirement{Kind: Image, Name: "docker.io/library/b:1", Arch: arch},
	)
	err := f.open().Check(append(needs, needs...)) // of two nodes
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	f.says(err.Error(),
		"bin/kubelet: it is for amd64, but the base image is for arm64: replace it: run piimg artifacts pull",
		"kubeadm.deb: kubeadm is version 1.33.5, but 1.34.1 is needed",
		"containerd.deb: containerd is version 1.6.20, but 1.7.28 or later is needed",
		"bin/kubectl: it is not version 1.34.1, which is needed",
		"cni.deb and "+filepath.Join(f.dir, "cni/bridge")+" both give CNI plugin bridge",
		"images/pause.tar: it is for armhf, but",
		"runc 1.3.0 for arm64 is missing: run piimg artifacts pull",
		"package conntrack for arm64 is missing: on a system of the base image's release, run apt-get download conntrack:arm64",
		"image registry.k8s.io/coredns/coredns:v1.12.1 for arm64 is missing: run piimg artifacts pull",
		"have the same name, and a node needs both",
	)
	if n := strings.Count(err.Error(), "\n") + 1; n != 10 {
		t.Errorf("%d problems, want 10:\n%v", n, err)
	}
}

// The same image in two archives is one provider, another image of that name is two.
func TestSameImageTwice(t *testing.T) {
	needs := []Requirement{{Kind: Image, Name: "registry.k8s.io/pause:3.10.1", Arch: arch}}
	f := newFolder(t)
	f.write("a.tar", artifactstest.DockerArchive(arch, "registry.k8s.io/pause:3.10.1", "b:1"))
	f.write("b.tar", artifactstest.Gzip(artifactstest.DockerArchive(arch, "registry.k8s.io/pause:3.10.1")))
	f.sum()
	s := f.open()
	if err := s.Check(needs); err != nil || len(s.For(needs)) != 1 || s.For(needs)[0].Rel != "a.tar" {
		t.Errorf("%v, %v", err, s.For(needs))
	}
	f.write("c.tar", artifactstest.OCIArchive(arch, "registry.k8s.io/pause:3.10.1"))
	f.write("c.tar", artifactstest.Tar(
		artifactstest.Entry{Name: "config.json", Content: artifactstest.Config(arch) + "\n"},
		artifactstest.Entry{Name: "manifest.json", Content: `[{"Config":"config.json","RepoTags":["registry.k8s.io/pause:3.10.1"],"Layers":null}]`},
	))
	f.sum()
	if err := f.open().Check(needs); err == nil || !strings.Contains(err.Error(), "both give image registry.k8s.io/pause:3.10.1") {
		t.Error(err)
	}
}

func TestK3sImages(t *testing.T) {
	needs := []Requirement{{Kind: Image, Name: K3sImages, Version: "1.34.1+k3s1", Arch: arch}}
	f := newFolder(t)
	f.write("images/pause.tar", artifactstest.DockerArchive(arch, "registry.k8s.io/pause:3.10.1"))
	f.sum()
	if err := f.open().Check(needs); err == nil || !strings.Contains(err.Error(), "k3s-airgap-images 1.34.1+k3s1 for arm64 is missing") {
		t.Error(err)
	}
	f.write("images/k3s.tar.zst", artifactstest.Zstd(artifactstest.DockerArchive(arch, "docker.io/rancher/mirrored-pause:3.6", "docker.io/rancher/mirrored-coredns-coredns:1.12.3")))
	f.sum()
	if err := f.open().Check(needs); err != nil {
		t.Error(err)
	}
}

// A node goes by the ending of an archive's name, and unpacks what it has the
// programs for.
func TestPacking(t *testing.T) {
	f := newFolder(t)
	image := func(name string) []byte { return artifactstest.DockerArchive(arch, name) }
	f.write("images/a", artifactstest.Gzip(image("a")))
	f.write("images/b.tar.zst", image("b"))
	f.write("images/c.tar", artifactstest.Zstd(image("c")))
	f.write("images/d.tgz", artifactstest.Gzip(image("d")))
	f.sum()
	var needs []Requirement
	for _, name := range []string{"a", "b", "c", "d"} {
		needs = append(needs, Requirement{Kind: Image, Name: name, Arch: arch})
	}
	set := f.open()
	var got []string
	for _, e := range set.Edits(needs) {
		got = append(got, strings.TrimPrefix(e.Path, OnCard+"/"))
	}
	if want := []string{"SHA256SUMS", "images/a.tar.gz", "images/b.tar", "images/c.tar.zst", "images/d.tar.gz"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := set.On(map[string]string{"zstd": "1.5"}).Check(needs); err != nil {
		t.Error(err)
	}
	if err := set.On(map[string]string{}).Check(needs); err == nil || !strings.Contains(err.Error(), "images/c.tar: it is packed by zstd, which the base image does not have") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	f.write("bin/k3s", artifactstest.Program(elf.EM_AARCH64))
	f.sum()
	if err := f.open().On(map[string]string{}).Check(append(needs, Requirement{Kind: Binary, Name: "k3s", Arch: arch})); err != nil {
		t.Error(err)
	}
}

func TestVersions(t *testing.T) {
	for deb, want := range map[string]string{
		"1:1.4.7-1+b2":           "1.4.7",
		"1.34.1-1.1":             "1.34.1",
		"1.7.24~ds1-6+b4":        "1.7.24",
		"1.6.20~ds1-1+deb12u3":   "1.6.20",
		"1.1.1+ds1-3+b5":         "1.1.1",
		"1.7.28-1~debian.12":     "1.7.28",
		"2.0.0~rc.1+dfsg-2":      "2.0.0~rc.1",
		"5.0":                    "5.0",
		"1.7.29-2~ubuntu.24.04~": "1.7.29",
	} {
		if got := upstreamVersion(deb); got != want {
			t.Errorf("%s is %s, want %s", deb, got, want)
		}
	}
	rising := []string{"0.9", "1.2", "1.2.3", "1.7.28-rc.1", "1.7.28", "1.7.28+k3s1", "1.7.28+k3s2", "1.10.0", "2.0.0~rc.1", "2.0.0", "10"}
	for i, a := range rising {
		for j, b := range rising {
			if got := compareVersions(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("compareVersions(%s, %s) = %d", a, b, got)
			}
		}
	}
}
