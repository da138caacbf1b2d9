package fat

import (
	"encoding/binary"
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"
	"sync"
	"time"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/fat12"
)

// Options are the choices for [Open].
type Options struct {
	// Time stamps what is created or changed, in steps of two seconds for
	// changes. It is stored as UTC; FAT holds the years 1980 to 2107, and what is
	// outside becomes the nearest time that it holds.
	Time time.Time
	// ReadOnly makes every change fail.
	ReadOnly bool
}

// FS is an open FAT file system. Its methods may be called from several goroutines
// at a time. What has been changed is complete only after [FS.Sync] or [FS.Close].
//
// Names are those of [io/fs]: "overlays/README"; "." is the root directory. The
// methods of io/fs insist on that; those that change something also take a
// leading slash.
type FS struct {
	b      backend.Storage
	w      backend.WritableFile // nil if it is read-only
	start  int64
	size   int64
	time   time.Time
	layout *layout
	boot   []byte
	lost   uint32
	// wrongInfo is whether FSInfo's count of free clusters is another than the FAT's.
	wrongInfo bool

	mu    sync.Mutex // guards all below, and the bytes of the file system
	table *table
	// engine is go-diskfs's file system on the same table.
	engine *fat12.FileSystem
	// gen counts changes of the structure: open files look anew where they are.
	gen    uint64
	closed bool
}

var _ filesystem.FileSystem = (*FS)(nil)

// Open opens the FAT file system in the size bytes of b from start on. It walks
// the whole of it first: the error is a [*CorruptError] that names the place if
// anything is out of order, and an [*UnsupportedError] if it is something else
// than a FAT16 or FAT32 file system of the usual kind.
func Open(b backend.Storage, start, size int64, o Options) (*FS, error) {
	fs := &FS{b: b, start: start, size: size, time: o.Time, boot: make([]byte, bootSize)}
	if start < 0 || size < bootSize {
		return nil, corrupt("boot sector", "there is no room for one in %d bytes", size)
	}
	if err := fs.read(fs.boot, 0); err != nil {
		return nil, err
	}
	var err error
	if fs.layout, err = parseBoot(fs.boot, size); err != nil {
		return nil, err
	}
	if fs.layout.bits == 12 {
		return nil, &UnsupportedError{Feature: "12-bit entries (FAT12; make it FAT16 or FAT32)"}
	}
	if err := fs.layout.checkSize(); err != nil {
		return nil, err
	}
	if err := fs.readTable(); err != nil {
		return nil, err
	}
	if fs.lost, err = fs.validate(); err != nil {
		return nil, err
	}
	if err := fs.readHint(); err != nil {
		return nil, err
	}
	if !o.ReadOnly {
		if fs.w, err = b.Writable(); err != nil {
			return nil, err
		}
	}
	l := fs.layout
	second := l.fat + int64(l.fats-1)*l.fatSize
	fs.engine = fat12.NewFileSystem(b, nil, fs.table, uint32(l.data), int(l.cluster), size, start,
		l.rootDir, l.rootSlots, uint64(l.fat), uint64(second))
	fs.engine.AfterWriteFAT = fs.writeFSInfo
	return fs, nil
}

// read fills p from off, which counts from the start of the file system.
func (fs *FS) read(p []byte, off int64) error {
	if off < 0 || off > fs.size-int64(len(p)) {
		return corrupt("file system", "%d bytes at offset %d are past its end at %d", len(p), off, fs.size)
	}
	if n, err := fs.b.ReadAt(p, fs.start+off); n < len(p) {
		return fmt.Errorf("failed to read %d bytes at offset %d of the FAT file system: %w", len(p), off, err)
	}
	return nil
}

