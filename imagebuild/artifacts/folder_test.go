package artifacts

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/tooltest"
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
	tooltest.Need(f.T, "sha256sum")
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

// deb builds a package with dpkg-deb.
func deb(t *testing.T, packing, control string) []byte {
	t.Helper()
	tooltest.Need(t, "dpkg-deb")
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

func identified(t *testing.T, rel string, content []byte) (Item, error) {
	t.Helper()
	return identify(context.Background(), bytes.NewReader(content), int64(len(content)), rel)
}

// arHeaderOf returns the header of a member of an archive of ar(1).
func arHeaderOf(name string, size int) string {
	return fmt.Sprintf("%-16s%-12d%-6d%-6d%-8o%-10d`\n", name, 0, 0, 0, 0o100644, size)
}
