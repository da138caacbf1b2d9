package ext4

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// crashImage is a small image that needs all of recovery: its journal holds
// what is in its first blocks anyway, and revokes some; it has orphans.
func crashImage(t testing.TB, features, open, present string) []byte {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"one", "two", "three"} {
		if err := os.WriteFile(filepath.Join(dir, name), noise(30000, 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	img := mkfs(t, layout{"", append(strings.Fields(features), "-b", "1024", "-N", "128", "-J", "size=1"), "4M", nil}, dir)
	debugfs := func(lines ...string) {
		commands := filepath.Join(dir, "commands")
		if err := os.WriteFile(commands, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		runTool(t, "debugfs", "-w", "-f", commands, img)
	}
	debugfs("ssv last_orphan 13", "sif <13> links_count 0", "sif <13> dtime 14", "sif <14> size 777", present)
	g, err := openImage(t, img, true).group(0)
	if err != nil {
		t.Fatal(err)
	}
	table := g.inodeTable()
	var list []string
	var content []byte
	data := readAllOf(t, img)
	for _, b := range []uint64{table, table + 1, table + 2, table + 3, g.blockBitmap(), g.inodeBitmap()} {
		list = append(list, fmt.Sprint(b))
		content = append(content, data[b*1024:][:1024]...)
	}
	file := filepath.Join(dir, "content")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	revoke := "jw -r " + list[0] + "," + list[1] + " /dev/null"
	if open == "-c" {
		revoke = "" // see journalImage
	}
	debugfs("jo "+open, "jw -b "+strings.Join(list, ",")+" "+file, revoke, "jw -b "+list[0]+" "+file, "jc")
	return readAllOf(t, img)
}

// written are the pieces of an image, of 1 KiB each, that differ from an empty one's.
func written(data []byte) (at []int) {
	for off := 1024; off < len(data); off += 1024 {
		if len(bytes.Trim(data[off:off+1024], "\x00")) > 0 {
			at = append(at, off)
		}
	}
	return at
}

// FuzzJournal changes an image that was not unmounted cleanly, a few bytes of
// what is not zero in it (records of a 24-bit offset and two bytes), and opens
// it for writing. That may fail, but then nothing was written; or else there is
// nothing left to be recovered.
func FuzzJournal(f *testing.F) {
	images := [][]byte{
		crashImage(f, "-O ^metadata_csum,^64bit,^resize_inode", "", ""),
		crashImage(f, "-O ^metadata_csum,64bit,^resize_inode,orphan_file", "-c", "feature orphan_present"),
		crashImage(f, "-O metadata_csum,64bit,^resize_inode", "-c -v 3", ""),
	}
	var places [][]int
	for i, img := range images {
		places = append(places, written(img))
		data := bytes.Clone(img)
		e, err := Open(newMemory(data), 0, int64(len(data)), Options{})
		if err != nil {
			f.Fatal(err)
		}
		if r := e.Recovery(); r.Transactions < 2 || r.Blocks < 5 || r.Removed != 1 || r.Truncated != 1 {
			f.Fatalf("image %d: %+v", i, r)
		}
		f.Add(byte(i), []byte{})
		for off := 0; off < 1024*len(places[i]); off += 4093 {
			f.Add(byte(i), []byte{byte(off), byte(off >> 8), byte(off >> 16), 0xFF, byte(off)})
		}
	}
	f.Fuzz(func(t *testing.T, which byte, patch []byte) {
		i := int(which) % len(images)
		img, place := bytes.Clone(images[i]), places[i]
		for ; len(patch) >= 5; patch = patch[5:] {
			off := (int(patch[0]) | int(patch[1])<<8 | int(patch[2])<<16) % (1024*len(place) - 1)
			off = min(place[off/1024]+off%1024, len(img)-2)
			img[off], img[off+1] = patch[3], patch[4]
		}
		before, start := bytes.Clone(img), time.Now()
		e, err := Open(newMemory(img), 0, int64(len(img)), Options{Time: testTime()})
		switch {
		case err != nil && !bytes.Equal(before, img):
			t.Errorf("it was written to, but: %v", err)
		case err == nil:
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			again, err := Open(newMemory(img), 0, int64(len(img)), Options{Time: testTime()})
			if err != nil {
				t.Errorf("after recovery %+v: %v", e.Recovery(), err)
			} else if again.Recovery() != (Recovery{}) {
				t.Errorf("recovered %+v, and then %+v", e.Recovery(), again.Recovery())
			}
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("took %v", d)
		}
	})
}