func (fs *FS) write(p []byte, off int64) error {
	if off < 0 || off > fs.size-int64(len(p)) {
		return corrupt("file system", "%d bytes at offset %d are past its end at %d", len(p), off, fs.size)
	}
	if _, err := fs.w.WriteAt(p, fs.start+off); err != nil {
		return fmt.Errorf("failed to write %d bytes at offset %d of the FAT file system: %w", len(p), off, err)
	}
	return nil
}

// Where FSInfo has its signatures and fields.
const (
	infoSignature1 = 0x41615252 // at 0
	infoSignature2 = 0x61417272 // at 484
	infoFree       = 488
	infoNext       = 492
)

// readHint takes from FSInfo where to look for free clusters, and whether its
// count of them is right. A sector that is not FSInfo is left alone from now on.
func (fs *FS) readHint() error {
	if fs.layout.fsInfo == 0 {
		return nil
	}
	b := make([]byte, bootSize)
	if err := fs.read(b, fs.layout.fsInfo); err != nil {
		return err
	}
	le := binary.LittleEndian
	if le.Uint32(b) != infoSignature1 || le.Uint32(b[484:]) != infoSignature2 {
		fs.layout.fsInfo = 0
		return nil
	}
	fs.wrongInfo = le.Uint32(b[infoFree:]) != fs.table.free
	if next := le.Uint32(b[infoNext:]); next >= 2 && next <= fs.layout.last {
		fs.table.hint = next
	}
	return nil
}

// writeFSInfo is called by go-diskfs whenever it has written the FATs.
func (fs *FS) writeFSInfo() error {
	if fs.layout.fsInfo == 0 {
		return nil
	}
	var b [8]byte
	binary.LittleEndian.PutUint32(b[:], fs.table.free)
	binary.LittleEndian.PutUint32(b[infoNext-infoFree:], max(fs.table.hint, 2))
	if err := fs.write(b[:], fs.layout.fsInfo+infoFree); err != nil {
		return err
	}
	fs.wrongInfo = false
	return nil
}

// begin is called before every change.
func (fs *FS) begin() error {
	switch {
	case fs.closed:
		return iofs.ErrClosed
	case fs.w == nil:
		return filesystem.ErrReadonlyFilesystem
	}
	if fs.wrongInfo {
		fs.table.dirty = true // FSInfo is written with the FAT, even if this change needs no cluster
	}
	return fs.markClean()
}

// dirty reports whether the file system was not unmounted when it was last used.
func (fs *FS) dirty() bool {
	return fs.boot[fs.layout.stateField()]&1 != 0 || fs.table.ClusterValue(1)&fs.table.cleanBit() == 0
}

// markClean takes away the mark that asks for a check, since [Open] has made it.
func (fs *FS) markClean() error {
	if !fs.dirty() {
		return nil
	}
	fs.table.SetCluster(1, fs.table.ClusterValue(1)|fs.table.cleanBit())
	at := fs.layout.stateField()
	if err := fs.writeBoot(at, []byte{fs.boot[at] &^ 1}); err != nil {
		return err
	}
	return nil
}

// writeBoot writes a field of the boot sector and of its copy.
func (fs *FS) writeBoot(at int, field []byte) error {
	copy(fs.boot[at:], field)
	if err := fs.write(field, int64(at)); err != nil || fs.layout.backup == 0 {
		return err
	}
	return fs.write(field, fs.layout.backup+int64(at))
}

// Sync writes what is still to be written: the copies of the FAT, and FSInfo.
func (fs *FS) Sync() error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.sync()
}

func (fs *FS) sync() error {
	if !fs.table.dirty {
		return nil
	}
	if err := fs.engine.WriteFat(); err != nil {
		return fmt.Errorf("failed to write the file allocation table: %w", err)
	}
	fs.table.dirty = false
	return nil
}

// Close is [FS.Sync], and makes every further use fail. It does not close the storage.
func (fs *FS) Close() error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return nil
	}
	fs.closed = true
	return fs.sync()
}

