package artifacts

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// testFolder is a folder that a test makes.
type testFolder struct {
	*testing.T
	dir string
}

func newFolder(t *testing.T) testFolder { return testFolder{t, t.TempDir()} }

func (f testFolder) write(rel string, content []byte) {
	f.Helper()
	name := filepath.Join(f.dir, rel)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		f.Fatal(err)
	}
}

// sum writes SHA256SUMS by sha256sum itself.
func (f testFolder) sum(args ...string) {
	f.Helper()
	need(f.T, "sha256sum")
	files := []string{}
	err := filepath.WalkDir(f.dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != SumsName && d.Name() != LockName {
			rel, _ := filepath.Rel(f.dir, name)
			files = append(files, "./"+rel)
		}
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	c := exec.Command("sha256sum", append(args, files...)...)
	c.Dir = f.dir
	out, err := c.Output()
	if err != nil {
		f.Fatal(err)
	}
	f.write(SumsName, out)
}

func (f testFolder) open() *Set {
	f.Helper()
	s, err := Open(f.Context(), f.dir)
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// problems opens a folder that has some.
func (f testFolder) problems() string {
	f.Helper()
	_, err := Open(f.Context(), f.dir)
	if err == nil {
		f.Fatal("nothing is wrong with the folder")
	}
	return err.Error()
}

func (f testFolder) says(text string, wanted ...string) {
	f.Helper()
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			f.Errorf("the error does not say %q:\n%s", w, text)
		}
	}
}

// need skips a test that a missing tool makes impossible; in CI it fails.
func need(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// program returns the least that is an ELF program.
func program(m elf.Machine) []byte {
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(m), Version: 1, Ehsize: 64, Phentsize: 56, Shentsize: 64,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// deb builds a package with dpkg-deb.
func deb(t *testing.T, packing, control string) []byte {
	t.Helper()
	need(t, "dpkg-deb")
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "p/DEBIAN"), 0o755); err != nil {
		t.Fatal(err)
	}
	control += "Maintainer: nobody <nobody@example.net>\nDescription: a test\n with a second line\n"
	if err := os.WriteFile(filepath.Join(dir, "p/DEBIAN/control"), []byte(control), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "p.deb")
	if text, err := exec.Command("dpkg-deb", "--root-owner-group", "--uniform-compression", "-Z"+packing, "--build", filepath.Join(dir, "p"), out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	content, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// entry is a file of an archive.
type entry struct{ name, content string }

func tarOf(entries ...entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&tar.Header{Name: e.name, Size: int64(len(e.content)), Mode: 0o644, Format: tar.FormatUSTAR}); err != nil {
			panic(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func config(arch string) string {
	return fmt.Sprintf(`{"architecture":%q,"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`, arch)
}

// dockerArchive returns what docker save writes of images with one configuration.
func dockerArchive(arch string, refs ...string) []byte {
	tags, err := json.Marshal(refs)
	if err != nil {
		panic(err)
	}
	return tarOf(
		entry{"layer.tar", strings.Repeat("\x00", 10240)},
		entry{"config.json", config(arch)},
		entry{"manifest.json", fmt.Sprintf(`[{"Config":"config.json","RepoTags":%s,"Layers":["layer.tar"]}]`, tags)},
	)
}

// ociArchive returns an OCI layout with an image in an index of its own, as
// builders write it, with a statement about the image beside it.
func ociArchive(arch, ref string) []byte {
	var entries []entry
	blob := func(content string) string {
		d := digestOf([]byte(content))
		entries = append(entries, entry{"blobs/" + strings.Replace(d, ":", "/", 1), content})
		return d
	}
	layer := blob("no layer, but it is there")
	image := blob(fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":%q},"layers":[{"digest":%q}]}`, blob(config(arch)), layer))
	index := blob(fmt.Sprintf(`{"schemaVersion":2,"manifests":[
		{"digest":%q,"platform":{"architecture":%q,"os":"linux"}},
		{"digest":"sha256:00","platform":{"architecture":"unknown","os":"unknown"}},
		{"digest":"sha256:11","platform":{"architecture":"s390x","os":"linux"}}]}`, image, arch))
	return tarOf(append(entries,
		entry{"./oci-layout", `{"imageLayoutVersion":"1.0.0"}`},
		entry{"./index.json", fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"digest":%q,"annotations":{"org.opencontainers.image.ref.name":%q}}]}`, index, ref)},
	)...)
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)
}

func identified(t *testing.T, rel string, content []byte) (Item, error) {
	t.Helper()
	return identify(context.Background(), bytes.NewReader(content), int64(len(content)), rel)
}
