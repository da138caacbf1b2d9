package ext4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// openSized opens the image, which is made size bytes long.
func openSized(t testing.TB, img string, size int64) *FS {
	t.Helper()
	if err := os.Truncate(img, size); err != nil {
		t.Fatal(err)
	}
	return openImage(t, img, false)
}

func TestGrowRefusals(t *testing.T) {
	const big = 5 << 40 // sparse
	for _, c := range []struct {
		name string
		args []string
		tune []string
		at   int64 // the size of the image
		size int64
		want string
	}{
		{"smaller", nil, nil, 64 << 20, 32 << 20, "it has 67108864 bytes already, and cannot be made smaller"},
		{"nothing", nil, nil, 64 << 20, 0, "it has 67108864 bytes already"},
		{"negative", nil, nil, 64 << 20, -1, "it has 67108864 bytes already"},
		{"beyond the partition", nil, nil, 100 << 20, 100<<20 + 1, "there are only 104857600 bytes for it"},
		{"32 bits", []string{"-b", "1024", "-O", "^64bit", "-i", "1048576"}, nil, big, big, "up to 4398046510080 bytes"},
		{"inodes", []string{"-b", "1024", "-O", "64bit", "-i", "1024"}, nil, big, big, "up to 4398038123520 bytes"},
		{"revision 0", []string{"-t", "ext2", "-r", "0", "-b", "1024"}, nil, 1 << 30, 1 << 30, "up to 268436480 bytes"},
		{"resize_inode and meta_bg", nil, []string{"feature meta_bg"}, 200 << 20, 200 << 20, "both resize_inode and meta_bg"},
		{"reserved without resize_inode", nil, []string{"feature -resize_inode"}, 200 << 20, 200 << 20, "there is no resize_inode"},
		{"no resize inode", nil, []string{"clri <7>"}, 200 << 20, 200 << 20, "not in use"},
		{"resize inode's map", nil, []string{"sif <7> block[DIND] 100"}, 200 << 20, 200 << 20, "block map"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, layout{"", append([]string{"-O", "^metadata_csum,^uninit_bg,^64bit"}, c.args...), "64M", nil}, "")
			for _, cmd := range c.tune {
				runTool(t, "debugfs", "-w", "-R", cmd, img)
			}
			before, err := os.ReadFile(img)
			if err != nil {
				t.Fatal(err)
			}
			f := openSized(t, img, c.at)
			info := f.Info()
			if err := f.Grow(c.size); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if now := f.Info(); now.Blocks != info.Blocks || now.FreeBlocks != info.FreeBlocks || now.Groups != info.Groups {
				t.Errorf("%+v, before %+v", now, info)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if after := head(t, img, len(before)); !bytes.Equal(after, before) {
				t.Error("the image was changed")
			}
		})
	}
}

