package ext4

import (
	"fmt"
	"os"
	"testing"
)

// TestLocality counts the 64 KiB ranges that a typical set of edits touches:
// what one node's image costs beside the base.
func TestLocality(t *testing.T) {
	img := mkfs(t, layout{"", []string{"-b", "4096", "-O", "^64bit,^huge_file"}, "256M", nil}, tree(t))
	before, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	f := openImage(t, img, false)
	for _, d := range []string{"etc/systemd", "etc/systemd/system", "etc/ssh", "home", "home/pi", "home/pi/.ssh"} {
		if err := f.Mkdir(d); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		put(t, f, fmt.Sprintf("etc/ssh/key-%d", i), noise(800, uint32(i)))
		put(t, f, fmt.Sprintf("etc/systemd/system/unit-%d.service", i), noise(400, uint32(i)))
	}
	put(t, f, "home/pi/.ssh/authorized_keys", noise(200, 1))
	put(t, f, "etc/hostname", []byte("tom-nook\n"))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	touched := 0
	for off := 0; off < len(before); off += 64 << 10 {
		if string(before[off:off+64<<10]) != string(after[off:off+64<<10]) {
			touched++
		}
	}
	t.Logf("48 edits touched %d ranges of 64 KiB", touched)
	if touched > 12 {
		t.Errorf("the edits are scattered: they touched %d ranges of 64 KiB", touched)
	}
	fsck(t, img)
}
