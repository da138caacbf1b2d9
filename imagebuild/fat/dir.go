package fat

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// slotSize is the size of an entry of a directory. A file takes one such slot,
// and before it those of its long name.
const slotSize = 32

// maxSlots is how many slots a directory may have.
const maxSlots = 65536

// The attributes of an entry.
const (
	attrReadOnly = 0x01
	attrLabel    = 0x08
	attrDir      = 0x10
	attrArchive  = 0x20
	attrLong     = 0x0f // a slot of a long name
)

const (
	slotEnd  = 0x00 // first byte of a slot: neither this nor any after it is used
	slotFree = 0xe5 // first byte of a slot that was used
	lastLong = 0x40 // bit in the first byte of a long name's first slot
)

// directory is a directory's bytes, with what is in them.
type directory struct {
	path  string // for errors
	first uint32 // cluster; 0: the root directory of FAT16
	runs  []run
	raw   []byte
	// end is the first slot that was never used.
	end     int
	entries []*entry
	label   *entry // the volume's label; in a root directory
}

// entry is a file or directory in a directory.
type entry struct {
	name string
	from int // its first slot
	at   int // the slot that describes it, its last
	slot [slotSize]byte
}

func (e *entry) short() shortName    { return shortName(e.slot[:11]) }
func (e *entry) isDir() bool         { return e.slot[11]&attrDir != 0 }
func (e *entry) size() uint32        { return binary.LittleEndian.Uint32(e.slot[28:]) }
func (e *entry) setSize(n uint32)    { binary.LittleEndian.PutUint32(e.slot[28:], n) }
func (e *entry) setCluster(c uint32) { setCluster(&e.slot, c) }

// cluster returns the first cluster, or 0 if the file is empty. FAT16 uses the
// upper half for something else.
func (e *entry) cluster(bits int) uint32 {
	c := uint32(binary.LittleEndian.Uint16(e.slot[26:]))
	if bits == 32 {
		c |= uint32(binary.LittleEndian.Uint16(e.slot[20:])) << 16
	}
	return c
}

func setCluster(slot *[slotSize]byte, c uint32) {
	binary.LittleEndian.PutUint16(slot[26:], uint16(c))
	binary.LittleEndian.PutUint16(slot[20:], uint16(c>>16))
}

// where names the directory in errors.
func (d *directory) where() string {
	if d.path == "." {
		return "root directory"
	}
	return "directory " + d.path
}

// depth says how many directories below the root's the directory is.
func (d *directory) depth() int {
	if d.path == "." {
		return 0
	}
	return strings.Count(d.path, "/") + 1
}

// parse finds the entries.
func (d *directory) parse() {
	d.entries, d.label = nil, nil
	d.end = len(d.raw) / slotSize
	var long longName
	for i := range d.end {
		s := d.raw[i*slotSize : (i+1)*slotSize]
		switch {
		case s[0] == slotEnd:
			d.end = i
			return
		case s[0] == slotFree:
			long = longName{}
			continue
		case s[11]&0x3f == attrLong:
			long.add(s, i)
			continue
		}
		e := &entry{from: i, at: i, slot: [slotSize]byte(s)}
		switch {
		case s[11]&attrLabel != 0:
			if d.label == nil {
				d.label = e
			}
		case s[0] == '.':
			// "." and "..", which no other entry can begin with.
		default:
			e.name = e.short().decode(s[12])
			if name, from, ok := long.fits(e.short()); ok {
				e.name, e.from = name, from
			}
			d.entries = append(d.entries, e)
		}
		long = longName{}
	}
}

// longName gathers the slots of a long name, which come last part first.
type longName struct {
	from  int
	left  int // how many slots are still to come; -1 if they do not belong together
	sum   byte
	units []uint16
}

