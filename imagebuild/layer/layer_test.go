package layer_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/piimg/piimg/imagebuild/layer"
	"pgregory.net/rapid"
)

func write(t testing.TB, l *layer.Layer, p []byte, off int64) {
	t.Helper()
	w, err := l.Writable()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.WriteAt(p, off); err != nil || n != len(p) {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(p), off, n, err)
	}
}

func pattern(n int, seed uint64) []byte {
	p := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range p {
		p[i] = byte(r.UintN(3)) // so that equal bytes meet often
	}
	return p
}

// node is a layer of the tree of the property test, with what it must hold.
type node struct {
	l      *layer.Layer
	want   []byte
	parent *node
	frozen bool
}

// TestTree compares a tree of layers with plain slices of bytes.
func TestTree(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 70*layer.PageSize).Draw(t, "size")
		base := pattern(size, 1)
		root := layer.New(bytes.NewReader(base), int64(size),
			layer.MemoryLimit(rapid.Int64Range(0, 20*layer.PageSize).Draw(t, "limit")),
			layer.CacheSize(rapid.Int64Range(0, 1<<18).Draw(t, "cache")),
			layer.TempDir(dir))
		nodes := []*node{{l: root, want: bytes.Clone(base)}}
		pick := func(t *rapid.T) *node { return rapid.SampledFrom(nodes).Draw(t, "node") }
		extent := func(t *rapid.T) (int, int) {
			off := rapid.IntRange(0, size-1).Draw(t, "off")
			if rapid.Bool().Draw(t, "aligned") {
				off -= off % layer.PageSize
			}
			return off, min(rapid.SampledFrom([]int{1, 512, 4096, 8192, 100_000}).Draw(t, "len"), size-off)
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				n := pick(t)
				off, count := extent(t)
				p := pattern(count, rapid.Uint64Range(0, 3).Draw(t, "seed"))
				if rapid.Bool().Draw(t, "as below") {
					below := base
					if n.parent != nil {
						below = n.parent.want
					}
					copy(p, below[off:])
				}
				w, err := n.l.Writable()
				if n.frozen {
					if !errors.Is(err, layer.ErrFrozen) {
						t.Fatalf("Writable of a frozen layer: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.WriteAt(p, int64(off)); err != nil {
					t.Fatal(err)
				}
				copy(n.want[off:], p)
			},
			"fork": func(t *rapid.T) {
				n := pick(t)
				n.frozen = true
				nodes = append(nodes, &node{l: n.l.Fork(), want: bytes.Clone(n.want), parent: n})
			},
			"read": func(t *rapid.T) {
				n := pick(t)
				off, count := extent(t)
				p := make([]byte, count)
				if _, err := n.l.ReadAt(p, int64(off)); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(p, n.want[off:off+count]) {
					t.Fatalf("ReadAt(%d, %d) differs", count, off)
				}
			},
			"patch": func(t *rapid.T) {
				n := pick(t)
				off, count := extent(t)
				p := bytes.Clone(base[off : off+count])
				touches := n.l.Touches(int64(off), int64(count))
				if err := n.l.Patch(int64(off), p); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(p, n.want[off:off+count]) {
					t.Fatalf("Patch(%d, %d) differs", off, count)
				}
				if !touches && !bytes.Equal(p, base[off:off+count]) {
					t.Fatal("Touches denied what Patch did")
				}
			},
			"extents": func(t *rapid.T) {
				n := pick(t)
				below := base
				if n.parent != nil {
					below = n.parent.want
				}
				if got, want := n.l.Extents(), diff(below, n.want); !equal(got, want) {
					t.Fatalf("Extents() = %v, want %v", got, want)
				}
			},
		})
		for _, n := range nodes {
			if err := n.l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Fatalf("left behind: %v", left)
		}
	})
}

