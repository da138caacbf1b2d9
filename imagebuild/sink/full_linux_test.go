package sink

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// A disk that fills up half-way is told as such, and nothing is left on it.
func TestRawDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		tooltest.Skip(t, fmt.Sprintf("a small tmpfs is needed, which takes root: %v", err))
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	r, err := createRaw(filepath.Join(dir, "node.img"), 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = r.write(bytes.Repeat([]byte("x"), 1<<20))
	var full *SpaceError
	if !errors.As(err, &full) || full.Dir != dir {
		t.Fatalf("got %v, want a SpaceError for %s", err, dir)
	}
	r.Abort()
	if left := names(t, dir); len(left) != 0 {
		t.Fatalf("left behind: %q", left)
	}
}

// The holes are real: an image of zeros takes no room.
func TestRawSparse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.img")
	r, err := createRaw(path, 64<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.zeros(32 << 20); err != nil {
		t.Fatal(err)
	}
	if err := r.write(make([]byte, 32<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := r.Publish(); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks*512 > 1<<20 {
		t.Errorf("64 MiB of zeros take %d bytes on the disk", st.Blocks*512)
	}
}

// A stage of which not all can be removed keeps its lock, and is removed by the next
// build.
func TestStageHalfRemoved(t *testing.T) {
	dir := t.TempDir()
	s, err := NewStage(dir)
	if err != nil {
		t.Fatal(err)
	}
	stuck := s.Path("stuck")
	if err := os.Mkdir(stuck, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", stuck, "tmpfs", 0, "size=64k"); err != nil {
		tooltest.Skip(t, fmt.Sprintf("something is needed that cannot be removed, which takes root: %v", err))
	}
	defer unix.Unmount(stuck, unix.MNT_DETACH)
	if err := s.Close(); err == nil {
		t.Fatal("a mounted folder was removed")
	}
	if err := unix.Unmount(stuck, 0); err != nil {
		t.Fatal(err)
	}
	if err := RemoveStale(dir); err != nil {
		t.Fatal(err)
	}
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}
