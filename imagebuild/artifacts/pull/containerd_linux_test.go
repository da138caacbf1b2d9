package pull

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/artifacts/artifactstest"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// containerd imports what was pulled, and every other form of archive that
// artifacts takes, under the names that artifacts says.
func TestContainerd(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("containerd needs root")
	}
	tooltest.Need(t, "containerd", "ctr", "gzip", "zstd", "dpkg")
	n := newInternet(t)
	n.push("pause:3.10.1", "pause", "amd64", "arm64")
	n.push("flannel:v1", "flannel", "amd64", "arm64")
	host, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		t.Skip(err)
	}
	arch := strings.TrimSpace(string(host))
	goArch, _ := artifacts.GoArch(arch)
	o := n.options(
		artifacts.Requirement{Kind: artifacts.Image, Name: "registry.k8s.io/pause:3.10.1", Arch: arch, From: n.host + "/pause:3.10.1"},
		artifacts.Requirement{Kind: artifacts.Image, Name: "flannel/flannel:v1", Arch: arch, From: n.host + "/flannel:v1"},
	)
	n.pull(o)
	for name, content := range map[string][]byte{
		"save.tar":    artifactstest.DockerArchive(goArch, "busybox", "example.net/a/b:1"),
		"save.tar.gz": artifactstest.Gzip(artifactstest.DockerArchive(goArch, "example.net/gzip:1")),
		"oci.tar.zst": artifactstest.Zstd(artifactstest.OCIArchive(goArch, "ghcr.io/oci/zstd:1")),
	} {
		if err := os.WriteFile(filepath.Join(o.Dir, "images", name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctr := startContainerd(t)
	want := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(o.Dir, "images", "*"))
	if err != nil || len(files) != 5 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		imported := exec.Command("ctr", append(ctr, "images", "import", "--no-unpack", "-")...)
		imported.Stdin = unpacked(t, file)
		if out, err := imported.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
		for _, ref := range imagesOf(t, file, arch) {
			want[ref] = true
		}
	}
	out, err := exec.Command("ctr", append(ctr, "images", "ls", "-q")...).Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(out))
	if len(got) != 6 || len(want) != 6 {
		t.Errorf("containerd has %q, artifacts says %v", got, want)
	}
	for _, ref := range got {
		if !want[ref] {
			t.Errorf("artifacts does not say %s", ref)
		}
	}
}

// unpacked unpacks a file as nodes do: ctr of containerd 1.6 does not.
func unpacked(t *testing.T, file string) io.Reader {
	t.Helper()
	program := map[string]string{".gz": "gzip", ".zst": "zstd"}[filepath.Ext(file)]
	if program == "" {
		program = "cat"
	}
	c := exec.Command(program, "-dc", file)
	if program == "cat" {
		c.Args = []string{program, file}
	}
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %v", c, err)
	}
	return bytes.NewReader(out)
}

// imagesOf returns the images of one archive.
func imagesOf(t *testing.T, file, arch string) []string {
	t.Helper()
	for _, name := range []string{"registry.k8s.io/pause:3.10.1", "docker.io/flannel/flannel:v1", "busybox", "example.net/gzip:1", "ghcr.io/oci/zstd:1"} {
		it, err := artifacts.ReadFile(t.Context(), file, filepath.Base(file), artifacts.Requirement{Kind: artifacts.Image, Name: name, Arch: arch})
		if err == nil {
			return it.Images
		}
	}
	t.Errorf("%s has none of the images", file)
	return nil
}

// startContainerd starts one in a folder of its own, and returns the arguments by
// which ctr finds it.
func startContainerd(t *testing.T) []string {
	t.Helper()
	dir, err := os.MkdirTemp("", "containerd") // a short path: that of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := fmt.Sprintf(`version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
address = "%[1]s/c.sock"
[ttrpc]
address = "%[1]s/t.sock"
`, dir)
	if err := os.WriteFile(dir+"/config.toml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("containerd", "--config", dir+"/config.toml")
	log, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	})
	lines := bufio.NewScanner(log)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if strings.Contains(lines.Text(), "successfully booted") {
			go func() { // so that it is never held up
				for lines.Scan() {
				}
			}()
			return []string{"--address", dir + "/c.sock", "--namespace", "k8s.io"}
		}
	}
	t.Skipf("containerd does not start here:\n%s", strings.Join(said, "\n"))
	return nil
}