// diff returns the pages in which b differs from a.
func diff(a, b []byte) []layer.Extent {
	var out []layer.Extent
	for off := 0; off < len(a); off += layer.PageSize {
		end := min(off+layer.PageSize, len(a))
		if bytes.Equal(a[off:end], b[off:end]) {
			continue
		}
		if n := len(out); n > 0 && out[n-1].Off+out[n-1].Len == int64(off) {
			out[n-1].Len += int64(end - off)
		} else {
			out = append(out, layer.Extent{Off: int64(off), Len: int64(end - off)})
		}
	}
	return out
}

func equal(a, b []layer.Extent) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestBounds(t *testing.T) {
	base := pattern(10_000, 1)
	l := layer.New(bytes.NewReader(base), 9_000)
	defer l.Close()
	p := make([]byte, 100)
	for _, c := range []struct {
		off  int64
		n    int
		fail error
	}{{0, 100, nil}, {8_900, 100, nil}, {8_950, 50, io.EOF}, {9_000, 0, io.EOF}, {1 << 62, 0, io.EOF}} {
		n, err := l.ReadAt(p, c.off)
		if n != c.n || err != c.fail {
			t.Errorf("ReadAt at %d = %d, %v; want %d, %v", c.off, n, err, c.n, c.fail)
		}
	}
	if _, err := l.ReadAt(p, -1); err == nil || err == io.EOF {
		t.Errorf("ReadAt at -1: %v", err)
	}
	w, _ := l.Writable()
	for _, off := range []int64{-1, 8_901, 9_000, 1 << 62} {
		if _, err := w.WriteAt(p, off); err == nil {
			t.Errorf("WriteAt at %d succeeded", off)
		}
		if err := l.Patch(off, p); err == nil {
			t.Errorf("Patch at %d succeeded", off)
		}
	}
	if e := l.Extents(); e != nil {
		t.Errorf("failed writes left %v", e)
	}
}

func TestReader(t *testing.T) {
	base := pattern(9_000, 1)
	l := layer.New(bytes.NewReader(base), 9_000)
	defer l.Close()
	write(t, l, []byte("changed"), 4_090)
	want := bytes.Clone(base)
	copy(want[4_090:], "changed")
	if err := iotest.TestReader(l, want); err != nil {
		t.Error(err)
	}
}

// TestShortBase is about an image that ends before its table of partitions says.
func TestShortBase(t *testing.T) {
	l := layer.New(bytes.NewReader(make([]byte, 5_000)), 100_000)
	defer l.Close()
	if _, err := l.ReadAt(make([]byte, 100), 50_000); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("ReadAt past the end of the base: %v", err)
	}
	w, _ := l.Writable()
	if _, err := w.WriteAt(make([]byte, 100), 50_000); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("WriteAt past the end of the base: %v", err)
	}
}

