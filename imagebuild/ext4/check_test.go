package ext4

import (
	"os"
	"testing"
)

// checkImage runs Check on the file system that fills the image file.
func checkImage(t testing.TB, img string) *Report {
	t.Helper()
	st, size := storage(t, img)
	r, err := Check(st, 0, size, CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCheckClean(t *testing.T) {
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, tree(t))
			for _, f := range checkImage(t, img).Findings {
				t.Error(f)
			}
			if err := os.Truncate(img, 9<<20); err != nil {
				t.Fatal(err)
			}
			if r := checkImage(t, img); r.Clean() || r.Findings[0].Code != CodeSize {
				t.Errorf("truncated: %v", r.Findings)
			}
		})
	}
}
