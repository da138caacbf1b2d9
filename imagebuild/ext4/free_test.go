package ext4

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What EachFree calls free is what dumpe2fs does, run by run, before and after edits.
func TestEachFree(t *testing.T) {
	dir := tree(t)
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			img := mkfs(t, l, dir)
			compareFree(t, img)
			f := openImage(t, img, false)
			put(t, f, "new", make([]byte, 300_000))
			if err := f.Remove("etc/deep/er/data"); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			compareFree(t, img)
		})
	}
}

// compareFree compares EachFree with dumpe2fs, and two blocks of each run with debugfs.
func compareFree(t *testing.T, img string) {
	t.Helper()
	f := openImage(t, img, true)
	defer f.Close()
	size := int64(f.Info().BlockSize)
	got := map[int64]bool{}
	var ask []string
	end := int64(-1)
	err := f.EachFree(func(off, n int64) {
		if off%size != 0 || n%size != 0 || n <= 0 || off <= end {
			t.Fatalf("a run of %d bytes at %d, after one that ends at %d", n, off, end)
		}
		end = off + n
		ask = append(ask, fmt.Sprintf("testb %d 1", off/size), fmt.Sprintf("testb %d 1", off/size-1))
		for b := off / size; b < (off+n)/size; b++ {
			got[b] = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, line := range regexp.MustCompile(`(?m)^  Free blocks: (.*)$`).FindAllStringSubmatch(runTool(t, "dumpe2fs", img), -1) {
		for _, run := range strings.Split(line[1], ", ") {
			if run == "" {
				continue
			}
			first, last, several := strings.Cut(run, "-")
			if !several {
				last = first
			}
			from, err := strconv.ParseInt(first, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			to, err := strconv.ParseInt(last, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			for b := from; b <= to; b++ {
				if want++; !got[b] {
					t.Fatalf("block %d is free, and not named", b)
				}
			}
		}
	}
	if len(got) != want || uint64(want) != f.Info().FreeBlocks {
		t.Fatalf("%d blocks are named free, dumpe2fs names %d, the superblock counts %d", len(got), want, f.Info().FreeBlocks)
	}
	for i := 0; i < min(len(ask), 8); i += 2 {
		free := runTool(t, "debugfs", "-R", ask[i], img)
		used := runTool(t, "debugfs", "-R", ask[i+1], img)
		if !strings.Contains(free, "not in use") || strings.Contains(used, "not in use") {
			t.Fatalf("debugfs: %s: %s%s: %s", ask[i], free, ask[i+1], used)
		}
	}
}
