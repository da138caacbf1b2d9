package sink

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/source/xzfile"
)

// TestOpenImagesAreSmall opens as many images as a batch has, has each take a region of
// which a page is its own, and one that all share: what they keep must not be of the size
// of what they have copied.
func TestOpenImagesAreSmall(t *testing.T) {
	const images, size = 64, 4 << 20
	dir := t.TempDir()
	path := filepath.Join(dir, "base")
	shared := bytes.Repeat(sample(size, 7), 2)
	if err := os.WriteFile(path, shared, 0o600); err != nil {
		t.Fatal(err)
	}
	packed := output(t, "xz", "-0", "--block-size="+strconv.Itoa(size), "--stdout", path)
	base, err := xzfile.Open(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	hot := []layer.Extent{{Off: 4096, Len: 512 << 10}}
	x, err := NewXZ(base, hot)
	if err != nil {
		t.Fatal(err)
	}
	zst, err := NewZst(1)
	if err != nil {
		t.Fatal(err)
	}
	live := func() uint64 {
		for range 2 { // what lies in a pool lives through one collection
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, f := range []Format{x, zst, Raw{}} {
		t.Run(f.Name(), func(t *testing.T) {
			regions := []Region{
				{Len: size, Data: shared[:size], Own: hot, Patch: func(_ int64, p []byte) error { p[0] ^= 1; return nil }},
				{Off: size, Len: size, Data: shared[size:]},
			}
			for i := range regions {
				r := &regions[i]
				if r.Packed, err = f.Pack(context.Background(), Stretch{Off: r.Off, Len: r.Len, Data: r.Data}); err != nil {
					t.Fatal(err)
				}
			}
			before := live()
			for i := range images {
				s, err := f.Create(filepath.Join(dir, strconv.Itoa(i)+"."+f.Name()), 2*size)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Abort()
				for i := range regions {
					if err := s.Take(&regions[i]); err != nil {
						t.Fatal(err)
					}
				}
			}
			if kept := (int64(live()) - int64(before)) / images; kept > 128<<10 {
				t.Errorf("an open image keeps %d KiB", kept>>10)
			}
		})
	}
}
