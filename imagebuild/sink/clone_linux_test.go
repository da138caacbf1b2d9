package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// mounted returns a folder on a new, small file system of a kind that can share
// what files hold.
func mounted(t *testing.T, kind string) string {
	t.Helper()
	tooltest.Need(t, "mkfs."+kind, "mount", "umount")
	if os.Getuid() != 0 {
		tooltest.Skip(t, "a loop mount needs root")
	}
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 512<<20); err != nil {
		t.Fatal(err)
	}
	output(t, "mkfs."+kind, "-q", disk)
	mnt := filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-o", "loop", "-t", kind, disk, mnt).CombinedOutput(); err != nil {
		t.Skipf("%s cannot be mounted here: %v\n%s", kind, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mnt).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	return mnt
}

// used returns how many bytes of dir's file system are in use.
func used(t *testing.T, dir string) int64 {
	t.Helper()
	unix.Sync()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Blocks-st.Bfree) * int64(st.Bsize)
}

// On a file system that can do it, an image shares what it has of the base; it is
// the same image all the same, and the base is left alone.
func TestRawClones(t *testing.T) {
	for _, kind := range []string{"btrfs", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			dir := mounted(t, kind)
			base := sample(48<<20, 5)
			clear(base[20<<20 : 28<<20])
			flat, err := os.Create(filepath.Join(dir, "base.img"))
			if err != nil {
				t.Fatal(err)
			}
			defer flat.Close()
			// Holes where there are zeros, in the base as well.
			for _, part := range [][2]int64{{0, 20 << 20}, {28 << 20, 48 << 20}} {
				if _, err := flat.WriteAt(base[part[0]:part[1]], part[0]); err != nil {
					t.Fatal(err)
				}
			}
			if !(Raw{Base: flat}).Clones(filepath.Join(dir, "node.img")) {
				t.Error("cloning is said not to work")
			}
			before := used(t, dir)

			// All nodes share a change, which zeroes bytes as well, and each has its own;
			// the image is larger than the base.
			shared := append(bytes.Clone(base), make([]byte, 8<<20)...)
			changed := []layer.Extent{{Off: 1 << 20, Len: 8192}, {Off: 50 << 20, Len: 4096}}
			for _, e := range changed {
				for i := range e.Len {
					shared[e.Off+i] = byte(i / 4096 * 7)
				}
			}
			for n := range int64(4) {
				own, extents := change(shared, 2*n, 256+n, 5500)
				path := filepath.Join(dir, "node"+string(rune('0'+n))+".img")
				res, err := feed(clones{Raw{Base: flat}, changed}, path, shared, own, extents, 4<<20, 2)
				if err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, own) || res.SHA256 != sha256.Sum256(own) || res.Size != int64(len(own)) {
					t.Errorf("node %d: another image, or another digest", n)
				}
				var st unix.Stat_t
				if err := unix.Stat(path, &st); err != nil {
					t.Fatal(err)
				}
				if st.Blocks*512 > 41<<20 {
					t.Errorf("node %d: the holes are filled: %d bytes", n, st.Blocks*512)
				}
			}
			if more := used(t, dir) - before; more > 8<<20 {
				t.Errorf("four images of 56 MiB take %d bytes more", more)
			}
			if got, err := os.ReadFile(flat.Name()); err != nil || !bytes.Equal(got, base) {
				t.Errorf("the base was changed; error %v", err)
			}
		})
	}
}

// clones tells Raw what has changed in the base.
type clones struct {
	Raw
	changed []layer.Extent
}

func (c clones) Pack(ctx context.Context, s Stretch) (Packed, error) {
	for _, e := range c.changed {
		if s.Off <= e.Off && e.Off < s.Off+s.Len {
			s.Changed = append(s.Changed, e)
		}
	}
	return c.Raw.Pack(ctx, s)
}
