package sink

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// names lists what a folder holds, hidden files too.
func names(t interface{ Fatal(...any) }, dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// Whatever the pieces are in which an image arrives, the file is that image and
// the checksum is the file's.
func TestRawAnyPieces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.img")
	rapid.Check(t, func(t *rapid.T) {
		var want []byte
		type piece struct {
			data  []byte
			zeros int
		}
		pieces := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) piece {
			if rapid.Bool().Draw(t, "zeros") {
				return piece{zeros: rapid.IntRange(0, 3<<20).Draw(t, "n")}
			}
			data := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 3).Draw(t, "pattern"), rapid.IntRange(0, 9000).Draw(t, "times"))
			// Runs of zeros inside a written piece are to become holes as well.
			if len(data) > 0 {
				from := rapid.IntRange(0, len(data)-1).Draw(t, "from")
				clear(data[from:rapid.IntRange(from, len(data)).Draw(t, "to")])
			}
			return piece{data: data}
		}), 0, 12).Draw(t, "pieces")
		for _, p := range pieces {
			want = append(append(want, p.data...), make([]byte, p.zeros)...)
		}
		r, err := createRaw(path, int64(len(want)), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Abort()
		for _, p := range pieces {
			if p.data != nil {
				err = r.write(p.data)
			} else {
				err = r.zeros(int64(p.zeros))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		res, err := r.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Publish(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("the file differs from what was written (%d and %d bytes)", len(got), len(want))
		}
		if res.SHA256 != sha256.Sum256(want) || res.Size != int64(len(want)) || res.Path != path {
			t.Fatalf("the result does not describe the file: %+v", res)
		}
		if left := names(t, dir); !slices.Equal(left, []string{"node.img"}) {
			t.Fatalf("the folder holds %q", left)
		}
	})
}

func TestRawIsPrivateAndHiddenUntilPublished(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.img")
	if err := os.WriteFile(path, []byte("earlier"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := createRaw(path, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Finish(); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "earlier" {
		t.Fatalf("before publishing, the final name holds %q", b)
	}
	if err := r.Publish(); err != nil {
		t.Fatal(err)
	}
	r.Abort() // too late: must not remove anything
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	if b, _ := os.ReadFile(path); string(b) != "new" {
		t.Errorf("published %q", b)
	}
}

func TestRawAbortLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	r, err := createRaw(filepath.Join(dir, "node.img"), 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.write(bytes.Repeat([]byte("x"), 5000)); err != nil {
		t.Fatal(err)
	}
	r.Abort()
	r.Abort()
	if left := names(t, dir); len(left) != 0 {
		t.Fatalf("left behind: %q", left)
	}
}

func TestRawRefusesWrongLengths(t *testing.T) {
	r, err := createRaw(filepath.Join(t.TempDir(), "node.img"), 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Abort()
	if err := r.write(make([]byte, 11)); err == nil {
		t.Error("more bytes than the image has were taken")
	}
	if err := r.write(make([]byte, 9)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Finish(); err == nil {
		t.Error("an incomplete image was finished")
	}
	if err := r.Publish(); err == nil {
		t.Error("an incomplete image was published")
	}
}

func TestUpdatedSums(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.img", "b.img"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := strings.Repeat("1", 64) + "  a.img\n" + // still there, not built now
		strings.Repeat("2", 64) + "  gone.img\n" +
		strings.Repeat("3", 64) + " *mine.iso\n" // another's, not there
	if err := os.WriteFile(filepath.Join(dir, SumsName), []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := UpdatedSums(dir, []Result{{Path: filepath.Join(dir, "b.img"), SHA256: sha256.Sum256([]byte("b.img"))}})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(got)), "\n")
	if len(lines) != 3 || lines[0] != strings.Repeat("1", 64)+"  a.img" || !strings.HasSuffix(lines[1], "  b.img") ||
		lines[2] != strings.Repeat("3", 64)+"  mine.iso" {
		t.Fatalf("got:\n%s", got)
	}
}

// What a killed build left is removed; what a running one is writing is not.
func TestRemoveStale(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".piimg-123.part", "kept.part", ".piimg-kept"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := createRaw(filepath.Join(dir, "node.img"), 4, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Abort()
	if err := RemoveStale(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.write([]byte("node")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := r.Publish(); err != nil {
		t.Fatal(err)
	}
	if left, want := names(t, dir), []string{".piimg-kept", "kept.part", "node.img"}; !slices.Equal(left, want) {
		t.Errorf("the folder holds %q, want %q", left, want)
	}
}
