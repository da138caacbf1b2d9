package ext4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend"
)

// orphanImage is an image with the files one to four, of which debugfs changes
// what the commands say. A % in them is followed by a file's name, and stands
// for its inode.
func orphanImage(t testing.TB, features string, commands ...string) (img string, inodes map[string]uint32) {
	t.Helper()
	dir := t.TempDir()
	for i, name := range []string{"one", "two", "three", "four"} {
		if err := os.WriteFile(filepath.Join(dir, name), noise(300000+i*1000, uint32(i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "dir"), 0o700), os.Symlink("one", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	value := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(value, noise(900, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	img = mkfs(t, layout{"", strings.Fields(features), "16M", nil}, dir)
	f := openImage(t, img, true)
	inodes = map[string]uint32{}
	var names []string
	for _, name := range []string{"one", "two", "three", "four", "dir", "link"} {
		in, err := f.find(name, false)
		if err != nil {
			t.Fatal(err)
		}
		inodes[name] = in.ino
		names = append(names, "%"+name, fmt.Sprint(in.ino))
	}
	script := "ea_set -f " + value + " /two user.large\n" + strings.NewReplacer(names...).Replace(strings.Join(commands, "\n"))
	list := filepath.Join(t.TempDir(), "commands")
	if err := os.WriteFile(list, []byte(script+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runTool(t, "debugfs", "-w", "-f", list, img)
	return img, inodes
}

// TestOrphanList has files without a name, and files that were being shortened, in the superblock's list.
func TestOrphanList(t *testing.T) {
	for _, features := range []string{
		"-b 1024 -O 64bit,metadata_csum", "-b 4096 -O ^64bit,^metadata_csum", "-t ext3 -b 1024", "-t ext3 -b 1024 -O ^has_journal",
	} {
		t.Run(features, func(t *testing.T) {
			img, _ := orphanImage(t, features,
				"ssv last_orphan %one", "unlink /one", "sif <%one> links_count 0", "sif <%one> dtime %two",
				"unlink /two", "sif <%two> links_count 0", "sif <%two> dtime %three",
				"sif <%three> size 12345", "sif <%three> dtime %four",
				"sif <%four> size 0", "sif <%four> dtime %dir",
				"unlink /dir", "sif <2> links_count 3", "sif <%dir> links_count 0", "sif <%dir> dtime 0")
			if r, want := recovered(t, img, os.Geteuid() == 0), (Recovery{Removed: 3, Truncated: 2}); r != want {
				t.Errorf("recovered %+v, want %+v", r, want)
			}
			f := openImage(t, img, false)
			if p, err := f.ReadFile("three"); err != nil || !bytes.Equal(p, noise(302000, 2)[:12345]) {
				t.Errorf("three: %d bytes, %v", len(p), err)
			}
			// What is behind the new end must not come back.
			file, err := f.OpenFile("three", os.O_RDWR)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(file.(*File).Truncate(14000), file.Close()); err != nil {
				t.Fatal(err)
			}
			p, err := f.ReadFile("three")
			if err != nil || len(p) != 14000 || len(bytes.Trim(p[12345:], "\x00")) > 0 {
				t.Errorf("three, longer again: %d bytes, %v", len(p), err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
		})
	}
}

// TestDamagedOrphans refuses lists that cannot be right, and writes nothing then.
func TestDamagedOrphans(t *testing.T) {
	for _, c := range []struct {
		name, want string
		commands   []string
	}{
		{"cycle", "the inode is in it twice", []string{"ssv last_orphan %one", "sif <%one> dtime %two", "sif <%two> dtime %one"}},
		{"itself", "the inode is in it twice", []string{"ssv last_orphan %one", "sif <%one> dtime %one"}},
		{"out of range", "no file can have this inode", []string{"ssv last_orphan %one", "sif <%one> dtime 99999999"}},
		{"first out of range", "no file can have this inode", []string{"ssv last_orphan 99999999"}},
		{"reserved", "no file can have this inode", []string{"ssv last_orphan 8"}},
		{"a free inode", "not in use", []string{"ssv last_orphan 300"}},
		{"a freed inode", "the inode is not in use", []string{"ssv last_orphan %one", "freei <%one>"}},
		{"a link", "nor a file that can be shortened", []string{"ssv last_orphan %link"}},
		{"blocks that are free", "already marked free", []string{"ssv last_orphan %one", "sif <%one> size 0", "freeb 1000 8000"}},
		{"blocks out of range", "reach out of the file system", []string{"ssv last_orphan %one", "sif <%one> block[5] 99999999"}},
		{"no orphan file", "but there is none", []string{"feature orphan_present"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			img, _ := orphanImage(t, "-b 1024 -O ^64bit,^metadata_csum", c.commands...)
			data := readAllOf(t, img)
			before := bytes.Clone(data)
			var damaged *CorruptError
			_, err := Open(newMemory(data), 0, int64(len(data)), Options{})
			if !errors.As(err, &damaged) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want a CorruptError that says %q", err, c.want)
			}
			if !bytes.Equal(before, data) {
				t.Error("it was written to")
			}
		})
	}
}

// TestOrphanFile puts orphans into an orphan file, and damages it.
func TestOrphanFile(t *testing.T) {
	img, inodes := orphanImage(t, "-b 1024 -O orphan_file,metadata_csum", "feature orphan_present",
		"unlink /two", "sif <%two> links_count 0", "sif <%three> size 5000")
	f := openImage(t, img, true)
	file, err := f.inode(f.sb.orphanFileIno)
	if err != nil {
		t.Fatal(err)
	}
	m, err := file.blocks()
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.block(m.lookup(3).phys)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	put := func(data []byte, entries map[int]uint32) []byte {
		clear(b.data[:len(b.data)-orphanTail])
		for at, ino := range entries {
			le.PutUint32(b.data[at:], ino)
		}
		le.PutUint32(b.data[len(b.data)-4:], file.orphanChecksum(b))
		out := bytes.Clone(data)
		copy(out[int(b.blk)*1024:], b.data)
		return out
	}
	clean := readAllOf(t, img)
	good := put(clean, map[int]uint32{0: inodes["two"], 1012: inodes["three"]})
	if err := os.WriteFile(img, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, want := recovered(t, img, os.Geteuid() == 0), (Recovery{Removed: 1, Truncated: 1}); r != want {
		t.Errorf("recovered %+v, want %+v", r, want)
	}
	at := int(b.blk) * 1024
	for what, data := range map[string][]byte{
		"checksum is":                 append(append(bytes.Clone(good[:at+8]), 1), good[at+9:]...),
		"magic number is":             append(append(bytes.Clone(good[:at+1016]), 1), good[at+1017:]...),
		"the inode is in it twice":    put(clean, map[int]uint32{0: inodes["two"], 8: inodes["two"]}),
		"no file can have this inode": put(clean, map[int]uint32{0: file.ino}),
	} {
		before := bytes.Clone(data)
		var damaged *CorruptError
		_, err := Open(newMemory(data), 0, int64(len(data)), Options{})
		if !errors.As(err, &damaged) || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want a CorruptError that says %q", err, what)
		}
		if !bytes.Equal(before, data) {
			t.Errorf("%s: it was written to", what)
		}
	}
}

// recorder is a storage that remembers where it was written to.
type recorder struct {
	backend.Storage
	target backend.WritableFile
	writes []int64
}

func (r *recorder) Writable() (w backend.WritableFile, err error) {
	r.target, err = r.Storage.Writable()
	return struct {
		backend.File
		io.WriterAt
	}{r.Storage, r}, err
}

func (r *recorder) WriteAt(p []byte, off int64) (int, error) {
	r.writes = append(r.writes, off)
	return r.target.WriteAt(p, off)
}

// TestManyOrphans has orphans whose inodes fill more blocks than the cache
// holds. The journal is replayed, and emptied, before any of them is written:
// whenever that is cut off, what is left can be recovered again.
func TestManyOrphans(t *testing.T) {
	const n, first, step, bs = 300, 300, 256, 65536 // a block holds 256 inodes
	img := mkfs(t, layout{"", []string{"-b", "65536", "-g", "2048", "-N", "100000", "-O", "^metadata_csum,^uninit_bg", "-J", "size=64"}, "256M", nil}, "")
	f := openImage(t, img, true)
	target := int64(f.sb.blocks-2) * bs
	var script bytes.Buffer
	fmt.Fprintf(&script, "ssv last_orphan %d\n", first)
	inGroup := map[uint32]uint32{}
	for i := range uint32(n) {
		ino, next := first+i*step, first+(i+1)*step
		if i == n-1 {
			next = 0
		}
		fmt.Fprintf(&script, "seti <%d>\nsif <%d> mode 0100600\nsif <%d> dtime %d\n", ino, ino, ino, next)
		inGroup[(ino-1)/f.sb.inodesPerGroup]++
	}
	for num := range uint32(2) { // which seti leaves alone
		g, err := f.group(num)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&script, "set_bg %d free_inodes_count %d\n", num, g.freeInodes()-inGroup[num])
	}
	content := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(content, noise(bs, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&script, "jo -c\njw -b %d %s\njc\n", target/bs, content)
	commands := filepath.Join(t.TempDir(), "commands")
	if err := os.WriteFile(commands, script.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	runTool(t, "debugfs", "-w", "-f", commands, img)
	st, size := storage(t, img)
	rec := &recorder{Storage: st}
	f, err := Open(rec, 0, size, Options{Time: testTime()})
	if err != nil {
		t.Fatal(err)
	}
	if r, want := f.Recovery(), (Recovery{Transactions: 1, Blocks: 1, Removed: n}); r != want {
		t.Errorf("recovered %+v, want %+v", r, want)
	}
	if want := []int64{target, journalBlock(t, img, 0)}; len(rec.writes) < n || !slices.Equal(rec.writes[:2], want) {
		t.Errorf("%d writes, the first are %d, want %d", len(rec.writes), rec.writes[:2], want)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, bs)
	if _, err := st.ReadAt(p, target); err != nil || !bytes.Equal(p, noise(bs, 1)) {
		t.Errorf("block %d does not hold what the journal did (%v)", target/bs, err)
	}
	fsck(t, img)
}
