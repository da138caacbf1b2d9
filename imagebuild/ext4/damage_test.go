package ext4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/diskfs/go-diskfs/backend"
)

// watched is storage in memory that notes when a byte in it changes.
type watched struct {
	memory
	changed bool
}

func (w *watched) Writable() (backend.WritableFile, error) { return w, nil }

func (w *watched) WriteAt(p []byte, off int64) (int, error) {
	if off >= 0 && off+int64(len(p)) <= int64(len(w.data)) && !bytes.Equal(w.data[off:off+int64(len(p))], p) {
		w.changed = true
	}
	return w.memory.WriteAt(p, off)
}

// target is an image with one directory or file whose blocks are to be damaged.
type target struct {
	img   []byte
	name  string
	inode uint32
	// blocks are where the parts lie that a patch names by number, and seal
	// makes the checksum of one right.
	blocks []part
	seal   func(img []byte, part int)
}

type part struct{ off, size int }

// patched is a copy of the image with records of a part, two bytes of offset
// and a value written into it.
func (g target) patched(patch []byte) []byte {
	img := bytes.Clone(g.img)
	for ; len(patch) >= 4; patch = patch[4:] {
		n := int(patch[0]) % len(g.blocks)
		p := g.blocks[n]
		img[p.off+(int(patch[1])|int(patch[2])<<8)%p.size] = patch[3]
		g.seal(img, n)
	}
	return img
}

// damaged is a file system in which something is wrong. Operations on it may
// fail, but those that do must write nothing.
type damaged struct {
	t  *testing.T
	st *watched
	f  *FS
}

// sync writes back what succeeded. It may fail, and goes on to fail, if a file
// that was emptied cannot give up its blocks.
func (d *damaged) sync() bool {
	d.t.Helper()
	err := d.f.Sync()
	var damage *CorruptError
	if err != nil && !errors.As(err, &damage) {
		d.t.Fatal(err)
	}
	return err == nil
}

// openDamaged opens the image, or returns nil if its damage is found out.
func openDamaged(t *testing.T, img []byte) *damaged {
	st := &watched{memory: newMemory(img)}
	f, err := Open(st, 0, int64(len(img)), Options{Time: testTime()})
	if err != nil {
		return nil
	}
	return &damaged{t, st, f}
}

func (d *damaged) try(what string, call func() error) bool {
	d.t.Helper()
	if !d.sync() {
		return false
	}
	d.st.changed = false
	err := call()
	if err == nil {
		return true
	}
	if d.sync() && d.st.changed {
		d.t.Fatalf("%s failed, but wrote: %v", what, err)
	}
	return false
}

// close ends the session: the file system can be opened again.
func (d *damaged) close(start time.Time) {
	d.t.Helper()
	if d.sync() {
		if err := d.f.Close(); err != nil {
			d.t.Fatal(err)
		}
	}
	if openDamaged(d.t, d.st.data) == nil {
		d.t.Fatal("the file system cannot be opened again")
	}
	if took := time.Since(start); took > 10*time.Second {
		d.t.Fatalf("took %v", took)
	}
}

// fuzzTarget makes an image with l, fills it, and locates the parts of name.
func fuzzTarget(f *testing.F, l layout, name string, fill func(*FS), locate func(*FS, *inode) []part, seal func(*inode, []byte, int)) target {
	f.Helper()
	img := mkfs(f, l, "")
	e := openImage(f, img, false)
	fill(e)
	if err := e.Close(); err != nil {
		f.Fatal(err)
	}
	fsck(f, img)
	g := target{name: name}
	var err error
	if g.img, err = os.ReadFile(img); err != nil {
		f.Fatal(err)
	}
	e, err = Open(newMemory(g.img), 0, int64(len(g.img)), Options{ReadOnly: true})
	if err != nil {
		f.Fatal(err)
	}
	in, err := e.find(name, false)
	if err != nil {
		f.Fatal(err)
	}
	g.blocks = locate(e, in)
	g.inode = in.ino
	g.seal = func(img []byte, n int) { seal(in, img[g.blocks[n].off:g.blocks[n].off+g.blocks[n].size], n) }
	return g
}

func csumLayout(features ...string) layout {
	return layout{"", []string{"-b", "1024", "-N", "64", "-O", strings.Join(append(features, "^has_journal", "^resize_inode"), ",")}, "1M", nil}
}

