package artifacts

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/artifacts/artifactstest"
)

// A folder of everything is recognised, whatever the names of its files.
func TestOpen(t *testing.T) {
	f := newFolder(t)
	f.write("debs/a.deb", deb(t, "xz", "Package: kubelet\nVersion: 1.34.1-1.1\nArchitecture: arm64\nDepends: iptables (>= 1.4.21), conntrack | conntrack-x,\n libc6:any\n"))
	f.write("b.deb", deb(t, "gzip", "Package: containerd.io\nVersion: 1.7.28-1\nArchitecture: arm64\nPre-Depends: libc6\nProvides: containerd (= 1.7.28), runc\n"))
	f.write("debs/c", deb(t, "zstd", "Package: conntrack\nVersion: 1:1.4.7-1+b2\nArchitecture: arm64\n"))
	f.write("bin/kubeadm", artifactstest.Program(elf.EM_AARCH64))
	f.write("bin/setup.sh", []byte("#!/bin/sh\n"))
	f.write("cni/bridge", artifactstest.Program(elf.EM_X86_64))
	f.write("images/pause.tar", artifactstest.DockerArchive("arm64", "registry.k8s.io/pause:3.10.1"))
	f.write("images/two.tgz", artifactstest.Gzip(artifactstest.DockerArchive("arm", "busybox", "docker.io/rancher/mirrored-pause:3.6")))
	f.write("images/flannel", artifactstest.Zstd(artifactstest.OCIArchive("amd64", "flannel/flannel:v0.27.4")))
	f.write(".git/config", []byte("not looked at"))
	f.sum("--binary")
	s := f.open()

	var got []string
	for _, it := range s.Items {
		got = append(got, strings.Join([]string{it.Rel, string(it.Kind), it.Name, it.Version, it.Arch, strings.Join(it.Images, " ")}, ","))
	}
	want := []string{
		"b.deb,deb,containerd.io,1.7.28-1,arm64,",
		"bin/kubeadm,binary,kubeadm,,arm64,",
		"bin/setup.sh,binary,setup.sh,,all,",
		"cni/bridge,cni,bridge,,amd64,",
		"debs/a.deb,deb,kubelet,1.34.1-1.1,arm64,",
		"debs/c,deb,conntrack,1:1.4.7-1+b2,arm64,",
		"images/flannel,image,docker.io/flannel/flannel:v0.27.4,0.27.4,amd64,docker.io/flannel/flannel:v0.27.4",
		"images/pause.tar,image,registry.k8s.io/pause:3.10.1,3.10.1,arm64,registry.k8s.io/pause:3.10.1",
		"images/two.tgz,image,two.tgz,,armhf,docker.io/library/busybox:latest docker.io/rancher/mirrored-pause:3.6",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if p := s.Items[0].Provides; len(p) != 2 || p["containerd"] != "1.7.28" || !s.Items[0].provides("runc") {
		t.Errorf("provides %q", p)
	}
	groups := parseDepends(s.Items[4].Depends)
	if len(groups) != 3 || fmt.Sprint(groups) != "[[iptables (>= 1.4.21)] [conntrack conntrack-x] [libc6]]" {
		t.Errorf("depends on %q", groups)
	}
	if Size(s.Items) == 0 || s.Items[1].Size != 64 || s.Items[1].Path != filepath.Join(f.dir, "bin", "kubeadm") {
		t.Errorf("wrong sizes or paths: %+v", s.Items[1])
	}
}

// Everything that is wrong is told at once, each with the file and what to do.
func TestOpenProblems(t *testing.T) {
	f := newFolder(t)
	whole := artifactstest.DockerArchive("arm64", "registry.k8s.io/pause:3.10.1")
	f.write("bin/kubeadm", artifactstest.Program(elf.EM_AARCH64))
	f.write("bin/gone", artifactstest.Program(elf.EM_AARCH64))
	f.write("bin/changed", artifactstest.Program(elf.EM_AARCH64))
	f.write("bin/half", artifactstest.Program(elf.EM_AARCH64)[:40])
	f.write("bin/mips", artifactstest.Program(elf.EM_MIPS))
	f.write("README", []byte("hello"))
	f.write("empty", nil)
	f.write("images/cut.tar", whole[:len(whole)-4000])
	f.write("images/cut.tar.gz", artifactstest.Gzip(whole)[:200])
	f.write("images/plugins.tgz", artifactstest.Gzip(artifactstest.Tar(artifactstest.Entry{Name: "./bridge", Content: "x"})))
	f.write("images/windows.tar", []byte(strings.ReplaceAll(string(whole), `"linux"`, `"other"`)))
	f.write("images/nameless.tar", artifactstest.DockerArchive("arm64"))
	f.write("a.deb", deb(t, "xz", "Package: kubelet\nVersion: 1.34.1-1.1\nArchitecture: arm64\n")[:300])
	f.sum()
	f.write("unlisted", artifactstest.Program(elf.EM_AARCH64))
	f.write("bin/changed", artifactstest.Program(elf.EM_X86_64))
	if err := os.Remove(filepath.Join(f.dir, "bin/gone")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("kubeadm", filepath.Join(f.dir, "bin/link")); err != nil {
		t.Fatal(err)
	}
	text := f.problems()
	f.says(text,
		"bin/gone: is in SHA256SUMS, but not there: run piimg artifacts pull",
		"bin/changed: is not the file that SHA256SUMS names, but has the sha256",
		"bin/half: its end is missing",
		"bin/mips: a program for EM_MIPS",
		"bin/link: is a symbolic link",
		"README: neither a Debian package, nor a program, nor an archive",
		"empty: it is empty",
		"images/cut.tar: its end is missing",
		"images/cut.tar.gz: its end is missing",
		"images/plugins.tgz: no archive of container images",
		"images/windows.tar: no archive of container images for linux",
		"images/nameless.tar: its images have no names",
		"a.deb: its end is missing",
		"unlisted: is not in SHA256SUMS: if you trust the file",
	)
	if n := strings.Count(text, "\n") + 1; n != 14 {
		t.Errorf("%d problems, want 14:\n%s", n, text)
	}
	sorted := slices.IsSortedFunc(strings.Split(text, "\n"), func(a, b string) int {
		return strings.Compare(strings.Split(a, ": ")[0], strings.Split(b, ": ")[0])
	})
	if !sorted {
		t.Errorf("the problems are not sorted:\n%s", text)
	}
}

func TestOpenFolder(t *testing.T) {
	f := newFolder(t)
	f.says(f.problems(), "is empty: run piimg artifacts pull")
	f.write("bin/kubeadm", artifactstest.Program(elf.EM_AARCH64))
	f.says(f.problems(), "SHA256SUMS: is missing")
	if s, _, err := Survey(t.Context(), f.dir); err != nil || len(s.Items) != 0 {
		t.Errorf("files that nobody vouches for are taken: %v, %v", s, err)
	}
	f.write(SumsName, []byte("some words\n"+strings.Repeat("0", 64)+"  ../outside\n"))
	f.says(f.problems(), "line 1", "line 2", "outside of the folder")

	_, err := Open(t.Context(), filepath.Join(f.dir, "missing"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "piimg artifacts pull") {
		t.Error(err)
	}
	if _, err := Open(t.Context(), filepath.Join(f.dir, "bin/kubeadm")); err == nil {
		t.Error("a file is taken for a folder")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, f.dir); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A program of the Go toolchain says its version, and one of another format is none.
func TestProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if string(content[:4]) != elf.ELFMAG {
		t.Skip("the tests are no ELF program here")
	}
	if it, err := identified(t, "bin/piimg", content); err != nil || it.Kind != Binary || it.Version != "" {
		t.Errorf("%+v, %v", it, err)
	}
	if _, err := identified(t, "bin/piimg", content[:len(content)/2]); err == nil {
		t.Error("half a program is taken for a whole one")
	}
}

// What unpacks to more than any archive of images is given up in time.
func TestBomb(t *testing.T) {
	bomb := artifactstest.Tar(artifactstest.Entry{Name: "layer.tar", Content: strings.Repeat("\x00", 100<<20)})
	for name, packed := range map[string][]byte{"gzip": artifactstest.Gzip(bomb), "zstd": artifactstest.Zstd(bomb)} {
		if _, err := identified(t, "images/x", packed); err == nil || !strings.Contains(err.Error(), "times its size") {
			t.Errorf("%s, %d bytes: %v", name, len(packed), err)
		}
	}
}

// What the Go toolchain says of a program is taken where it names a release.
func TestBuiltVersion(t *testing.T) {
	for _, c := range []struct{ ldflags, module, want string }{
		{"", "v1.34.4", "1.34.4"},
		{"", "v1.34.1+k3s1", "1.34.1+k3s1"},
		{"", "v1.34.1+dirty", "1.34.1"},
		{"", "(devel)", ""},
		{"", "v1.34.2-0.20250911093000-0123456789ab+dirty", ""},
		{"", "v0.0.0-20250911093000-0123456789ab", ""},
		{`-s -w -X 'k8s.io/component-base/version.gitVersion=v1.34.1' -X k8s.io/client-go/pkg/version.gitVersion=v9.9.9`, "(devel)", "1.34.1"},
		{"-X github.com/containerd/containerd/v2/version.Version=2.1.4", "v9.9.9", "2.1.4"},
		{"-X main.version=unknown", "v1.3.0", "1.3.0"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: c.module}, Settings: []debug.BuildSetting{{Key: "-ldflags", Value: c.ldflags}}}
		if got := builtVersion(info); got != c.want {
			t.Errorf("%q, %q give %q, want %q", c.ldflags, c.module, got, c.want)
		}
	}
}
