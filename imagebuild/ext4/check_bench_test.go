package ext4

import (
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// BenchmarkCheck checks a file system of 1 GiB with 20,000 files, and says how
// many times as long as e2fsck -fn that takes, asked in turn.
func BenchmarkCheck(b *testing.B) {
	img := mkfs(b, layout{"", []string{"-b", "4096", "-O", "^64bit,^huge_file"}, "1G", nil}, "")
	f := openImage(b, img, false)
	for d := range 200 {
		dir := fmt.Sprintf("dir-%d", d)
		if err := f.Mkdir(dir); err != nil {
			b.Fatal(err)
		}
		for i := range 100 {
			put(b, f, fmt.Sprintf("%s/a-file-of-%d", dir, i), noise((d*100+i)*37%30000, 1))
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	e2fsck := tooltest.Path(b, "e2fsck")
	var ours, peer time.Duration
	for b.Loop() {
		start := time.Now()
		if r, err := checkImage(b, img); err != nil || !r.Clean() {
			b.Fatal(r, err)
		}
		ours += time.Since(start)
		b.StopTimer()
		start = time.Now()
		if out, err := exec.Command(e2fsck, "-fn", img).CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		peer += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(float64(ours)/float64(peer), "x-e2fsck")
	b.ReportAllocs()
}
