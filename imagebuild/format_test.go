package imagebuild

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// packings are ways of packing the base image, by the arguments of a shell command
// that reads the image and writes the file: those that can be spliced from, and
// others.
var packings = map[string]string{
	"xz-6":                  "xz -6 -T2",
	"xz, SHA-256":           "xz -1 -T2 --check=sha256 --block-size=5MiB",
	"xz, CRC32, odd blocks": "xz -1 -T2 --check=crc32 --block-size=7654321",
	"xz, several streams":   "split -b 100M --filter='xz -0 -T2'",
	"xz, other properties":  "xz -T2 --block-size=32MiB --lzma2=preset=1,lc=1,lp=2,pb=0,dict=64KiB",
	"xz, one block":         "xz -0 -T1",
	"xz, no check":          "xz -0 -T2 --check=none",
	"xz, filtered":          "xz -T2 --block-size=64MiB --arm64 --lzma2=preset=0",
	"raw":                   "cat",
	"gz":                    "gzip -1",
	"zst":                   "zstd -1",
}

// common are those of packings that are tried unless PIIMG_PACKINGS=all.
var common = []string{"xz, SHA-256", "xz, CRC32, odd blocks", "xz, several streams", "xz, other properties", "xz, one block"}

// digest is the SHA-256 of what a command prints.
func digest(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", `set -e; "$@" | sha256sum`, "sh", name}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	sum, _, _ := strings.Cut(string(out), " ")
	return sum
}

// Whatever the base image is packed as, and the images are to be, they are the same
// once they are unpacked; and the judges take them for what they are named.
func TestFormats(t *testing.T) {
	tooltest.Need(t, "xz", "zstd", "gzip")
	nodes := []string{"isabelle", "blathers"}
	want := map[string]string{}
	reference := project(t, "stretch")
	reference.Only = nodes
	report, err := Build(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range report.Nodes {
		want[n.Hostname] = n.SHA256
	}
	zst := reference
	zst.Format = FormatZst
	if report, err = Build(t.Context(), zst); err != nil {
		t.Fatal(err)
	}
	for _, n := range report.Nodes {
		run(t, "zstd", "-q", "-t", n.Image)
		if got := digest(t, "zstd", "-q", "-dc", n.Image); got != want[n.Hostname] {
			t.Errorf("%s unpacks to something else", n.Image)
		}
	}
	for name, command := range packings {
		t.Run(name, func(t *testing.T) {
			if os.Getenv("PIIMG_PACKINGS") != "all" && !slices.Contains(common, name) {
				t.Skip("it takes long: set PIIMG_PACKINGS=all")
			}
			o := project(t, "stretch")
			o.Only, o.Format = nodes, FormatXZ
			base := filepath.Join(filepath.Dir(o.NodesFile), "base.img.xz")
			// The name of the base, and its digest, are in the images.
			other := base + ".new"
			if out, err := exec.Command("sh", "-c", fmt.Sprintf("xz -dc %q | %s > %q", base, command, other)).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if err := os.Rename(other, base); err != nil {
				t.Fatal(err)
			}
			raw := o
			raw.Format, raw.Out = FormatImg, o.Out+"-raw"
			plain, err := Build(t.Context(), raw)
			if err != nil {
				t.Fatal(err)
			}
			packed, err := Build(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for i, n := range packed.Nodes {
				run(t, "xz", "-t", n.Image)
				run(t, "xz", "-l", n.Image)
				if got := digest(t, "xz", "-dc", "-T2", n.Image); got != plain.Nodes[i].SHA256 {
					t.Errorf("%s unpacks to something else", n.Image)
				}
				if before, err := os.Stat(base); err != nil || strings.HasPrefix(name, "xz") && n.Size > before.Size()*102/100+128<<10 {
					t.Errorf("%s has %d bytes, made from %d, %v", n.Image, n.Size, before.Size(), err)
				}
			}
		})
	}
}

// A node that differs where those that were looked at do not is packed as well.
func TestFormatRareNode(t *testing.T) {
	tooltest.Need(t, "xz")
	o := project(t, "stretch")
	var b strings.Builder
	b.WriteString("image: {path: base.img.xz}\ncluster: {name: villagers, network: 10.0.0.0/16, gateway: 10.0.0.1}\n" +
		"defaults: {user: {name: pi, authorizedKeys: [key.pub]}, timezone: Europe/Berlin}\nnodes:\n")
	for i := range 40 {
		fmt.Fprintf(&b, "  - {hostname: node-%d, role: plain, ip: 10.0.1.%d", i, i+1)
		if i == 33 {
			b.WriteString(`, files: [{path: /usr/share/rare, content: "` + strings.Repeat("what no other node has ", 20000) + `"}, {path: /boot/rare, content: "rare"}]`)
		}
		b.WriteString("}\n")
	}
	write(t, o.NodesFile, []byte(b.String()))
	o.Only = []string{"node-33", "node-34"}
	plain, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Format = FormatXZ
	packed, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range packed.Nodes {
		run(t, "xz", "-t", n.Image)
		if got := digest(t, "xz", "-dc", n.Image); got != plain.Nodes[i].SHA256 {
			t.Errorf("%s unpacks to something else", n.Image)
		}
	}
}