func head(t testing.TB, img string, n int) []byte {
	t.Helper()
	file, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := make([]byte, n)
	if _, err := io.ReadFull(file, p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGrowNothing(t *testing.T) {
	img := mkfs(t, layout{"", []string{"-b", "4096"}, "64M", nil}, "")
	before := head(t, img, 64<<20)
	f := openSized(t, img, 200<<20)
	// As large as it is; less than a block more; a group too small for its structures more.
	for _, size := range []int64{64 << 20, 64<<20 + 4095} {
		if err := f.Grow(size); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, head(t, img, len(before))) {
		t.Error("the image was changed")
	}
	f = openImage(t, img, false)
	if err := errors.Join(f.Grow(128<<20), f.Grow(128<<20+400<<10)); err != nil {
		t.Fatal(err)
	}
	if i := f.Info(); i.Groups != 1 || i.Blocks != 32768 {
		t.Errorf("%d blocks in %d groups", i.Blocks, i.Groups)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fsck(t, img)
	f = openImage(t, img, true)
	if err := f.Grow(128 << 20); err == nil {
		t.Error("grown, though opened for reading only")
	}
}

// failing is a storage whose writes fail from some number on, and that notes
// where it was written to.
type failing struct {
	backend.Storage
	w      backend.WritableFile
	left   int
	writes [][2]int64
}

var errDisk = errors.New("the disk is gone")

func (f *failing) Writable() (backend.WritableFile, error) { return f.w, nil }

type failingFile struct {
	backend.WritableFile
	f *failing
}

func (f failingFile) WriteAt(p []byte, off int64) (int, error) {
	if f.f.left--; f.f.left < 0 {
		return 0, errDisk
	}
	f.f.writes = append(f.f.writes, [2]int64{off, off + int64(len(p))})
	return f.WritableFile.WriteAt(p, off)
}

func openFailing(t testing.TB, img string, left int) (*FS, *failing) {
	t.Helper()
	st, size := storage(t, img)
	w, err := st.Writable()
	if err != nil {
		t.Fatal(err)
	}
	bad := &failing{Storage: st, left: left}
	bad.w = failingFile{w, bad}
	f, err := Open(bad, 0, size, Options{Time: testTime()})
	if err != nil {
		t.Fatal(err)
	}
	return f, bad
}

// TestGrowRollback lets the storage fail while groups are made: the file system
// is as before, on the storage and in memory, and can be edited and grown.
func TestGrowRollback(t *testing.T) {
	for _, l := range growLayouts("stretch", "few-reserved", "sparse_super2", "every-group", "meta_bg") {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, tree(t))
			const size = 700 << 20
			if err := os.Truncate(img, size); err != nil {
				t.Fatal(err)
			}
			before := head(t, img, 64<<20)
			for _, left := range []int{0, 1, 7, 40} {
				f, bad := openFailing(t, img, left)
				put(t, f, "unsaved", nil)
				sb, files := *f.sb, digest(t, f)
				err := f.Grow(size)
				if err == nil {
					break // it did not need so many writes
				}
				if !errors.Is(err, errDisk) {
					t.Fatal(err)
				}
				if *f.sb != sb {
					t.Errorf("%+v, was %+v", *f.sb, sb)
				}
				compareDigests(t, files, digest(t, f))
				for _, w := range bad.writes {
					if w[0] < 64<<20 {
						t.Errorf("Grow wrote to %d", w[0])
					}
				}
				if !bytes.Equal(before, head(t, img, len(before))) {
					t.Fatal("the image was changed")
				}
				if left == 40 || l.name == "stretch" {
					bad.left = 1 << 30
					put(t, f, "after", noise(100000, 1))
					if err := errors.Join(f.Grow(size), tryPut(f, "later", noise(100000, 2)), f.Close()); err != nil {
						t.Fatal(err)
					}
					fsck(t, img)
					break
				}
			}
		})
	}
}

// TestGrowCutOff cuts the writing back off at every write. The superblock is
// written last: without it the file system has its old size, and e2fsck finds
// nothing wrong that touches a file.
func TestGrowCutOff(t *testing.T) {
	dir := tree(t)
	for _, l := range growLayouts("stretch", "trixie", "few-reserved") {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, dir)
			const size = 300 << 20
			if err := os.Truncate(img, size); err != nil {
				t.Fatal(err)
			}
			f, all := openFailing(t, img, 1<<30)
			if err := f.Grow(size); err != nil {
				t.Fatal(err)
			}
			n := len(all.writes)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if last := all.writes[len(all.writes)-1]; last[0] < 1024 || last[1] > 2048 {
				t.Errorf("the last write went to %d", last)
			}
			want := digest(t, openImage(t, mkfs(t, l, dir), true))
			for left := n; left < len(all.writes)-2; left += 1 + len(all.writes)/12 {
				img := mkfs(t, l, dir)
				if err := os.Truncate(img, size); err != nil {
					t.Fatal(err)
				}
				f, _ := openFailing(t, img, left)
				if err := errors.Join(f.Grow(size), f.Close()); !errors.Is(err, errDisk) {
					t.Fatal(err)
				}
				out, err := exec.Command(tooltest.Path(t, "e2fsck"), "-fy", img).CombinedOutput()
				if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() != 1 {
					t.Fatalf("after %d of %d writes: e2fsck: %v\n%s", left, len(all.writes), err, out)
				}
				runTool(t, "e2fsck", "-fn", img)
				f = openImage(t, img, true)
				if i := f.Info(); i.Blocks*uint64(i.BlockSize) != 64<<20 {
					t.Errorf("after %d of %d writes it has %d blocks", left, len(all.writes), i.Blocks)
				}
				compareDigests(t, want, digest(t, f))
			}
		})
	}
}

