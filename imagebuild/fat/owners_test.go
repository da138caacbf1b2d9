package fat

import (
	"io/fs"
	"strconv"
	"strings"
	"testing"
)

// Owners says of the clusters of every file what mshowfat says, and names the rest.
func TestOwners(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			img := newImage(t, k, true)
			f, err := Open(img.open(t), 0, img.size, Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for _, path := range []string{"cmdline.txt", "config.txt", "bcm2710-rpi-3-b-plus.dtb", "overlays/a-long-name-of-an-overlay-007.dtbo", "overlays"} {
				out := execute(t, "mshowfat", "-i", img.path, "::/"+path)
				first, _, _ := strings.Cut(out[strings.LastIndex(out, "<")+1:], ">")
				first, _, _ = strings.Cut(first, "-")
				c, err := strconv.ParseUint(first, 10, 32)
				if err != nil {
					t.Fatal(out)
				}
				want := "content of /" + path
				if info, err := fs.Stat(f, path); err != nil || info.IsDir() {
					want = "folder /" + path
				}
				at := f.layout.offset(uint32(c))
				what, err := f.Owners([]int64{0, f.layout.fat, at, at + f.layout.cluster - 1, f.layout.offset(f.layout.last)})
				if err != nil || what[0] != "boot sector" || what[1] != "file allocation table 1" || what[2] != want || what[3] != want || what[4] != "free space" {
					t.Errorf("got %q, %v, want %q", what, err, want)
				}
			}
		})
	}
}