// directoryTargets are directories without an index, with one, and with one of two levels.
func directoryTargets(f *testing.F) []target {
	fill := func(names, length int) func(*FS) {
		return func(e *FS) {
			if err := e.Mkdir("d"); err != nil {
				f.Fatal(err)
			}
			put(f, e, "file", []byte("content"))
			for i := range names {
				if err := e.Link("file", fmt.Sprintf("d/%03d%s", i, strings.Repeat("-", length))); err != nil {
					f.Fatal(err)
				}
			}
		}
	}
	locate := func(e *FS, in *inode) (parts []part) {
		for n := range in.dirBlocks() {
			b, err := in.dirBlock(n)
			if err != nil {
				f.Fatal(err)
			}
			parts = append(parts, part{int(b.blk) * e.sb.blockSize, e.sb.blockSize})
		}
		return parts
	}
	seal := func(in *inode, data []byte, n int) { in.sealBlock(uint32(n), data) }
	var out []target
	for _, c := range []struct {
		names, length int
		features      []string
	}{
		{60, 20, []string{"^metadata_csum", "^dir_index"}},
		{60, 20, []string{"^metadata_csum"}},
		{60, 20, []string{"metadata_csum", "^dir_index"}},
		{60, 20, []string{"metadata_csum"}},
		{420, 240, []string{"metadata_csum"}},
	} {
		out = append(out, fuzzTarget(f, csumLayout(c.features...), "d", fill(c.names, c.length), locate, seal))
	}
	return out
}

// FuzzDirectory changes bytes of a directory, its index included, makes the
// checksums right, and then looks up, lists, adds, renames and removes entries.
// What is added must be found again.
func FuzzDirectory(f *testing.F) {
	targets := directoryTargets(f)
	for i := range targets {
		f.Add(byte(i), []byte{})
		for _, off := range []byte{0, 4, 6, 7, 12, 16, 24, 28, 30, 32, 34, 36, 40, 44} {
			f.Add(byte(i), []byte{0, off, 0, 0x21, 1, off, 0, 0xFF})
		}
	}
	f.Fuzz(func(t *testing.T, which byte, patch []byte) {
		start := time.Now()
		g := targets[int(which)%len(targets)]
		d := openDamaged(t, g.patched(patch))
		if d == nil {
			return
		}
		var names []string
		if entries, err := d.f.ReadDir("d"); err == nil {
			for _, e := range entries {
				names = append(names, "d/"+e.Name())
				_, _ = e.Info()
			}
		}
		for i := range 12 {
			_, _ = d.f.Lstat(fmt.Sprintf("d/%03d%s", i*5, strings.Repeat("-", 20)))
		}
		for i := range 30 {
			name := fmt.Sprintf("d/new-%d-%s", i, strings.Repeat("x", i*29%200))
			_, before := d.f.Lstat(name)
			if d.try("link", func() error { return d.f.Link("file", name) }) {
				if _, err := d.f.Lstat(name); err != nil {
					t.Fatalf("%q was added, and then: %v (before: %v)", name, err, before)
				}
			}
			if i%10 == 0 {
				d.try("mkdir", func() error { return d.f.Mkdir(name + "-dir") })
			}
		}
		for i, name := range names[:min(len(names), 60)] {
			switch i % 4 {
			case 0:
				d.try("rename", func() error { return d.f.Rename(name, name+"-renamed") })
			case 1:
				d.try("move", func() error { return d.f.Rename(name, fmt.Sprint("moved-", i)) })
			default:
				d.try("remove", func() error { return d.f.Remove(name) })
			}
		}
		d.try("rename", func() error { return d.f.Rename("d", "e") })
		d.close(start)
	})
}

// fileTargets are files with trees of extents and of pointers.
func fileTargets(f *testing.F) []target {
	fill := func(count, step int) func(*FS) {
		return func(e *FS) {
			file, err := e.OpenFile("file", os.O_RDWR|os.O_CREATE)
			if err != nil {
				f.Fatal(err)
			}
			for i := range count {
				if _, err := file.(*File).WriteAt(noise(1000, uint32(i)), int64(i*step)*1024); err != nil {
					f.Fatal(err)
				}
			}
			if err := file.Close(); err != nil {
				f.Fatal(err)
			}
			put(f, e, "other", noise(20000, 1))
		}
	}
	seal := func(in *inode, data []byte, n int) {
		le := binary.LittleEndian
		sb := in.fs.sb
		switch {
		case !sb.metadataCsum():
		case n == 0:
			c := sb.inodeChecksum(in.ino, data)
			le.PutUint16(data[iChecksumLo:], uint16(c))
			if hasChecksumHi(data) {
				le.PutUint16(data[iChecksumHi:], uint16(c>>16))
			}
		default:
			if tail := extentEntry * (1 + int(le.Uint16(data[4:]))); tail+4 <= len(data) {
				le.PutUint32(data[tail:], crc32c(in.seed(), data[:tail]))
			}
		}
	}
	var out []target
	for _, c := range []struct {
		count, step int
		features    []string
	}{
		{4, 2, []string{"^metadata_csum"}},
		{300, 2, []string{"^metadata_csum"}},
		{4, 2, []string{"metadata_csum"}},
		{400, 2, []string{"metadata_csum"}},
		{300, 2, []string{"^metadata_csum", "^extent", "^64bit"}},
		{30, 900, []string{"^metadata_csum", "^extent", "^64bit"}},
		{20, 9000, []string{"^metadata_csum", "^extent", "^64bit"}},
	} {
		out = append(out, fuzzTarget(f, csumLayout(c.features...), "file", fill(c.count, c.step), mapParts, seal))
	}
	return out
}

