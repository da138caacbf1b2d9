package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/source/internal/imgtest"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// watchMemory calls fn and returns the most memory that the process had
// meanwhile, in bytes: all that is resident, buffers outside Go's heap too.
func watchMemory(t testing.TB, fn func()) (peak int64) {
	resident := func() int64 {
		var size, pages int64
		text, err := os.ReadFile("/proc/self/statm")
		if err == nil {
			_, err = fmt.Sscan(string(text), &size, &pages)
		}
		if err != nil {
			t.Skip("no way to see this process's memory: ", err)
		}
		return pages * int64(os.Getpagesize())
	}
	debug.FreeOSMemory() // of earlier tests
	resident()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, resident())
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	fn()
	close(done)
	wg.Wait()
	return peak
}

// TestMemory reads an image with blocks and dictionaries as xz -6 makes them,
// from end to end and at random, with more workers than fit.
func TestMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes memory of its own")
	}
	tooltest.Need(t, "xz")
	const size = 7*24<<20 + 12345
	path := imgtest.Write(t, "a.xz", nil)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("xz", "-c", "-T2", "--block-size=24MiB", "--lzma2=preset=0,dict=8MiB,mode=fast,mf=hc3,nice=4")
	cmd.Stdout = f
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	w := sha256.New()
	writeDull(io.MultiWriter(in, w), size)
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	f.Close()

	peak := watchMemory(t, func() {
		m := opened(t, path, Options{Workers: 8})
		h := sha256.New()
		zeros := make([]byte, zeroRun)
		err := m.Scan(context.Background(), func(c Chunk) error {
			h.Write(c.Data)
			for n := c.Len - int64(len(c.Data)); n > 0; n -= int64(len(zeros)) {
				h.Write(zeros[:min(n, zeroRun)])
			}
			return nil
		})
		if err != nil || hex.EncodeToString(h.Sum(nil)) != hex.EncodeToString(w.Sum(nil)) {
			t.Errorf("wrong bytes, %v", err)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for range 40 {
			if _, err := m.ReadAt(make([]byte, 4096), rng.Int64N(size-4096)); err != nil {
				t.Error(err)
			}
		}
	})
	t.Logf("peak: %d MiB", peak>>20)
	if peak > 224<<20 { // the rest of a build needs some as well
		t.Errorf("it took %d MiB", peak>>20)
	}
}

// writeDull writes size bytes that pack into some matches and literals.
func writeDull(w io.Writer, size int) {
	rng := rand.New(rand.NewPCG(1, 2))
	words := make([]byte, 4096)
	for i := range words {
		words[i] = byte(rng.Uint32())
	}
	buf := make([]byte, 0, 1<<20)
	buf = append(buf, imgtest.Image(512, 1)...)
	for size > 0 {
		for len(buf) < 1<<20-256 {
			i := rng.IntN(len(words) - 200)
			buf = append(buf, words[i:i+100+rng.IntN(100)]...)
			buf = append(buf, byte(rng.Uint32()))
		}
		n := min(size, len(buf))
		w.Write(buf[:n])
		size -= n
		buf = buf[:0]
	}
}

// BenchmarkScan reads a packed image of real size, whose path is in
// PIIMG_BENCH_IMAGE, from end to end. Beside it stands what xz takes for it.
func BenchmarkScan(b *testing.B) {
	path := os.Getenv("PIIMG_BENCH_IMAGE")
	if path == "" {
		b.Skip("set PIIMG_BENCH_IMAGE to the path of an .img.xz")
	}
	cache := b.TempDir()
	b.Run("piimg", func(b *testing.B) {
		for b.Loop() {
			peak := watchMemory(b, func() {
				m := opened(b, path, Options{CacheDir: cache})
				b.SetBytes(m.Size())
				if err := m.Scan(context.Background(), func(Chunk) error { return nil }); err != nil {
					b.Fatal(err)
				}
			})
			b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
		}
	})
	for _, threads := range []string{"-T2", "-T1"} {
		b.Run("xz"+threads, func(b *testing.B) {
			m := opened(b, path, Options{CacheDir: cache})
			b.SetBytes(m.Size())
			for b.Loop() {
				if err := exec.Command("sh", "-c", `xz -dc "$1" "$2" >/dev/null`, "sh", threads, path).Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