func (l *longName) add(s []byte, i int) {
	order := int(s[0] &^ lastLong)
	if s[0]&lastLong != 0 {
		*l = longName{from: i, left: order, sum: s[13]}
	}
	if l.left <= 0 || order != l.left || s[13] != l.sum || order*unitsPerSlot > maxName+unitsPerSlot {
		*l = longName{left: -1}
		return
	}
	l.left--
	l.units = append(longUnits(s), l.units...)
}

// fits returns the long name, if there is a complete one that belongs to short.
func (l *longName) fits(short shortName) (name string, from int, ok bool) {
	if l.left != 0 || len(l.units) == 0 || l.sum != short.checksum() {
		return "", 0, false
	}
	return string(utf16.Decode(l.units)), l.from, true
}

// find returns the entry of that name, or nil: an exact match before one that
// differs in case, and both before a short name.
func (d *directory) find(name string) *entry {
	var folded, short *entry
	for _, e := range d.entries {
		switch {
		case e.name == name:
			return e
		case folded == nil && strings.EqualFold(e.name, name):
			folded = e
		case short == nil && strings.EqualFold(e.short().decode(0), name):
			short = e
		}
	}
	if folded != nil {
		return folded
	}
	return short
}

// taken reports whether an entry has that short name, other than the one whose
// slot is except.
func (d *directory) taken(short shortName, except int) bool {
	for _, e := range d.entries {
		if e.at != except && e.short() == short {
			return true
		}
	}
	return false
}

// freeSlots returns the first of n free slots in a row; those past the end of the
// directory count as free.
func (d *directory) freeSlots(n int) int {
	found := 0
	for i := range d.end {
		if d.raw[i*slotSize] != slotFree {
			found = 0
			continue
		}
		if found++; found == n {
			return i - n + 1
		}
	}
	return d.end - found
}

// loadDir reads the directory whose first cluster is first, or, if that is 0, the root.
func (fs *FS) loadDir(path string, first uint32) (*directory, error) {
	d := &directory{path: path, first: first}
	if first == 0 {
		d.first = fs.layout.root
	}
	if d.first == 0 {
		d.raw = make([]byte, fs.layout.rootSlots*slotSize)
		if err := fs.read(d.raw, fs.layout.rootDir); err != nil {
			return nil, err
		}
		d.parse()
		return d, nil
	}
	var err error
	if d.runs, err = fs.table.chain(d.first, nil); err != nil {
		return nil, corrupt(d.where(), "%v", err)
	}
	size := int64(count(d.runs)) * fs.layout.cluster
	if size > max(maxSlots*slotSize, fs.layout.cluster) {
		return nil, corrupt(d.where(), "it has %d bytes, and may have %d", size, maxSlots*slotSize)
	}
	d.raw = make([]byte, size)
	for off, runs := int64(0), d.runs; len(runs) > 0; runs = runs[1:] {
		n := int64(runs[0].n) * fs.layout.cluster
		if err := fs.read(d.raw[off:off+n], fs.layout.offset(runs[0].first)); err != nil {
			return nil, fmt.Errorf("failed to read %s: %w", d.where(), err)
		}
		off += n
	}
	d.parse()
	return d, nil
}

// slotOffset returns where a slot is, from the start of the file system.
func (fs *FS) slotOffset(d *directory, slot int) int64 {
	off := int64(slot) * slotSize
	if d.first == 0 {
		return fs.layout.rootDir + off
	}
	return fs.locate(d.runs, off)
}

// locate returns where the byte at off of a chain is.
func (fs *FS) locate(runs []run, off int64) int64 {
	for _, r := range runs {
		if n := int64(r.n) * fs.layout.cluster; off >= n {
			off -= n
			continue
		}
		return fs.layout.offset(r.first) + off
	}
	panic("fat: offset past the end of a chain") // the callers see to it
}

// writeSlot writes one slot of a directory.
func (fs *FS) writeSlot(d *directory, slot int, b []byte) error {
	copy(d.raw[slot*slotSize:], b)
	return fs.write(b, fs.slotOffset(d, slot))
}