// mapParts are the inode, and the blocks that lead to a file's blocks.
func mapParts(e *FS, in *inode) []part {
	le, bs := binary.LittleEndian, e.sb.blockSize
	b, off, err := e.locate(in.ino)
	if err != nil {
		panic(err)
	}
	parts := []part{{int(b.blk)*bs + off, e.sb.inodeSize}}
	var walk func(node []byte, depth int)
	descend := func(blk uint64, depth int) {
		parts = append(parts, part{int(blk) * bs, bs})
		b, err := e.block(blk)
		if err != nil {
			panic(err)
		}
		walk(b.data, depth)
	}
	walk = func(node []byte, depth int) {
		if in.has(flagExtents) {
			for i := range int(le.Uint16(node[2:])) {
				if le.Uint16(node[6:]) > 0 {
					descend(uint64(le.Uint32(node[extentEntry*(i+1)+4:])), 0)
				}
			}
			return
		}
		for i := 0; depth > 0 && i < len(node)/4; i++ {
			if p := le.Uint32(node[4*i:]); p != 0 && depth > 0 {
				if depth > 1 {
					descend(uint64(p), depth-1)
				} else {
					parts = append(parts, part{int(p) * bs, bs})
				}
			}
		}
	}
	root := in.raw[iBlock : iBlock+iBlockLen]
	if in.has(flagExtents) {
		walk(root, 0)
		return parts
	}
	for i := 12; i < 15; i++ {
		if p := le.Uint32(root[4*i:]); p != 0 {
			descend(uint64(p), i-12)
		}
	}
	return parts
}

// FuzzExtents changes bytes of an inode and of the blocks that map its file,
// makes the checksums right, and then reads, writes, truncates and removes it.
func FuzzExtents(f *testing.F) {
	targets := fileTargets(f)
	for i := range targets {
		f.Add(byte(i), []byte{})
		for _, off := range []byte{4, iFlags + 2, iBlock, iBlock + 2, iBlock + 4, iBlock + 6, iBlock + 12, iBlock + 16, iBlock + 20, iBlock + 48} {
			f.Add(byte(i), []byte{0, off, 0, 0x21, 1, off - iBlock, 0, 0x03})
		}
	}
	f.Fuzz(func(t *testing.T, which byte, patch []byte) {
		start := time.Now()
		d := openDamaged(t, targets[int(which)%len(targets)].patched(patch))
		if d == nil {
			return
		}
		_, _ = d.f.Stat("file")
		_, _ = d.f.ReadDir("file")
		d.useFile(os.O_RDWR)
		d.useFile(os.O_RDWR | os.O_TRUNC)
		d.try("chmod", func() error { return d.f.Chmod("file", 0o600) })
		d.try("remove", func() error { return d.f.Remove("file") })
		d.close(start)
	})
}

// useFile reads and changes the file.
func (d *damaged) useFile(flag int) {
	opened, err := d.f.OpenFile("file", flag)
	if err != nil {
		return
	}
	file := opened.(*File)
	buf := make([]byte, 64<<10)
	for _, off := range []int64{0, 5000, 300 << 10, 700 << 10, 20 << 20, 1 << 31, 1<<42 - 1} {
		if _, err := file.ReadAt(buf, off); err == nil || err == io.EOF {
			continue
		}
	}
	for i, off := range []int64{0, 3000, 5 << 10, 17 << 10, 100 << 10, 600<<10 + 5, 30 << 20, 1 << 32} {
		d.try("write", func() error {
			_, err := file.WriteAt(noise(1500*(i%3+1), uint32(i)), off)
			return err
		})
	}
	for _, size := range []int64{31 << 20, 900 << 10, 601 << 10, 20000, 20000, 40000, 10, 0} {
		d.try("truncate", func() error { return file.Truncate(size) })
		d.try("write", func() error {
			_, err := file.WriteAt([]byte("patched"), size/2)
			return err
		})
	}
	d.try("close", file.Close)
}

