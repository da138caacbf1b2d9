package ext4

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func benchImage(b *testing.B) []byte {
	b.Helper()
	img := mkfs(b, layout{"", []string{"-b", "4096", "-O", "^64bit,^huge_file"}, "256M", nil}, tree(b))
	data, err := os.ReadFile(img)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

func BenchmarkOpen(b *testing.B) {
	data := benchImage(b)
	for b.Loop() {
		f, err := Open(newMemory(data), 0, int64(len(data)), Options{Time: testTime()})
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEditOneFile(b *testing.B) {
	data := benchImage(b)
	i := 0
	for b.Loop() {
		f, err := Open(newMemory(data), 0, int64(len(data)), Options{Time: testTime()})
		if err != nil {
			b.Fatal(err)
		}
		i++
		put(b, f, "etc/hostname", []byte(fmt.Sprintf("node-%d\n", i)))
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreate1000Files(b *testing.B) {
	original := benchImage(b)
	data := bytes.Clone(original)
	content := noise(3000, 1)
	for b.Loop() {
		b.StopTimer()
		copy(data, original)
		b.StartTimer()
		f, err := Open(newMemory(data), 0, int64(len(data)), Options{Time: testTime()})
		if err != nil {
			b.Fatal(err)
		}
		for i := range 1000 {
			put(b, f, fmt.Sprintf("etc/file-%d", i), content)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGrow grows 2 GiB to 32 GiB, and reports what resize2fs takes for the
// same as a ratio of times, and how much is written.
func BenchmarkGrow(b *testing.B) {
	for _, l := range growLayouts("stretch", "bookworm") {
		b.Run(l.name, func(b *testing.B) {
			l.size = "2G"
			img := mkfs(b, l, "")
			var ours, theirs time.Duration
			var written, heap int64
			for b.Loop() {
				dir := b.TempDir()
				copies := []string{filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")}
				for _, c := range copies {
					runTool(b, "cp", "--sparse=always", img, c)
					if err := os.Truncate(c, 32<<30); err != nil {
						b.Fatal(err)
					}
				}
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				start := time.Now()
				f, storage := openFailing(b, copies[0], 1<<30)
				if err := f.Grow(32 << 30); err != nil {
					b.Fatal(err)
				}
				runtime.ReadMemStats(&after)
				if err := f.Close(); err != nil {
					b.Fatal(err)
				}
				ours += time.Since(start)
				heap = max(heap, int64(after.TotalAlloc-before.TotalAlloc))
				written = 0
				for _, w := range storage.writes {
					written += w[1] - w[0]
				}
				start = time.Now()
				runTool(b, "resize2fs", copies[1])
				theirs += time.Since(start)
				for _, c := range copies {
					os.Remove(c)
				}
			}
			b.ReportMetric(ours.Seconds()/float64(b.N), "s/grow")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "resize2fs/grow")
			b.ReportMetric(float64(written), "written-B")
			b.ReportMetric(float64(heap), "allocated-B")
		})
	}
}
