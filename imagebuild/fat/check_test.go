package fat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// checked returns what Check finds in b.
func checked(t testing.TB, b []byte) *Report {
	t.Helper()
	r, err := Check(bytes.NewReader(b), 0, int64(len(b)), CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *Report) text() string {
	var sb strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintln(&sb, f)
	}
	return sb.String()
}

// verdict is what fsck.fat says of a file system.
type verdict struct {
	finds bool
	text  string
}

// harmless are the remarks of fsck.fat that are no findings.
var harmless = []string{
	"fsck.fat ", "There is no backup boot sector.", "And there is no space for creating one!", "Auto-creating backup boot block.",
	"No FSINFO sector", "Not automatically creating it.", "Free cluster summary uninitialized",
	"Warning: Filesystem is FAT32 according to", "but has only", "This may lead to problems", "Leaving filesystem unchanged.",
}

// fsckSays runs fsck.fat -n, which finds something if it says so or ends with a status.
func fsckSays(t testing.TB, fsckPath, path string) verdict {
	t.Helper()
	cmd := exec.Command(fsckPath, "-n", path)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	v := verdict{finds: err != nil, text: string(out)}
	for line := range strings.Lines(v.text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, path+": ") {
			continue
		}
		if !slices.ContainsFunc(harmless, func(h string) bool { return strings.HasPrefix(line, h) }) {
			v.finds = true
		}
	}
	return v
}

// fat12Kind is a kind of file system that only Check reads.
var fat12Kind = kind{"fat12", 4 << 20, []string{"-F", "12", "-n", "floppy"}, 12}