// TestDamagedIndex adds names to a directory whose index leads to the wrong
// blocks. What could be added must be found to the end.
func TestDamagedIndex(t *testing.T) {
	img := mkfs(t, layout{"", []string{"-b", "1024", "-O", "^has_journal,^metadata_csum"}, "8M", nil}, "")
	f := openImage(t, img, false)
	put(t, f, "file", nil)
	if err := f.Mkdir("d"); err != nil {
		t.Fatal(err)
	}
	name := func(i int) string { return fmt.Sprintf("d/%d-%s", i, strings.Repeat("x", 100)) }
	for i := range 100 {
		if err := f.Link("file", name(i)); err != nil {
			t.Fatal(err)
		}
	}
	d, err := f.find("d", false)
	if err != nil {
		t.Fatal(err)
	}
	root, err := d.dirBlock(0)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(root.blk)*1024 + dxRootEntries + 5*dxEntry
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	st, size := storage(t, img)
	w, err := st.Writable()
	if err != nil {
		t.Fatal(err)
	}
	// The blocks of two neighbours in the index change places.
	entries := make([]byte, 2*dxEntry)
	if _, err := st.ReadAt(entries, at); err != nil {
		t.Fatal(err)
	}
	swapped := slices.Concat(entries[:4], entries[12:], entries[8:12], entries[4:8])
	if _, err := w.WriteAt(swapped, at); err != nil {
		t.Fatal(err)
	}
	if f, err = Open(st, 0, size, Options{Time: testTime()}); err != nil {
		t.Fatal(err)
	}
	var added []string
	refused := 0
	for i := 100; i < 1000; i++ {
		var damage *CorruptError
		switch err := f.Link("file", name(i)); {
		case err == nil:
			added = append(added, name(i))
		case errors.As(err, &damage):
			refused++
		default:
			t.Fatal(err)
		}
	}
	lost := 0
	err = f.update(func() error { // where a damaged index is not made up for by reading all blocks
		for _, n := range added {
			if at, err := f.walk(n, false); err != nil || at.ino == 0 {
				lost++
			}
		}
		return nil
	})
	if err != nil || refused == 0 || lost > 0 {
		t.Errorf("%d names were added, %d refused; %d of them cannot be found (%v)", len(added), refused, lost, err)
	}
}

// TestNoOrdinaryFile leads names to inodes that are none of files, and gives a
// file a size that none can have: what is there is left alone.
func TestNoOrdinaryFile(t *testing.T) {
	img := mkfs(t, layout{"", []string{"-b", "1024", "-O", "^metadata_csum"}, "16M", nil}, "")
	f := openImage(t, img, false)
	put(t, f, "file", noise(5000, 1))
	for _, c := range []struct {
		what   string
		damage func(root, file *inode) error
	}{
		{"the journal", func(root, _ *inode) error { return root.redirect("file", journalIno, 1) }},
		{"the resize inode", func(root, _ *inode) error { return root.redirect("file", resizeIno, 1) }},
		{"size", func(_, file *inode) error {
			file.setSize(1 << 42)
			return file.store()
		}},
	} {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(img)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Open(newMemory(data), 0, int64(len(data)), Options{Time: testTime()})
		if err != nil {
			t.Fatal(err)
		}
		err = d.update(func() error {
			root, err := d.inode(rootIno)
			if err != nil {
				return err
			}
			file, err := d.find("file", false)
			if err != nil {
				return err
			}
			return c.damage(root, file)
		})
		if err := errors.Join(err, d.Sync()); err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(data)
		if e, err := d.OpenFile("file", os.O_RDWR); err == nil {
			_, err := e.(*File).WriteAt([]byte("x"), 10000)
			t.Errorf("%s: it was opened for writing (and written: %v)", c.what, err)
		}
		for i, err := range []error{
			d.Remove("file"), d.Rename("file", "other"), d.Setxattr("file", "user.x", nil), d.Link("file", "link"),
		} {
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) {
				t.Errorf("%s: operation %d: %v", c.what, i, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, before) {
			t.Errorf("%s: something was written", c.what)
		}
	}
}
