package fat

import (
	"io/fs"
	"regexp"
	"strconv"
	"testing"
)

// What EachFree calls free is in no file and no directory by mtools, and everything
// else is.
func TestEachFree(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			img := newImage(t, k, true)
			l := img.open(t)
			f, err := Open(l, 0, img.size, Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			args := []string{"-i", img.path}
			err = fs.WalkDir(f, ".", func(p string, d fs.DirEntry, err error) error {
				if p == "." {
					p = ""
				}
				if p != "" || k.bits == 32 {
					args = append(args, "::/"+p)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			used := map[int64]bool{}
			for _, run := range regexp.MustCompile(`<(\d+)(?:-(\d+))?>`).FindAllStringSubmatch(execute(t, "mshowfat", args...), -1) {
				first, err := strconv.ParseInt(run[1], 10, 64)
				last, err2 := strconv.ParseInt(run[2], 10, 64)
				if run[2] == "" {
					last, err2 = first, nil
				}
				if err != nil || err2 != nil || first < 2 {
					continue // an empty file
				}
				for c := first; c <= last; c++ {
					used[c] = true
				}
			}
			var free, end int64
			err = f.EachFree(func(off, n int64) {
				first := 2 + (off-f.layout.data)/f.layout.cluster
				if (off-f.layout.data)%f.layout.cluster != 0 || n%f.layout.cluster != 0 || n <= 0 || off < f.layout.data || end > 0 && off <= end {
					t.Fatalf("a run of %d bytes at %d, after one that ends at %d", n, off, end)
				}
				end = off + n
				for c := first; c < first+n/f.layout.cluster; c++ {
					if free++; used[c] {
						t.Fatalf("cluster %d is named free, and mshowfat has it in a file", c)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if all := int64(f.layout.last) - 1; free+int64(len(used)) != all || end > img.size || free != f.Info().FreeClusters {
				t.Fatalf("%d free and %d used clusters of %d; the runs end at %d of %d", free, len(used), all, end, img.size)
			}
			if f.Close(); f.EachFree(func(_, _ int64) {}) == nil {
				t.Error("a closed file system still answers")
			}
		})
	}
}
