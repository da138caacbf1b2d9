package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// TestPunch makes holes, and compares with a copy in memory. The extents that
// are left cover what is not zero.
func TestPunch(t *testing.T) {
	for _, l := range []layout{layouts()[1], layouts()[4], layouts()[9]} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, "")
			f := openImage(t, img, false)
			want := noise(400000, 1)
			put(t, f, "file", want)
			e, err := f.OpenFile("file", os.O_RDWR)
			if err != nil {
				t.Fatal(err)
			}
			file := e.(*File)
			for _, p := range [][2]int64{{0, 1}, {5000, 3000}, {10, 100000}, {200000, 8192}, {204800, 4096}, {390000, 1 << 40}, {1 << 40, 5}, {7, 0}} {
				if err := file.Punch(p[0], p[1]); err != nil {
					t.Fatal(err)
				}
				if p[0] < int64(len(want)) {
					clear(want[p[0]:min(int64(len(want)), p[0]+p[1])])
				}
			}
			got, err := f.ReadFile("file")
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			list, err := file.Extents()
			if err != nil || len(list) < 3 {
				t.Fatalf("%v, %v", list, err)
			}
			rest, last := bytes.Clone(want), int64(-1)
			for _, x := range list {
				if x.Off <= last || x.Len <= 0 || x.Off+x.Len > int64(len(want)) {
					t.Fatalf("%v", list)
				}
				clear(rest[x.Off : x.Off+x.Len])
				last = x.Off + x.Len
			}
			if !bytes.Equal(rest, make([]byte, len(rest))) {
				t.Error("data outside of the extents")
			}
			// A copy by extents is as sparse as the file.
			e, err = f.OpenFile("copy", os.O_RDWR|os.O_CREATE)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range list {
				p := make([]byte, x.Len)
				if _, err := file.ReadAt(p, x.Off); err != nil && err != io.EOF {
					t.Fatal(err)
				}
				if _, err := e.(*File).WriteAt(p, x.Off); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(e.(*File).Truncate(int64(len(want))), e.Close(), file.Close()); err != nil {
				t.Fatal(err)
			}
			a, err := f.Stat("file")
			b, err2 := f.Stat("copy")
			if err := errors.Join(err, err2); err != nil || a.Sys().(*Stat).Blocks != b.Sys().(*Stat).Blocks {
				t.Errorf("%v: %+v, %+v", err, a, b)
			}
			if got, err := f.ReadFile("copy"); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the copy: %d bytes, %v", len(got), err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			mountAndCompare(t, openImage(t, img, true), "ro,loop", img, digest(t, openImage(t, img, true)))
		})
	}
}

// deepFile punches every second block of a file, and writes every tenth of the
// holes again, which makes trees of the greatest depth.
func deepFile(t testing.TB, f *FS, name string, blocks int64) {
	t.Helper()
	bs := int64(f.sb.blockSize)
	e, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	file := e.(*File)
	if _, err := file.ReadFrom(io.LimitReader(endless{}, blocks*bs)); err != nil {
		t.Fatal(err)
	}
	for i := int64(0); i < blocks; i += 2 {
		if err := file.Punch(i*bs, bs); err != nil {
			t.Fatal(err)
		}
	}
	for i := int64(0); i < blocks; i += 20 {
		if _, err := file.WriteAt([]byte{1}, i*bs); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestDeepestTrees has extent trees of depth 3, and indirect blocks of all
// three levels. It lets the kernel go on with them, and opens them again.
func TestDeepestTrees(t *testing.T) {
	for _, l := range []layout{
		{"1k", []string{"-b", "1024", "-O", "metadata_csum,64bit", "-N", "64"}, "180M", nil},
		{"ext3", []string{"-t", "ext3", "-b", "1024", "-N", "64"}, "180M", nil},
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, "")
			f := openImage(t, img, false)
			const blocks = 70000
			deepFile(t, f, "deep", blocks)
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			if l.name == "1k" {
				out := runTool(t, "debugfs", "-R", "ex -n /deep", img)
				if !strings.Contains(out, " 0/ 3") {
					t.Errorf("the tree is not of depth 3:\n%.300s", out)
				}
			}
			mountAndCompare(t, f, "ro,loop", img, digest(t, f))
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			f = openImage(t, img, false)
			e, err := f.OpenFile("deep", os.O_RDWR)
			if err != nil {
				t.Fatal(err)
			}
			file := e.(*File)
			for i := range int64(3000) {
				if err := file.Punch(1024*(1+7*i), 3000); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(file.Truncate(1024*blocks*3/4), file.Close(), f.Sync()); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			if e, err = f.OpenFile("deep", os.O_RDWR); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(e.(*File).Truncate(3*1024+1), e.Close(), f.Sync()); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			if err := errors.Join(f.Remove("deep"), f.Close()); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
		})
	}
}

// TestPunchWithoutSpace punches a hole for which the tree of extents would need
// one more block, where no more are free than are reserved.
func TestPunchWithoutSpace(t *testing.T) {
	img := mkfs(t, layout{"", []string{"-b", "1024", "-O", "metadata_csum,^has_journal"}, "16M", nil}, "")
	f := openImage(t, img, false)
	e, err := f.OpenFile("deep", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	deep := e.(*File)
	for i := range int64(f.sb.nodeExtents()) { // they fill a leaf
		if _, err := deep.WriteAt(noise(3072, uint32(i)), i*4096); err != nil {
			t.Fatal(err)
		}
	}
	if err := deep.Close(); err != nil {
		t.Fatal(err)
	}
	f.sb.reserved = f.Info().FreeBlocks + 2 // the hole frees one block
	before, err := f.ReadFile("deep")
	if err != nil {
		t.Fatal(err)
	}
	if e, err = f.OpenFile("deep", os.O_RDWR); err != nil {
		t.Fatal(err)
	}
	if err := e.(*File).Punch(10*4096+500, 2000); !errors.Is(err, ErrNoSpace) {
		t.Errorf("%v, want %v", err, ErrNoSpace)
	}
	if after, err := f.ReadFile("deep"); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the content has changed (%v)", err)
	}
	if err := errors.Join(e.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	fsck(t, img)
}

// BenchmarkPunch reports the cost of one hole in files of more and more
// extents, which stays the same.
func BenchmarkPunch(b *testing.B) {
	for _, kind := range []string{"ext4", "ext3"} {
		for _, blocks := range []int64{2000, 20000, 200000} {
			b.Run(fmt.Sprintf("%s-%d", kind, blocks), func(b *testing.B) {
				img := mkfs(b, layout{"", []string{"-t", kind, "-b", "1024", "-N", "64"}, "400M", nil}, "")
				data, err := os.ReadFile(img)
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					b.StopTimer()
					image := bytes.Clone(data)
					b.StartTimer()
					f, err := Open(newMemory(image), 0, int64(len(data)), Options{Time: testTime()})
					if err != nil {
						b.Fatal(err)
					}
					deepFile(b, f, "deep", blocks)
					if err := f.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(blocks*11/20), "ns/change")
			})
		}
	}
}