// TestGrowOverGarbage grows into what was in use before.
func TestGrowOverGarbage(t *testing.T) {
	for _, l := range growLayouts("stretch", "bookworm", "1k-uninit_bg", "no-resize_inode") {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			const size = 160 << 20
			img := mkfs(t, l, tree(t))
			file, err := os.OpenFile(img, os.O_RDWR|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			for range (size + slackBytes - 64<<20) >> 19 {
				if _, err := file.Write(bytes.Repeat([]byte{0xA5}, 1<<19)); err != nil {
					t.Fatal(err)
				}
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
			f := growImage(t, img, size)
			r := rand.New(rand.NewPCG(1, 2))
			for i := range 60 {
				dir := "new" + string(rune('A'+i))
				if err := f.Mkdir(dir); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"a", "b", "c"} {
					put(t, f, dir+"/"+name, noise(r.IntN(300000), uint32(i)))
				}
			}
			want := digest(t, f)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			if l.name == "bookworm" || l.name == "stretch" {
				mountAndCompare(t, openImage(t, img, true), "ro,loop", img, want)
				mountLoop(t, img, `for d in $(seq 20); do mkdir top$d; (cd top$d; seq 60 | xargs touch); done`, 0)
				fsck(t, img)
			}
		})
	}
}

// TestGrownSuperblock looks at what no tool prints.
func TestGrownSuperblock(t *testing.T) {
	img := mkfs(t, layout{"", []string{"-b", "1024", "-O", "64bit"}, "64M", nil}, "")
	f := growImage(t, img, 300<<20)
	d, err := f.super()
	if err != nil {
		t.Fatal(err)
	}
	if v := binary.LittleEndian.Uint32(d[sbOverhead:]); v != 0 {
		t.Errorf("overhead %d", v)
	}
	g := f.sb.backups()
	p := make([]byte, superblockSize)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	for _, g := range g {
		if err := f.readStorage(p, int64(f.sb.groupStart(g))*1024); err != nil {
			t.Fatal(err)
		}
		sb, err := parseSuperblock(p, 300<<20)
		if err != nil {
			t.Fatalf("group %d: %v", g, err)
		}
		if sb.state, sb.writeTime = f.sb.state, f.sb.writeTime; *sb != *f.sb || binary.LittleEndian.Uint16(p[sbGroupNumber:]) != uint16(g) {
			t.Errorf("group %d: %+v, want %+v", g, *sb, *f.sb)
		}
	}
}

// FuzzGrow grows damaged file systems, with what may be behind them.
func FuzzGrow(f *testing.F) {
	images := fuzzImages(f)
	for _, features := range []string{"^metadata_csum,^64bit", "^metadata_csum,64bit,sparse_super2", "^metadata_csum,meta_bg,^resize_inode"} {
		img := mkfs(f, layout{"", []string{"-b", "1024", "-g", "512", "-N", "64", "-O", "^has_journal," + features}, "1500k", nil}, "")
		images = append(images, head(f, img, 1500<<10))
	}
	for i, img := range images {
		for n, off := range interesting(img) {
			if n%24 == 0 {
				f.Add(byte(i), uint16(n), []byte{byte(off), byte(off >> 8), byte(off >> 16), 0xFF, byte(n)})
			}
		}
	}
	f.Fuzz(func(t *testing.T, which byte, more uint16, patch []byte) {
		img := images[int(which)%len(images)]
		img = append(bytes.Clone(img), bytes.Repeat([]byte{0xA5}, int(more)<<8)...)
		for ; len(patch) >= 5; patch = patch[5:] {
			off := (int(patch[0]) | int(patch[1])<<8 | int(patch[2])<<16) % (len(img) - 1)
			img[off], img[off+1] = patch[3], patch[4]
		}
		e, err := Open(newMemory(img), 0, int64(len(img)), Options{Time: testTime()})
		if err != nil {
			return
		}
		before := *e.sb
		if err := e.Grow(int64(len(img))); err != nil && *e.sb != before {
			t.Errorf("%v, and it is changed", err)
		}
		editAll(e, readAll(e))
		_ = e.Close() // may well fail, but not panic
	})
}