// TestCheckClean has Check look at sound file systems of all kinds, as mkfs.fat
// and mtools make them and with some more edits of our own.
func TestCheckClean(t *testing.T) {
	for _, k := range append(slices.Clone(kinds), fat12Kind) {
		t.Run(k.name, func(t *testing.T) {
			img := newImage(t, k, true)
			l := img.open(t)
			if k.bits != 12 {
				f := open(t, l)
				if err := errors.Join(f.Mkdir("a"), f.Mkdir("a/b"), f.Mkdir("a/b/A long name"), f.SetLabel("PIIMG"), f.Remove("cmdline.txt")); err != nil {
					t.Fatal(err)
				}
				writeString(t, f, "a/b/another long name.txt", strings.Repeat("x", 100_000))
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Check(l, 0, l.Size(), CheckOptions{})
			if err != nil || !r.Clean() {
				t.Fatalf("%v\n%s", err, r.text())
			}
			if want := fmt.Sprintf("FAT%d", k.bits); r.Type != want {
				t.Errorf("the type is %s, want %s", r.Type, want)
			}
			if dirs, files := int64(1), int64(65); k.bits == 12 && (r.Directories != dirs || r.Files != files) {
				t.Errorf("%d directories, %d files, want %d, %d", r.Directories, r.Files, dirs, files)
			}
			img.with(t, l, func(p string) {
				if v := fsckSays(t, tooltest.Path(t, "fsck.fat"), p); v.finds {
					t.Error(v.text)
				}
			})
		})
	}
}

// smallKinds are file systems that are quickly checked.
var smallKinds = []kind{
	{"small-fat32", 4 << 20, []string{"-F", "32", "-s", "1", "-n", "boot"}, 32},
	{"small-fat16", 4 << 20, []string{"-F", "16", "-s", "1", "-n", "boot"}, 16},
	{"small-fat12", 4 << 20, []string{"-F", "12", "-s", "4", "-n", "boot"}, 12},
}

// victim is a sound file system, to be damaged.
type victim struct {
	sound  []byte
	layout *layout
	file   *os.File // a copy
	now    []byte   // what is in it
	fsck   string
}

func newVictim(t testing.TB, k kind) *victim {
	t.Helper()
	// By mtools where we don't write; mtools doesn't take a FAT32 of so few clusters for one.
	img := newImage(t, k, k.bits == 12)
	l := img.open(t)
	if k.bits != 12 {
		f := open(t, l)
		if err := f.Mkdir("overlays"); err != nil {
			t.Fatal(err)
		}
		for i := range 60 {
			name := fmt.Sprintf("overlays/a-long-name-of-an-overlay-%03d.dtbo", i)
			writeString(t, f, name, strings.Repeat("x", 400+i*10))
		}
		for i, name := range []string{"EMPTY", "cmdline.txt", "config.txt", "Größe und Übermaß.txt", "LICENCE.broadcom", "bcm2710-rpi-3-b-plus.dtb"} {
			writeString(t, f, name, strings.Repeat("x", 150*i*i))
		}
		if err := errors.Join(f.Remove("overlays/a-long-name-of-an-overlay-033.dtbo"), f.Mkdir("overlays/more"), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, l.Size())
	if _, err := l.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	lay, err := parseBoot(b, img.size)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(img.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if _, err := file.Write(b); err != nil {
		t.Fatal(err)
	}
	return &victim{b, lay, file, b, tooltest.Path(t, "fsck.fat")}
}

// damaged returns a damaged copy, and what fsck.fat says of it.
func (v *victim) damaged(t testing.TB, damage func(b []byte)) ([]byte, verdict) {
	t.Helper()
	b := bytes.Clone(v.sound)
	damage(b)
	for off := 0; off < len(b); off += 4096 {
		if page := b[off : off+4096]; !bytes.Equal(page, v.now[off:off+4096]) {
			if _, err := v.file.WriteAt(page, int64(off)); err != nil {
				t.Fatal(err)
			}
		}
	}
	v.now = b
	return b, fsckSays(t, v.fsck, v.file.Name())
}

// slot returns the slot of the first entry with that short name.
func (v *victim) slot(b []byte, name string) []byte {
	i := bytes.Index(b[v.layout.rootDir:], []byte(name))
	return b[v.layout.rootDir+int64(i):][:slotSize]
}

// cluster returns the first cluster of the entry with that short name.
func (v *victim) cluster(name string) uint32 {
	e := entry{slot: [slotSize]byte(v.slot(v.sound, name))}
	return e.cluster(v.layout.bits)
}

// setFAT sets an entry of the FATs, to a number counted back from the end mark if it is negative.
func (v *victim) setFAT(b []byte, n uint32, val int64) {
	l := v.layout
	for i := range int64(l.fats) {
		t := newTable(l, b[l.fat+i*l.fatSize:][:l.fatSize])
		if val < 0 {
			val += int64(t.EOCMarker()) + 1
		}
		if l.bits == 12 {
			p := t.raw[n+n/2:]
			old := binary.LittleEndian.Uint16(p)
			shift := n & 1 * 4
			binary.LittleEndian.PutUint16(p, old&^(0xfff<<shift)|uint16(val)<<shift)
			continue
		}
		t.SetCluster(n, uint32(val))
	}
}

// beyond are findings that fsck.fat 4.2 doesn't look for, and why we do.
var beyond = []struct{ code, detail, why string }{
	{"long-name", "no such name can be used", "Open refuses them, since they could escape from a folder or cannot be typed"},
	{"long-name", "parts", "of more than 20 no system makes a name"},
	{"duplicate", "another entry has this long name", "systems with long names reach only one of the two"},
	{"after-end", "", "Linux and fsck.fat read on behind the end of a directory, firmware and Windows don't"},
	{"volume-label", "below the root directory", "Linux hides them, and their clusters are lost to all"},
	{"volume-label", "a second label", "systems differ in which of them they show"},
	{"boot-sector", "it doesn't end in 55 aa", "the Raspberry Pi's boot loader insists on it"},
	{"boot-sector", "media byte", "Linux refuses to mount it"},
	{"boot-sector", "sectors per cluster", "Linux refuses to mount it; must be a power of two"},
	{"boot-sector", "invalid sector size", "Linux refuses to mount it; must be a power of two"},
	{"boot-sector", "sectors of", "Linux refuses to mount it; at most 4096 bytes"},
	{"boot-sector", "FAT32 version", "the specification says to refuse it"},
	{"boot-sector", "do not mirror each other", "one of the copies is stale then, and not all systems know which"},
	{"boot-sector", "in a FAT32 file system", "a fixed root directory; fsck.fat prints a warning"},
	{"boot-sector", "truncated", "fsck.fat doesn't look at an odd last sector"},
	{"directory", "it has", "Linux reads 2 MiB of a directory"},
	{"directory", "nested", "Open goes 128 deep"},
	{"lost", "", "what the former two don't reach"},
}

// onlyFsck are remarks of fsck.fat that Check has no finding for, and why.
var onlyFsck = []struct{ text, why string }{
	{"stored in boot sector is not valid", "it takes a boot sector without a label for one with a label of zeros"},
}

// agree reports whether Check and fsck.fat both find something, or neither does,
// or their difference is a known one.
func agree(says verdict, found *Report) bool {
	switch {
	case says.finds != found.Clean():
		return true
	case says.finds:
		return slices.ContainsFunc(onlyFsck, func(o struct{ text, why string }) bool { return strings.Contains(says.text, o.text) })
	}
	return !slices.ContainsFunc(found.Findings, func(f Finding) bool {
		return !slices.ContainsFunc(beyond, func(b struct{ code, detail, why string }) bool {
			return string(f.Code) == b.code && strings.Contains(f.Detail, b.detail)
		})
	})
}

// TestCheckDamage damages one thing at a time, and compares with what fsck.fat finds.
func TestCheckDamage(t *testing.T) {
	le := binary.LittleEndian
	// Where the first slot of a long name of three parts is.
	long := func(b []byte) int {
		at := 0
		for ; b[at] != lastLong|3 || b[at+11] != attrLong || b[at+12] != 0; at += slotSize {
		}
		return at
	}
	all, fat32 := []int{12, 16, 32}, []int{32}
	cases := []struct {
		name   string
		code   Code
		bits   []int
		damage func(v *victim, b []byte)
	}{
		{"no sector size", CodeBootSector, all, func(v *victim, b []byte) { le.PutUint16(b[11:], 0) }},
		{"odd sector size", CodeBootSector, all, func(v *victim, b []byte) { b[11] = 1 }},
		{"no cluster size", CodeBootSector, all, func(v *victim, b []byte) { b[13] = 0 }},
		{"3 sectors a cluster", CodeBootSector, all, func(v *victim, b []byte) { b[13] = 3 }},
		{"no reserved sectors", CodeBootSector, all, func(v *victim, b []byte) { le.PutUint16(b[14:], 0) }},
		{"no FAT", CodeBootSector, all, func(v *victim, b []byte) { b[16] = 0 }},
		{"3 FATs", CodeBootSector, all, func(v *victim, b []byte) { b[16] = 3 }},
		{"odd root directory", CodeBootSector, []int{12, 16}, func(v *victim, b []byte) { b[17]++ }},
		{"root directory twice", CodeBootSector, fat32, func(v *victim, b []byte) { b[17] = 16 }},
		{"no root directory", CodeBootSector, []int{12, 16}, func(v *victim, b []byte) { b[17], b[18] = 0, 0 }},
		{"media byte", CodeBootSector, all, func(v *victim, b []byte) { b[21] = 0x12 }},
		{"no FAT size", CodeBootSector, all, func(v *victim, b []byte) { le.PutUint16(b[22:], 0); le.PutUint32(b[36:], 0) }},
		{"FAT too small", CodeBootSector, fat32, func(v *victim, b []byte) { le.PutUint32(b[36:], 1) }},
		{"truncated", CodeBootSector, all, func(v *victim, b []byte) { le.PutUint16(b[19:], 0); le.PutUint32(b[32:], 1<<20) }},
		{"too short", CodeBootSector, all, func(v *victim, b []byte) { le.PutUint16(b[19:], 30) }},
		{"version", CodeBootSector, fat32, func(v *victim, b []byte) { b[43] = 1 }},
		{"no mirror", CodeBootSector, fat32, func(v *victim, b []byte) { b[40] = 0x81 }},
		{"root cluster 1", CodeBootSector, fat32, func(v *victim, b []byte) { b[44] = 1 }},
		{"root cluster too high", CodeBootSector, fat32, func(v *victim, b []byte) { b[47] = 1 }},
		{"no 55 aa", CodeBootSector, all, func(v *victim, b []byte) { b[510] = 0 }},
		{"boot code", CodeBackup, fat32, func(v *victim, b []byte) { b[100]++ }},
		{"backup elsewhere", CodeBackup, fat32, func(v *victim, b []byte) { le.PutUint16(b[50:], 1000) }},
		{"FSInfo's first signature", CodeFSInfo, fat32, func(v *victim, b []byte) { b[v.layout.fsInfo]++ }},
		{"FSInfo's second signature", CodeFSInfo, fat32, func(v *victim, b []byte) { b[v.layout.fsInfo+484]++ }},
		{"FSInfo's third signature", CodeFSInfo, fat32, func(v *victim, b []byte) { b[v.layout.fsInfo+511]++ }},
		{"FSInfo's count", CodeFSInfo, fat32, func(v *victim, b []byte) { b[v.layout.fsInfo+infoFree]++ }},
		{"FSInfo elsewhere", CodeFSInfo, fat32, func(v *victim, b []byte) { le.PutUint16(b[48:], 0xffff); le.PutUint16(b[v.layout.backup+48:], 0xffff) }},
		{"first FAT", CodeCopies, all, func(v *victim, b []byte) { b[v.layout.fat+100]++ }},
		{"second FAT", CodeCopies, all, func(v *victim, b []byte) { b[v.layout.fat+v.layout.fatSize+100]++ }},
		{"first FAT and its beginning", CodeCopies, all, func(v *victim, b []byte) { clear(b[v.layout.fat:][:100]) }},
		{"entry 0", CodeMedia, all, func(v *victim, b []byte) { v.setFAT(b, 0, 0x18) }},
		{"dirty boot sector", CodeDirty, all, func(v *victim, b []byte) { b[v.layout.stateField()] |= 1 }},
		{"dirty FAT", CodeDirty, []int{16, 32}, func(v *victim, b []byte) { v.setFAT(b, 1, int64(newTable(v.layout, b[v.layout.fat:]).cleanBit()-1)) }},
		{"chain to a free cluster", CodeChain, all, func(v *victim, b []byte) { v.setFAT(b, v.cluster("BCM271"), int64(v.layout.last)) }},
		{"chain out of range", CodeChain, all, func(v *victim, b []byte) { v.setFAT(b, v.cluster("BCM271"), int64(v.layout.last)+1) }},
		{"chain to 1", CodeChain, all, func(v *victim, b []byte) { v.setFAT(b, v.cluster("BCM271"), 1) }},
		{"chain ends in 0", CodeChain, all, func(v *victim, b []byte) { v.setFAT(b, v.cluster("CMDLINE"), 0) }},
		{"bad cluster", CodeChain, all, func(v *victim, b []byte) { v.setFAT(b, v.cluster("CMDLINE"), -9) }},
		{"first cluster out of range", CodeChain, all, func(v *victim, b []byte) { le.PutUint16(v.slot(b, "CMDLINE")[26:], 0xfff0) }},
		{"first cluster 1", CodeChain, all, func(v *victim, b []byte) { le.PutUint16(v.slot(b, "CMDLINE")[26:], 1) }},
		{"circle", CodeShared, all, func(v *victim, b []byte) { v.setFAT(b, v.cluster("BCM271"), int64(v.cluster("BCM271"))) }},
		{"circle of a directory", CodeShared, all, func(v *victim, b []byte) { v.setFAT(b, v.cluster("OVERLAYS"), int64(v.cluster("OVERLAYS"))) }},
		{"circle of the root", CodeShared, fat32, func(v *victim, b []byte) { v.setFAT(b, v.layout.root, int64(v.layout.root)) }},
		{"two files", CodeShared, all, func(v *victim, b []byte) { le.PutUint16(v.slot(b, "CMDLINE")[26:], uint16(v.cluster("CONFIG"))) }},
		{"file and directory", CodeShared, all, func(v *victim, b []byte) { le.PutUint16(v.slot(b, "CMDLINE")[26:], uint16(v.cluster("OVERLAYS"))) }},
		{"directory is its parent", CodeShared, fat32, func(v *victim, b []byte) { le.PutUint16(v.slot(b, "OVERLAYS")[26:], uint16(v.layout.root)) }},
		{"size too large", CodeSize, all, func(v *victim, b []byte) { le.PutUint32(v.slot(b, "CMDLINE")[28:], 1<<20) }},
		{"size too small", CodeSize, all, func(v *victim, b []byte) { le.PutUint32(v.slot(b, "BCM271")[28:], 10) }},
		{"size 0 with a cluster", CodeSize, all, func(v *victim, b []byte) { le.PutUint32(v.slot(b, "CMDLINE")[28:], 0) }},
		{"size without a cluster", CodeSize, all, func(v *victim, b []byte) { le.PutUint32(v.slot(b, "EMPTY")[28:], 1) }},
		{"directory with a size", CodeSize, all, func(v *victim, b []byte) { v.slot(b, "OVERLAYS")[28] = 1 }},
		{"lost cluster", CodeLost, all, func(v *victim, b []byte) { v.setFAT(b, v.layout.last, -1) }},
		{"lost chain to nowhere", CodeLost, all, func(v *victim, b []byte) { v.setFAT(b, v.layout.last, 1) }},
		{"directory without a cluster", CodeDirectory, all, func(v *victim, b []byte) { le.PutUint16(v.slot(b, "OVERLAYS")[26:], 0) }},
		{". free", CodeDirectory, all, func(v *victim, b []byte) { v.slot(b, ".          ")[0] = slotFree }},
		{". elsewhere", CodeDirectory, all, func(v *victim, b []byte) { v.slot(b, ".          ")[26]++ }},
		{".. a file", CodeDirectory, all, func(v *victim, b []byte) { v.slot(b, "..         ")[11] = attrArchive }},
		{".. to the root's cluster", CodeDirectory, fat32, func(v *victim, b []byte) { v.slot(b, "..         ")[26] = byte(v.layout.root) }},
		{".. with another name", CodeDirectory, all, func(v *victim, b []byte) { v.slot(b, "..         ")[2] = '.' }},
		{". without a short name", CodeDirectory, all, func(v *victim, b []byte) { v.slot(b, ".          ")[12] = noShortName }},
		{"behind the end", CodeAfterEnd, all, func(v *victim, b []byte) { v.slot(b, "EMPTY")[0] = slotEnd }},
		{"lower control character", CodeShortName, all, func(v *victim, b []byte) { v.slot(b, "EMPTY")[2] = 7 }},
		{"name with a dot", CodeShortName, all, func(v *victim, b []byte) { v.slot(b, "EMPTY")[2] = '.' }},
		{"name with a space first", CodeShortName, all, func(v *victim, b []byte) { v.slot(b, "EMPTY")[0] = ' ' }},
		{"name with a star", CodeShortName, all, func(v *victim, b []byte) { v.slot(b, "EMPTY")[1] = '*' }},
		{"no name", CodeShortName, all, func(v *victim, b []byte) { v.slot(b, "EMPTY")[12] = noShortName }},
		{"two of a name", CodeDuplicate, all, func(v *victim, b []byte) { copy(v.slot(b, "EMPTY"), "LICENC~1BRO") }},
		{"long name's checksum", CodeLongName, all, func(v *victim, b []byte) { b[long(b)+13]++ }},
		{"long name's number", CodeLongName, all, func(v *victim, b []byte) { b[long(b)]++ }},
		{"long name's mark", CodeLongName, all, func(v *victim, b []byte) { b[long(b)] &^= lastLong }},
		{"long name's part 0", CodeLongName, all, func(v *victim, b []byte) { b[long(b)] = lastLong }},
		{"mark in a long name", CodeLongName, all, func(v *victim, b []byte) { b[long(b)+slotSize] |= lastLong }},
		{"long name's type", CodeLongName, all, func(v *victim, b []byte) { b[long(b)+12]++ }},
		{"long name's cluster", CodeLongName, all, func(v *victim, b []byte) { b[long(b)+26]++ }},
		{"a part is gone", CodeLongName, all, func(v *victim, b []byte) { b[long(b)+slotSize] = slotFree }},
		{"first part is gone", CodeLongName, all, func(v *victim, b []byte) { b[long(b)] = slotFree }},
		{"long name without a file", CodeLongName, all, func(v *victim, b []byte) { v.slot(b, "LICENC~1")[0] = slotFree }},
		{"another short name", CodeLongName, all, func(v *victim, b []byte) { v.slot(b, "LICENC~1")[7]++ }},
		{"long name with a slash", CodeLongName, all, func(v *victim, b []byte) { b[long(b)+3] = '/' }},
		{"label in the boot sector", CodeLabel, all, func(v *victim, b []byte) { b[v.layout.labelField()] = 'X' }},
		{"label in the root only", CodeLabel, all, func(v *victim, b []byte) { copy(b[v.layout.labelField():], noLabel) }},
		{"label in the boot sector only", CodeLabel, all, func(v *victim, b []byte) { b[v.layout.rootDirOffset()] = slotFree }},
		{"no room for a label", CodeLabel, all, func(v *victim, b []byte) { b[v.layout.signatureField()] = 0 }},
		{"invalid label", CodeLabel, all, func(v *victim, b []byte) { b[v.layout.rootDirOffset()] = '+' }},
		{"second label", CodeLabel, all, func(v *victim, b []byte) { v.slot(b, "EMPTY")[11] = attrLabel }},
	}
	for _, k := range smallKinds {
		v := newVictim(t, k)
		for _, c := range cases {
			if !slices.Contains(c.bits, k.bits) {
				continue
			}
			b, says := v.damaged(t, func(b []byte) { c.damage(v, b) })
			found := checked(t, b)
			if !slices.ContainsFunc(found.Findings, func(f Finding) bool { return f.Code == c.code }) {
				t.Errorf("%s: %s: Check doesn't find %q, but:\n%s", k.name, c.name, c.code, found.text())
			}
			if !agree(says, found) {
				t.Errorf("%s: %s: fsck.fat finds %v:\n%sCheck:\n%s", k.name, c.name, says.finds, says.text, found.text())
			}
			_, err := Open(layer.New(bytes.NewReader(b), int64(len(b))), 0, int64(len(b)), Options{ReadOnly: true})
			var corrupt *CorruptError
			if errors.As(err, &corrupt) && found.Clean() {
				t.Errorf("%s: %s: Open refuses what Check calls clean: %v", k.name, c.name, err)
			}
		}
	}
}

// rootDirOffset returns where the first slot of the root directory is.
func (l *layout) rootDirOffset() int64 {
	if l.bits == 32 {
		return l.offset(l.root)
	}
	return l.rootDir
}

// TestCheckRandom flips bits of the metadata at random, and compares with what fsck.fat finds.
func TestCheckRandom(t *testing.T) {
	for _, k := range smallKinds {
		t.Run(k.name, func(t *testing.T) {
			v := newVictim(t, k)
			r := rand.New(rand.NewPCG(7, uint64(k.bits)))
			for i := range 300 {
				var at []string
				b, says := v.damaged(t, func(b []byte) {
					for range 1 + r.IntN(2) {
						off, bit := v.metadata(r), r.IntN(8)
						b[off] ^= 1 << bit
						at = append(at, fmt.Sprintf("bit %d of byte %#x", bit, off))
					}
				})
				found := checked(t, b)
				if !agree(says, found) {
					t.Errorf("%d: %s: fsck.fat finds %v:\n%sCheck:\n%s", i, at, says.finds, says.text, found.text())
				}
			}
		})
	}
}

// metadata returns the offset of a byte that matters: of the boot sector, FSInfo,
// the beginning of a FAT, or a directory.
func (v *victim) metadata(r *rand.Rand) int64 {
	l := v.layout
	switch r.IntN(4) {
	case 0:
		return r.Int64N(90)
	case 1:
		return l.fat + r.Int64N(int64(l.fats))*l.fatSize + r.Int64N(300)
	case 2:
		if l.bits == 32 {
			return l.offset(l.root) + r.Int64N(l.cluster)
		}
		return l.rootDir + r.Int64N(15*slotSize)
	}
	return l.offset(v.cluster("OVERLAYS   ")) + r.Int64N(l.cluster)
}

// TestCheckLimit has more findings than are asked for.
func TestCheckLimit(t *testing.T) {
	v := newVictim(t, smallKinds[1])
	b := bytes.Clone(v.sound)
	clear(b[v.layout.fat+4 : v.layout.data]) // all files lead to free clusters, and there is no root directory
	copy(b[v.layout.rootDir:], v.sound[v.layout.rootDir:v.layout.data])
	full := checked(t, b)
	r, err := Check(bytes.NewReader(b), 0, int64(len(b)), CheckOptions{Limit: 2})
	if err != nil || len(r.Findings) != 2 || r.Omitted != len(full.Findings)-2 || r.Clean() {
		t.Errorf("%v: %d findings, %d omitted, of %d", err, len(r.Findings), r.Omitted, len(full.Findings))
	}
}

// TestCheckRead is about storage that fails.
func TestCheckRead(t *testing.T) {
	v := newVictim(t, smallKinds[0])
	for _, size := range []int64{0, 600, v.layout.fat + 100, v.layout.data + 100} {
		if _, err := Check(bytes.NewReader(v.sound[:size]), 0, int64(len(v.sound)), CheckOptions{}); !errors.Is(err, io.EOF) {
			t.Errorf("reads that fail from %d on: %v", size, err)
		}
	}
}

// FuzzCheck checks anything. What Open refuses is not clean; what is clean stays so when it is edited.
func FuzzCheck(f *testing.F) {
	sound := smallest(f)
	f.Add(sound)
	for _, at := range []int{13, 16, 44, 50, 1, 4*512 + 12, 6*512 + 26, 6*512 + 11, 7 * 512, 7*512 + 64} {
		b := bytes.Clone(sound)
		b[at]++
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Check(bytes.NewReader(b), 0, int64(len(b)), CheckOptions{Limit: 20})
		if err != nil {
			t.Fatal(err) // all of it can be read, and nothing that large is unsupported
		}
		if len(r.Findings) > 20 {
			t.Fatalf("%d findings, 20 were asked for", len(r.Findings))
		}
		l := layer.New(bytes.NewReader(b), int64(len(b)))
		defer l.Close()
		v, err := Open(l, 0, int64(len(b)), Options{Time: buildTime})
		var corrupt *CorruptError
		switch {
		case errors.As(err, &corrupt) && r.Clean():
			t.Fatalf("Open refuses what is clean: %v", err)
		case err != nil || !r.Clean():
			return
		}
		// Some of these fail for want of room.
		v.Mkdir("new directory")
		v.WriteFile("new directory/a long name.txt", strings.NewReader("hello"), 5)
		v.Rename("overlays", "new directory/overlays")
		v.Remove("cmdline.txt")
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if r, err := Check(l, 0, l.Size(), CheckOptions{}); err != nil || !r.Clean() {
			t.Fatalf("what was clean has been edited: %v\n%s", err, r.text())
		}
	})
}
