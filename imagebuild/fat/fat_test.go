package fat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/fat16"
	"github.com/diskfs/go-diskfs/filesystem/fat32"

	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

func kindNamed(name string) kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	panic(name)
}

func open(t testing.TB, l *layer.Layer) *FS {
	t.Helper()
	f, err := Open(l, 0, l.Size(), Options{Time: buildTime})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func writeString(t testing.TB, f *FS, name, s string) {
	t.Helper()
	if err := f.WriteFile(name, strings.NewReader(s), int64(len(s))); err != nil {
		t.Fatal(err)
	}
}

func TestReadingAsFS(t *testing.T) {
	for _, name := range []string{"stretch", "fat16"} {
		t.Run(name, func(t *testing.T) {
			img := newImage(t, kindNamed(name), true)
			f := open(t, img.open(t))
			if err := f.Mkdir("new"); err != nil {
				t.Fatal(err)
			}
			writeString(t, f, "new/File with a long name.txt", "hello")
			if err := fstest.TestFS(f, "cmdline.txt", "EMPTY", "Größe und Übermaß.txt", "overlays/a-long-name-of-an-overlay-059.dtbo", "new/File with a long name.txt"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestGoDiskfs has go-diskfs's own reader look at what was written.
func TestGoDiskfs(t *testing.T) {
	read := map[int]func(l *layer.Layer) (filesystem.FileSystem, error){
		16: func(l *layer.Layer) (filesystem.FileSystem, error) { return fat16.Read(l, l.Size(), 0, 512) },
		32: func(l *layer.Layer) (filesystem.FileSystem, error) { return fat32.Read(l, l.Size(), 0, 512) },
	}
	for _, name := range []string{"stretch", "fat16"} {
		k := kindNamed(name)
		l := newImage(t, k, true).open(t)
		f := open(t, l)
		if err := errors.Join(f.Mkdir("a"), f.Mkdir("a/b")); err != nil {
			t.Fatal(err)
		}
		writeString(t, f, "a/b/A long name.txt", strings.Repeat("hello ", 1000))
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		g, err := read[k.bits](l)
		if err != nil {
			t.Fatal(err)
		}
		b, err := g.ReadFile("a/b/A long name.txt")
		if err != nil || string(b) != strings.Repeat("hello ", 1000) {
			t.Errorf("%s: go-diskfs reads %d bytes, %v", name, len(b), err)
		}
	}
}

func TestTimes(t *testing.T) {
	img := newImage(t, kindNamed("stretch"), true)
	l := img.open(t)
	f := open(t, l)
	check := func(name string, created, modified, accessed string) {
		t.Helper()
		st, err := f.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		s := st.Sys().(*Stat)
		const layout = "2006-01-02 15:04:05.00"
		got := []string{s.Created.Format(layout), st.ModTime().Format(layout), s.Accessed.Format("2006-01-02")}
		if want := []string{created, modified, accessed}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: created, modified, accessed %q, want %q", name, got, want)
		}
	}
	writeString(t, f, "new.txt", "hello")
	check("new.txt", "2024-11-19 11:34:57.89", "2024-11-19 11:34:56.00", "2024-11-19")
	before, _ := f.Stat("cmdline.txt")
	old := before.Sys().(*Stat).Created.Format("2006-01-02 15:04:05.00")
	writeString(t, f, "cmdline.txt", "other")
	check("cmdline.txt", old, "2024-11-19 11:34:56.00", "2024-11-19")

	early, late := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := f.Chtimes("new.txt", time.Time{}, early, late); err != nil {
		t.Fatal(err)
	}
	check("new.txt", "2024-11-19 11:34:57.89", "2107-12-31 23:59:58.00", "1980-01-01")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	img.with(t, l, func(p string) {
		if out := execute(t, "mdir", "-i", p, "::cmdline.txt"); !strings.Contains(out, "2024-11-19  11:34") {
			t.Errorf("mdir: %s", out)
		}
		fsck(t, tooltest.Path(t, "fsck.fat"), p)
	})
}

func TestNames(t *testing.T) {
	f := open(t, newImage(t, kindNamed("stretch"), false).open(t))
	for _, name := range []string{"a:b", "a*b", "a?b", `a"b`, "a<b", "a>b", "a|b", `a\b`, "a\x01b", "a\x7f", "end.", "end ", "a\xffb", strings.Repeat("x", 256), strings.Repeat("😀", 128)} {
		if err := f.WriteFile(name, strings.NewReader(""), 0); err == nil {
			t.Errorf("made a file called %q", name)
		}
		if err := f.Mkdir(name); err == nil {
			t.Errorf("made a directory called %q", name)
		}
	}
	for _, name := range []string{"", "..", "a//b", "a/", "//a", "./a"} {
		if err := f.Mkdir(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Mkdir(%q): %v", name, err)
		}
	}
	if err := f.Mkdir("missing/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Mkdir below a directory that is missing: %v", err)
	}
	if i := f.Info(); i.FreeClusters != i.Clusters-1 {
		t.Errorf("%d of %d clusters are free after no change", i.FreeClusters, i.Clusters)
	}
	for _, name := range []string{strings.Repeat("x", 255), "/" + strings.Repeat("😀", 127), "thirteen-char", "[+,;=]"} {
		writeString(t, f, name, "x")
		if b, err := f.ReadFile(strings.ToUpper(strings.TrimPrefix(name, "/"))); err != nil || string(b) != "x" {
			t.Errorf("%q reads %q, %v", name, b, err)
		}
	}
}

func TestShortNames(t *testing.T) {
	f := open(t, newImage(t, kindNamed("stretch"), false).open(t))
	for _, c := range []struct{ name, short string }{
		{"README.TXT", "README.TXT"},
		{"config.txt", "CONFIG.TXT"},
		{"textfile-1.txt", "TEXTFI~1.TXT"},
		{"textfile-2.txt", "TEXTFI~2.TXT"},
		{"a b.txt", "AB~1.TXT"},
		{"AB.TXT", "AB.TXT"},
		{".profile", "PROFIL~1"},
		{"archive.tar.gz", "ARCHIV~1.GZ"},
		{"foo.conf", "FOO~1.CON"},
		{"foo.con", "FOO.CON"},
		{"Łódź", "__D_~1"},
		{"...", ""}, // ends in a dot
		{"+", "_~1"},
	} {
		err := f.WriteFile(c.name, strings.NewReader(c.name), int64(len(c.name)))
		if c.short == "" {
			if err == nil {
				t.Errorf("made %q", c.name)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		st, err := f.Stat(c.short)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := st.Sys().(*Stat).ShortName; got != c.short || st.Name() != c.name {
			t.Errorf("%s is called %s and %s, want %s", c.name, st.Name(), got, c.short)
		}
	}
	for i := range 120 {
		writeString(t, f, fmt.Sprintf("textfile number %d.txt", i), "x")
	}
	if _, err := f.Stat("TEXT~100.TXT"); err != nil {
		t.Error(err)
	}
}

func TestFull(t *testing.T) {
	img := newImage(t, kindNamed("tiny-fat16"), true)
	l := img.open(t)
	f := open(t, l)
	err := f.WriteFile("big", io.LimitReader(zeros{}, 10<<20), 10<<20)
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "20480 clusters are needed") {
		t.Errorf("WriteFile of what doesn't fit: %v", err)
	}
	if _, err := f.Stat("big"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it left the file: %v", err)
	}
	free := f.Info().FreeClusters * f.Info().ClusterSize
	if err := f.WriteFile("all", io.LimitReader(zeros{}, free), free); err != nil {
		t.Fatal(err)
	}
	if err := f.Mkdir("dir"); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Mkdir on a full file system: %v", err)
	}
	writeString(t, f, "empty", "") // needs no cluster
	if err := f.Remove("all"); err != nil {
		t.Fatal(err)
	}
	var n int
	for err = nil; err == nil; n++ {
		err = f.WriteFile(fmt.Sprintf("file number %d", n), strings.NewReader(""), 0)
	}
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "room for 256 entries") {
		t.Errorf("a full root directory: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	img.with(t, l, func(p string) { fsck(t, tooltest.Path(t, "fsck.fat"), p) })
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTooLarge(t *testing.T) {
	f := open(t, newImage(t, kindNamed("stretch"), false).open(t))
	if err := f.WriteFile("x", zeros{}, 1<<32); !errors.Is(err, ErrTooLarge) {
		t.Errorf("WriteFile of 4 GiB: %v", err)
	}
	h, err := f.OpenFile("y", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	h.Seek(1<<32-1, io.SeekStart)
	if _, err := h.Write([]byte("x")); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Write behind 4 GiB: %v", err)
	}
}

// TestWrongSize is about readers that hold less or more than was said.
func TestWrongSize(t *testing.T) {
	f := open(t, newImage(t, kindNamed("stretch"), true).open(t))
	for _, size := range []int64{3, 7, -1} {
		if err := f.WriteFile("new", strings.NewReader("hello"), size); err == nil {
			t.Errorf("WriteFile of 5 bytes as %d succeeded", size)
		}
		if _, err := f.Stat("new"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it left the file: %v", err)
		}
	}
}

func TestBoundedMemory(t *testing.T) {
	l := newImage(t, kindNamed("bookworm"), false).open(t)
	f := open(t, l)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := f.WriteFile("x", io.LimitReader(zeros{}, 200<<20), 200<<20); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
		t.Errorf("writing 200 MiB took %d KiB of memory", n>>10)
	}
}

// TestOverwriteInPlace is about the number of pages that an edit touches.
func TestOverwriteInPlace(t *testing.T) {
	l := newImage(t, kindNamed("bookworm"), true).open(t)
	for _, how := range []string{"WriteFile", "OpenFile"} {
		n := l.Fork()
		defer n.Close()
		f := open(t, n)
		d := bytes.Repeat([]byte("x"), 30_000)
		if how == "WriteFile" {
			if err := f.WriteFile("bcm2710-rpi-3-b-plus.dtb", bytes.NewReader(d), 30_000); err != nil {
				t.Fatal(err)
			}
		} else if err := stream(f, "bcm2710-rpi-3-b-plus.dtb", os.O_RDWR|os.O_TRUNC, d); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		var pages int64
		for _, e := range n.Extents() {
			pages += e.Len / layer.PageSize
		}
		if pages > 12 { // 30,000 bytes, the directory, FSInfo, and perhaps two FATs
			t.Errorf("%s of 30,000 bytes in place changed %d pages: %v", how, pages, n.Extents())
		}
	}
}

func TestSameBytesTwice(t *testing.T) {
	img := newImage(t, kindNamed("trixie"), true)
	var first []byte
	for range 2 {
		l := img.open(t)
		f := open(t, l)
		for i := range 50 {
			writeString(t, f, fmt.Sprintf("file number %d", i%30), strings.Repeat("x", i*100))
		}
		if err := f.RemoveAll("overlays"); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		var all []byte
		for _, e := range l.Extents() {
			p := make([]byte, e.Len)
			if _, err := l.ReadAt(p, e.Off); err != nil {
				t.Fatal(err)
			}
			all = fmt.Appendf(all, "%v %x", e, p)
		}
		if first != nil && !bytes.Equal(first, all) {
			t.Error("the same edits gave different bytes")
		}
		first = all
	}
}

func TestReadOnly(t *testing.T) {
	l := newImage(t, kindNamed("stretch"), true).open(t)
	l.Fork()
	if _, err := Open(l, 0, l.Size(), Options{}); !errors.Is(err, layer.ErrFrozen) {
		t.Errorf("Open of a frozen layer for writing: %v", err)
	}
	f, err := Open(l, 0, l.Size(), Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"WriteFile": f.WriteFile("x", zeros{}, 0), "Mkdir": f.Mkdir("x"), "Remove": f.Remove("cmdline.txt"),
		"RemoveAll": f.RemoveAll("x"), "Rename": f.Rename("cmdline.txt", "x"), "SetLabel": f.SetLabel("x"),
		"Chtimes": f.Chtimes("cmdline.txt", buildTime, buildTime, buildTime),
	} {
		if !errors.Is(err, filesystem.ErrReadonlyFilesystem) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := f.OpenFile("cmdline.txt", os.O_RDWR); !errors.Is(err, filesystem.ErrReadonlyFilesystem) {
		t.Errorf("OpenFile: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open("cmdline.txt"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Open after Close: %v", err)
	}
}

func TestSetLabel(t *testing.T) {
	for _, name := range []string{"bookworm", "fat16-one-fat"} {
		img := newImage(t, kindNamed(name), true)
		l := img.open(t)
		f := open(t, l)
		for _, label := range []string{"PIIMG", "eleven char", "", "boot fs"} {
			if err := f.SetLabel(label); err != nil {
				t.Fatal(err)
			}
			if got := f.Label(); got != label {
				t.Errorf("%s: the label is %q, want %q", name, got, label)
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			img.with(t, l, func(p string) { fsck(t, tooltest.Path(t, "fsck.fat"), p) })
		}
		for _, label := range []string{"twelve chars", "a.b", " x", "Ä"} {
			if err := f.SetLabel(label); err == nil {
				t.Errorf("set the label %q", label)
			}
		}
	}
}

func TestHandlesOfWhatIsGone(t *testing.T) {
	f := open(t, newImage(t, kindNamed("stretch"), true).open(t))
	h, err := f.OpenFile("cmdline.txt", os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Remove("cmdline.txt"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Write([]byte("x")); !errors.Is(err, errGone) {
		t.Errorf("Write to a removed file: %v", err)
	}
	if _, err := h.Read(make([]byte, 1)); !errors.Is(err, errGone) {
		t.Errorf("Read of a removed file: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := h.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

// TestDamage changes single bytes of a sound file system.
func TestDamage(t *testing.T) {
	le := binary.LittleEndian
	img := newImage(t, kindNamed("stretch"), true)
	sound, err := os.ReadFile(img.path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := parseBoot(sound, img.size)
	if err != nil {
		t.Fatal(err)
	}
	slot := func(b []byte, name string) []byte {
		i := bytes.Index(b[l.data:], []byte(name))
		return b[l.data+int64(i):][:slotSize]
	}
	setFAT := func(b []byte, n, v uint32) {
		for i := range int64(2) {
			le.PutUint32(b[l.fat+i*l.fatSize+int64(n)*4:], v)
		}
	}
	cmdline := uint32(le.Uint16(slot(sound, "CMDLINE TXT")[26:]))
	config := uint32(le.Uint16(slot(sound, "CONFIG  TXT")[26:]))
	dir := uint32(le.Uint16(slot(sound, "OVERLAYS   ")[26:]))
	for _, c := range []struct {
		want   string
		damage func(b []byte)
	}{
		{"boot sector: it doesn't end in 55 aa, but in 00 aa", func(b []byte) { b[510] = 0 }},
		{"invalid sector size 513", func(b []byte) { b[11] = 1 }},
		{"sectors of 32768 bytes", func(b []byte) { le.PutUint16(b[11:], 32768) }},
		{"3 sectors per cluster", func(b []byte) { b[13] = 3 }},
		{"0 sectors per cluster", func(b []byte) { b[13] = 0 }},
		{"no reserved sectors", func(b []byte) { b[14], b[15] = 0, 0 }},
		{"no file allocation table", func(b []byte) { b[16] = 0 }},
		{"3 file allocation tables is not supported", func(b []byte) { b[16] = 3 }},
		{"the image is truncated", func(b []byte) { le.PutUint32(b[32:], 1<<20) }},
		{"media byte 00", func(b []byte) { b[21] = 0 }},
		{"no room for files", func(b []byte) { le.PutUint32(b[32:], 100) }},
		{"FAT32 version 1.0 is not supported", func(b []byte) { b[43] = 1 }},
		{"that do not mirror each other is not supported", func(b []byte) { b[40] = 0x81 }},
		{"the root directory is in cluster 1,", func(b []byte) { b[44] = 1 }},
		{"the root directory is in cluster 2147483650,", func(b []byte) { b[47] = 0x80 }},
		{"clusters, but the file allocation table has 512 bytes", func(b []byte) { le.PutUint32(b[36:], 1) }},
		{"its two copies differ at the entry of cluster 5", func(b []byte) { b[l.fat+l.fatSize+21]++ }},
		{`entry "config.txt": its chain leads to cluster 200000, which is none of 2 to`, func(b []byte) { setFAT(b, config, 200_000) }},
		{`entry "cmdline.txt": its chain leads to cluster 3, which is free`, func(b []byte) { setFAT(b, cmdline, 0) }},
		{`which is marked bad`, func(b []byte) { setFAT(b, cmdline, 0x0ffffff7) }},
		{"is used twice", func(b []byte) { setFAT(b, config, config) }},
		{"is used twice", func(b []byte) { setFAT(b, cmdline, config) }},
		{"is used twice", func(b []byte) { setFAT(b, dir, dir) }},
		{"is used twice", func(b []byte) { setFAT(b, 2, 2) }},
		{`entry "overlays": cluster 2 is used twice`, func(b []byte) { le.PutUint16(slot(b, "OVERLAYS   ")[26:], 2) }},
		{"a directory without a cluster", func(b []byte) { le.PutUint16(slot(b, "OVERLAYS   ")[26:], 0) }},
		{"150 bytes, but no cluster", func(b []byte) { le.PutUint16(slot(b, "CMDLINE TXT")[26:], 0) }},
		{`4294967295 bytes, but clusters for 512`, func(b []byte) { le.PutUint32(slot(b, "CMDLINE TXT")[28:], 1<<32-1) }},
		{`two entries have the short name "EMPTY"`, func(b []byte) { copy(slot(b, "CMDLINE TXT"), "EMPTY      ") }},
		{`no such name can be used`, func(b []byte) { copy(slot(b, "CMDLINE TXT"), "A/B") }},
	} {
		b := bytes.Clone(sound)
		c.damage(b)
		_, err := Open(layer.New(bytes.NewReader(b), int64(len(b))), 0, int64(len(b)), Options{})
		var ce *CorruptError
		var ue *UnsupportedError
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &ce) && !errors.As(err, &ue) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if _, err := Open(layer.New(bytes.NewReader(sound), int64(len(sound))), 0, 40<<20, Options{}); err == nil || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("a partition that is too small: %v", err)
	}
}

func TestFAT12(t *testing.T) {
	img := newImage(t, kind{"fat12", 1440 << 10, []string{"-F", "12"}, 12}, false)
	l := img.open(t)
	_, err := Open(l, 0, l.Size(), Options{})
	var u *UnsupportedError
	if !errors.As(err, &u) || !strings.Contains(err.Error(), "FAT12") {
		t.Errorf("Open of FAT12: %v", err)
	}
	boot := make([]byte, 512)
	l.ReadAt(boot, 0)
	if got := Probe(boot); got != "fat12" {
		t.Errorf("Probe = %q", got)
	}
}

// TestDirty is about file systems that were not unmounted.
func TestDirty(t *testing.T) {
	for _, name := range []string{"stretch", "fat16"} {
		for _, mark := range []string{"boot sector", "FAT"} {
			img := newImage(t, kindNamed(name), true)
			l := img.open(t)
			lay := open(t, l).layout
			w, _ := l.Writable()
			var b [4]byte
			if mark == "FAT" {
				for _, off := range []int64{lay.fat, lay.fat + lay.fatSize} {
					n := int64(lay.bits / 8)
					l.ReadAt(b[:n], off+n)
					b[n-1] &= 0x77
					w.WriteAt(b[:n], off+n)
				}
			} else {
				w.WriteAt([]byte{1}, int64(lay.stateField()))
			}
			f := open(t, l)
			if !f.Info().Dirty {
				t.Errorf("%s, %s: not seen to be dirty", name, mark)
			}
			writeString(t, f, "x", strings.Repeat("x", 10_000))
			if f.Info().Dirty {
				t.Errorf("%s, %s: still dirty", name, mark)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			img.with(t, l, func(p string) { fsck(t, tooltest.Path(t, "fsck.fat"), p) })
		}
	}
}

// TestDepth makes and moves directories as deep as they may be, and deeper.
func TestDepth(t *testing.T) {
	img := newImage(t, kindNamed("stretch"), false)
	l := img.open(t)
	f := open(t, l)
	deep := func(top string, n int) string {
		name := top
		for i := range n {
			if i > 0 {
				name += "/d"
			}
			if err := f.Mkdir(name); err != nil {
				t.Fatalf("%d deep: %v", i+1, err)
			}
		}
		return name
	}
	bottom := deep("a", maxDepth)
	if err := f.Mkdir(bottom + "/d"); err == nil {
		t.Errorf("a directory was made more than %d deep", maxDepth)
	}
	half := deep("b", maxDepth/2)
	deep("c", maxDepth/2+1)
	if err := f.Rename("c", half+"/c"); err == nil {
		t.Errorf("directories were moved more than %d deep", maxDepth)
	}
	if err := f.Rename("c/d", half+"/c"); err != nil {
		t.Errorf("moved %d deep: %v", maxDepth, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, l)
	img.with(t, l, func(p string) { fsck(t, tooltest.Path(t, "fsck.fat"), p) })
}

// TestWrongFSInfo changes a file in place where FSInfo was wrong before: no
// change of the FAT makes it be written.
func TestWrongFSInfo(t *testing.T) {
	for _, free := range []uint32{7, 0xffffffff} {
		img := newImage(t, kindNamed("stretch"), true)
		l := img.open(t)
		f := open(t, l)
		writeString(t, f, "x", "old")
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		w, _ := l.Writable()
		w.WriteAt(binary.LittleEndian.AppendUint32(nil, free), f.layout.fsInfo+infoFree)
		f = open(t, l)
		if before := l.Extents(); f.Sync() != nil || !slices.Equal(before, l.Extents()) {
			t.Error("it was written before there was a change")
		}
		writeString(t, f, "x", "new")
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		img.with(t, l, func(p string) { fsck(t, tooltest.Path(t, "fsck.fat"), p) })
	}
}

// TestRealImages edits the boot partition, the first, of the images that
// PIIMG_TEST_IMAGES names, separated as in PATH.
func TestRealImages(t *testing.T) {
	images := filepath.SplitList(os.Getenv("PIIMG_TEST_IMAGES"))
	if len(images) == 0 {
		t.Skip("PIIMG_TEST_IMAGES names no images of Raspberry Pi OS")
	}
	for _, path := range images {
		src, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		mbr := make([]byte, 512)
		if _, err := src.ReadAt(mbr, 0); err != nil {
			t.Fatal(err)
		}
		start := int64(binary.LittleEndian.Uint32(mbr[454:])) * 512
		size := int64(binary.LittleEndian.Uint32(mbr[458:])) * 512
		l := layer.New(src, start+size)
		defer l.Close()
		f, err := Open(l, start, size, Options{Time: buildTime})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %+v", path, f.Info())
		before, beforeSlots := tree(t, f), slots(t, f)
		line, err := f.ReadFile("cmdline.txt")
		if err != nil {
			t.Fatal(err)
		}
		writeString(t, f, "cmdline.txt", strings.TrimSpace(string(line))+" cgroup_enable=memory\n")
		writeString(t, f, "ssh", "")
		writeString(t, f, "piimg-node.txt", strings.Repeat("this is a node\n", 100))
		if err := errors.Join(f.Mkdir("a"), f.Mkdir("a/b"), f.Mkdir("A/b/c")); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(t.TempDir(), "boot.img")
		out, err := os.Create(copied)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(out, io.NewSectionReader(l, start, size)); err != nil {
			t.Fatal(err)
		}
		out.Close()
		fsck(t, tooltest.Path(t, "fsck.fat"), copied)
		got := mtools(t, tooltest.Path(t, "mcopy"), copied, t.TempDir()+"/out")
		for p := range before {
			if got[p] != before[p] && p != "cmdline.txt" {
				t.Errorf("%s: %s differs", path, p)
			}
		}
		again, err := Open(l, start, size, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		for p, s := range slots(t, again) {
			if old, ok := beforeSlots[p]; ok && old != s && p != "cmdline.txt" {
				t.Errorf("%s: the entry of %s was changed", path, p)
			}
		}
		t.Logf("changed: %v", l.Extents())
	}
}