func TestClose(t *testing.T) {
	dir := t.TempDir()
	l := layer.New(bytes.NewReader(make([]byte, 1<<20)), 1<<20, layer.MemoryLimit(0), layer.TempDir(dir))
	write(t, l, []byte("below"), 0)
	f := l.Fork()
	write(t, f, []byte("above"), 8192)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 5)
	if _, err := l.ReadAt(p, 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("ReadAt after Close: %v", err)
	}
	if _, err := f.ReadAt(p, 0); err != nil || string(p) != "below" {
		t.Errorf("fork of a closed layer reads %q, %v", p, err)
	}
	w, _ := f.Writable()
	if err := f.Patch(0, p); err != nil || string(p) != "below" {
		t.Errorf("fork of a closed layer patches %q, %v", p, err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// What was closed must not pass for an image without changes.
	for _, closed := range []*layer.Layer{l, f} {
		if !closed.Touches(0, 1) {
			t.Error("a closed layer says that it changed nothing")
		}
		if err := closed.Patch(0, p); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Patch after Close: %v", err)
		}
	}
	if _, err := w.WriteAt(p, 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("WriteAt after Close: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestNoTempDir(t *testing.T) {
	l := layer.New(bytes.NewReader(make([]byte, 1<<20)), 1<<20, layer.MemoryLimit(0), layer.TempDir(t.TempDir()+"/missing"))
	defer l.Close()
	w, _ := l.Writable()
	if _, err := w.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("WriteAt without a folder for the temporary file: %v", err)
	}
	if e := l.Extents(); e != nil {
		t.Errorf("the failed write left %v", e)
	}
}

// TestConcurrent is for the race detector: forks are written while others of the
// same tree, and the frozen layer below, are read.
func TestConcurrent(t *testing.T) {
	const size = 4 << 20
	base := pattern(size, 1)
	root := layer.New(bytes.NewReader(base), size, layer.MemoryLimit(1<<20), layer.CacheSize(1<<20), layer.TempDir(t.TempDir()))
	defer root.Close()
	for i := range int64(100) {
		write(t, root, []byte{byte(i), 9}, i*30_011)
	}
	var wg sync.WaitGroup
	for k := range uint64(4) {
		f := root.Fork()
		wg.Go(func() {
			defer f.Close()
			w, _ := f.Writable()
			r := rand.New(rand.NewPCG(k, 0))
			p := make([]byte, 10_000)
			for range 300 {
				off := r.Int64N(size - 10_000)
				if _, err := w.WriteAt(pattern(10_000, r.Uint64()), off); err != nil {
					t.Error(err)
				}
				for _, l := range []*layer.Layer{f, root} {
					if _, err := l.ReadAt(p, off); err != nil {
						t.Error(err)
					}
					if err := l.Patch(off, p); err != nil {
						t.Error(err)
					}
				}
			}
			f.Extents()
		})
	}
	wg.Wait()
}

// slow is a base that is packed in blocks: it counts how many it must unpack, as
// if only the last one were at hand.
type slow struct {
	*bytes.Reader
	last, unpacked int64
}

func (s *slow) ReadAt(p []byte, off int64) (int, error) {
	const packed = 1 << 20
	for b := off / packed; b*packed < off+int64(len(p)); b++ {
		if b != s.last {
			s.last = b
			s.unpacked++
		}
	}
	return s.Reader.ReadAt(p, off)
}

// TestSmallReadsAreCheap reads as file systems do: a little here, a little there,
// and the same again.
func TestSmallReadsAreCheap(t *testing.T) {
	s := &slow{Reader: bytes.NewReader(make([]byte, 64<<20)), last: -1}
	l := layer.New(s, 64<<20)
	defer l.Close()
	p := make([]byte, 256)
	for i := range int64(10_000) {
		if _, err := l.ReadAt(p, (i%60)<<20+i%200*256); err != nil {
			t.Fatal(err)
		}
	}
	if s.unpacked > 60 {
		t.Errorf("unpacked %d blocks for reads in 60 of them", s.unpacked)
	}
}

// Changed has what all layers down to the base changed; Extents what the last one did.
func TestChanged(t *testing.T) {
	base := make([]byte, 200*layer.PageSize)
	l := layer.New(bytes.NewReader(base), int64(len(base)))
	defer l.Close()
	put := func(l *layer.Layer, page int64) { write(t, l, []byte{1}, page*layer.PageSize) }
	put(l, 3)
	put(l, 150)
	f := l.Fork()
	defer f.Close()
	put(f, 4)
	put(f, 9)
	page := func(first, n int64) layer.Extent {
		return layer.Extent{Off: first * layer.PageSize, Len: n * layer.PageSize}
	}
	if got, want := f.Extents(), []layer.Extent{page(4, 1), page(9, 1)}; !slices.Equal(got, want) {
		t.Errorf("extents %v, want %v", got, want)
	}
	if got, want := f.Changed(), []layer.Extent{page(3, 2), page(9, 1), page(150, 1)}; !slices.Equal(got, want) {
		t.Errorf("changed %v, want %v", got, want)
	}
}