// Info describes a file system.
type Info struct {
	Type         string // "FAT16" or "FAT32"
	Label        string
	VolumeID     string // "1A2B-3C4D"; "" if there is none
	SectorSize   int64  // bytes
	ClusterSize  int64  // bytes
	Clusters     int64  // that can hold data
	FreeClusters int64
	// LostClusters are in use, but belong to no file; fsck.fat frees them.
	LostClusters int64
	// Dirty is whether the file system was not unmounted when it was last used.
	Dirty bool
}

// Info describes the file system as it is now.
func (fs *FS) Info() Info {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	l := fs.layout
	i := Info{
		Type:         fmt.Sprintf("FAT%d", l.bits),
		Label:        fs.labelLocked(),
		SectorSize:   l.sector,
		ClusterSize:  l.cluster,
		Clusters:     int64(l.last) - 1,
		FreeClusters: int64(fs.table.free),
		LostClusters: int64(fs.lost),
		Dirty:        fs.dirty(),
	}
	if s := fs.boot[l.signatureField()]; s == 0x28 || s == 0x29 {
		id := binary.LittleEndian.Uint32(fs.boot[l.idField():])
		i.VolumeID = fmt.Sprintf("%04X-%04X", id>>16, id&0xffff)
	}
	return i
}

// Type returns go-diskfs's number of the kind of file system.
func (fs *FS) Type() filesystem.Type {
	if fs.layout.bits == 16 {
		return filesystem.TypeFat16
	}
	return filesystem.TypeFat32
}

// labelSize is how long a label may be, in bytes.
const labelSize = 11

// noLabel is what the boot sector says if there is no label.
const noLabel = "NO NAME    "

// Label returns the volume's label, or "" if it has none.
func (fs *FS) Label() string {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.labelLocked()
}

func (fs *FS) labelLocked() string {
	if d, err := fs.loadDir(".", 0); err == nil && d.label != nil {
		return strings.TrimRight(string(d.label.slot[:labelSize]), " ")
	}
	if at := fs.layout.labelField(); fs.boot[fs.layout.signatureField()] == 0x29 {
		if s := string(fs.boot[at : at+labelSize]); s != noLabel {
			return strings.TrimRight(s, " \x00")
		}
	}
	return ""
}

// SetLabel sets the volume's label, in the root directory and in the boot sector:
// up to 11 ASCII characters; "" takes it away.
func (fs *FS) SetLabel(label string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if err := fs.setLabel(label); err != nil {
		return fmt.Errorf("failed to set the label %q: %w", label, err)
	}
	return nil
}

func (fs *FS) setLabel(label string) error {
	if len(label) > labelSize {
		return fmt.Errorf("it has %d bytes, and may have %d", len(label), labelSize)
	}
	for _, c := range []byte(label) {
		if c < ' ' || c >= 0x7f || strings.IndexByte(badLong+"+,.;=[]", c) >= 0 {
			return fmt.Errorf("it cannot hold %q", c)
		}
	}
	if label != strings.TrimSpace(label) {
		return errors.New("it cannot begin or end with a space")
	}
	if err := fs.begin(); err != nil {
		return err
	}
	d, err := fs.loadDir(".", 0)
	if err != nil {
		return err
	}
	var slot [slotSize]byte
	copy(slot[:], fmt.Sprintf("%-11s", label))
	slot[11] = attrLabel
	fs.stamp(&slot)
	switch {
	case label == "" && d.label != nil:
		err = fs.removeSlots(d, d.label)
	case label != "" && d.label != nil:
		err = fs.writeSlot(d, d.label.at, slot[:])
	case label != "":
		_, err = fs.addSlots(d, [][slotSize]byte{slot})
	}
	if err != nil || fs.boot[fs.layout.signatureField()] != 0x29 {
		return err
	}
	field := slot[:labelSize]
	if label == "" {
		field = []byte(noLabel)
	}
	return fs.writeBoot(fs.layout.labelField(), field)
}
