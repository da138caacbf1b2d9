package imagebuild

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/piimg/piimg/imagebuild/sink"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// What fits on a disk is written to it, and what doesn't is refused and leaves nothing
// there: before the first byte is written, or when the disk is full.
func TestBuildRoom(t *testing.T) {
	for _, c := range []struct {
		format, room string
		fits         bool
	}{
		{FormatImg, "16m", false}, {FormatXZ, "4m", true}, {FormatZst, "4m", true},
		{FormatXZ, "256k", false}, {FormatZst, "256k", false},
		{FormatXZ, "400k", false}, // more than room says, and less than is needed
	} {
		t.Run(c.format+" "+c.room, func(t *testing.T) {
			o := project(t, "stretch")
			o.Format = c.format
			if err := os.Mkdir(o.Out, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("tmpfs", o.Out, "tmpfs", 0, "size="+c.room); err != nil {
				tooltest.Skip(t, fmt.Sprintf("a small tmpfs is needed, which takes root: %v", err))
			}
			defer unix.Unmount(o.Out, unix.MNT_DETACH)
			_, err := Build(t.Context(), o)
			if c.fits {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var full *sink.SpaceError
			if !errors.As(err, &full) || full.Dir != o.Out || KindOf(err) != KindOutput {
				t.Errorf("got %v, want a SpaceError for %s", err, o.Out)
			}
			if left, err := os.ReadDir(o.Out); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// A disk that is full only when the files beside the images are written, the smallest
// and last ones, is left as empty.
func TestBuildRoomForLast(t *testing.T) {
	o := project(t, "stretch")
	o.Format = FormatXZ
	if err := os.Mkdir(o.Out, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := func(size int64) (unmount func()) {
		t.Helper()
		if err := unix.Mount("tmpfs", o.Out, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
			tooltest.Skip(t, fmt.Sprintf("a small tmpfs is needed, which takes root: %v", err))
		}
		return func() { _ = unix.Unmount(o.Out, unix.MNT_DETACH) }
	}
	unmount := mount(16 << 20)
	_, err := Build(t.Context(), o)
	var used unix.Statfs_t
	if err == nil {
		err = unix.Statfs(o.Out, &used)
	}
	unmount()
	if err != nil {
		t.Fatal(err)
	}
	page := int64(os.Getpagesize())
	size := int64(used.Blocks-used.Bfree) * int64(used.Bsize)
	for _, pages := range []int64{1, 2, 4, 8} { // that are missing: of SHA256SUMS, of manifest.json, and so forth
		unmount := mount(size - pages*page)
		_, err := Build(t.Context(), o)
		left, readErr := os.ReadDir(o.Out)
		unmount()
		var full *sink.SpaceError
		if !errors.As(err, &full) || full.Dir != o.Out {
			t.Errorf("%d pages less: got %v, want a SpaceError for %s", pages, err, o.Out)
		}
		if readErr != nil || len(left) > 0 {
			t.Errorf("%d pages less: left behind: %v, %v", pages, left, readErr)
		}
	}
}
