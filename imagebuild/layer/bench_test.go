package layer_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/piimg/piimg/imagebuild/layer"
)

func baseFile(b *testing.B, size int) *os.File {
	f, err := os.CreateTemp(b.TempDir(), "base")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	if _, err := f.Write(pattern(size, 1)); err != nil {
		b.Fatal(err)
	}
	return f
}

// BenchmarkRead reads 256 bytes, as an inode is read, from an uncompressed base:
// within 4 MiB, as the inodes of one edit lie, and all over 64 MiB.
func BenchmarkRead(b *testing.B) {
	f := baseFile(b, 64<<20)
	for _, within := range []int64{4 << 20, 64 << 20} {
		for _, cache := range []int64{0, 8 << 20} {
			b.Run(fmt.Sprintf("within=%dM/cache=%dM", within>>20, cache>>20), func(b *testing.B) {
				l := layer.New(f, 64<<20, layer.CacheSize(cache))
				defer l.Close()
				r := rand.New(rand.NewPCG(1, 1))
				p := make([]byte, 256)
				for b.Loop() {
					if _, err := l.ReadAt(p, r.Int64N(within-256)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkPatch patches 1 MiB pieces of a 64 MiB image of which a node changed
// 100 pages, and the layer below 1000.
func BenchmarkPatch(b *testing.B) {
	root := layer.New(baseFile(b, 64<<20), 64<<20)
	defer root.Close()
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		write(b, root, []byte("changed"), r.Int64N(64<<20-7))
	}
	l := root.Fork()
	defer l.Close()
	for range 100 {
		write(b, l, []byte("again"), r.Int64N(64<<20-7))
	}
	p := make([]byte, 1<<20)
	b.SetBytes(1 << 20)
	for i := int64(0); b.Loop(); i++ {
		if l.Touches(i%64<<20, 1<<20) {
			if err := l.Patch(i%64<<20, p); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkWrite writes 1 MiB pieces: new ones, and such as are there already.
func BenchmarkWrite(b *testing.B) {
	for _, same := range []bool{false, true} {
		b.Run(fmt.Sprintf("same=%t", same), func(b *testing.B) {
			l := layer.New(baseFile(b, 64<<20), 64<<20, layer.TempDir(b.TempDir()))
			defer l.Close()
			p := make([]byte, 1<<20)
			if same {
				if _, err := l.ReadAt(p, 0); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(1 << 20)
			for i := int64(0); b.Loop(); i++ {
				off := i % 64 << 20
				if same {
					off = 0
				}
				write(b, l, p, off)
			}
		})
	}
}
