package fat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"time"

	"github.com/diskfs/go-diskfs/filesystem"
)

// stamp sets all times of a slot.
func (fs *FS) stamp(slot *[slotSize]byte) {
	fs.stampChange(slot)
	setCreated(slot, fs.time)
}

// stampChange sets the times that a change of the content sets.
func (fs *FS) stampChange(slot *[slotSize]byte) {
	setModified(slot, fs.time)
	setAccessed(slot, fs.time)
}

func setCreated(slot *[slotSize]byte, t time.Time) {
	date, clock, hundredths := encodeTime(t)
	slot[13] = hundredths
	binary.LittleEndian.PutUint16(slot[14:], clock)
	binary.LittleEndian.PutUint16(slot[16:], date)
}

func setAccessed(slot *[slotSize]byte, t time.Time) {
	date, _, _ := encodeTime(t)
	binary.LittleEndian.PutUint16(slot[18:], date)
}

func setModified(slot *[slotSize]byte, t time.Time) {
	date, clock, _ := encodeTime(t)
	binary.LittleEndian.PutUint16(slot[22:], clock)
	binary.LittleEndian.PutUint16(slot[24:], date)
}

// addSlots writes slots into a row of free ones of d, which grows if need be,
// and returns the first one's number.
func (fs *FS) addSlots(d *directory, slots [][slotSize]byte) (int, error) {
	at := d.freeSlots(len(slots))
	if missing := (at+len(slots))*slotSize - len(d.raw); missing > 0 {
		if err := fs.growDir(d, missing); err != nil {
			return 0, err
		}
	}
	fs.gen++
	// What lies behind the end was never looked at: it must not come into sight.
	if next := at + len(slots); next > d.end && next*slotSize < len(d.raw) && d.raw[next*slotSize] != slotEnd {
		var none [slotSize]byte
		if err := fs.writeSlot(d, next, none[:]); err != nil {
			return 0, err
		}
	}
	for i := range slots {
		if err := fs.writeSlot(d, at+i, slots[i][:]); err != nil {
			return 0, err
		}
	}
	d.parse()
	return at, nil
}

// growDir gives a directory at least missing bytes more.
func (fs *FS) growDir(d *directory, missing int) error {
	if d.first == 0 {
		return fmt.Errorf("%w: the root directory has room for %d entries, and %d more are needed (long names take several)",
			ErrNoSpace, fs.layout.rootSlots, missing/slotSize)
	}
	if len(d.raw)+missing > maxSlots*slotSize {
		return fmt.Errorf("%w: %s has %d entries already", ErrNoSpace, d.where(), len(d.raw)/slotSize)
	}
	n := uint32((int64(missing) + fs.layout.cluster - 1) / fs.layout.cluster)
	added, err := fs.table.allocate(n)
	if err != nil {
		return err
	}
	zeros := make([]byte, int64(n)*fs.layout.cluster)
	if err := fs.writeRuns(added, 0, zeros); err != nil {
		return err
	}
	d.runs = fs.link(d.runs, added)
	d.raw = append(d.raw, zeros...)
	fs.gen++
	return nil
}

// link appends a chain to a chain.
func (fs *FS) link(runs, added []run) []run {
	if len(runs) == 0 {
		return added
	}
	last := runs[len(runs)-1]
	fs.table.SetCluster(last.first+last.n-1, added[0].first)
	return append(runs[:len(runs):len(runs)], added...)
}

// writeRuns writes p to the clusters of a chain, from off on.
func (fs *FS) writeRuns(runs []run, off int64, p []byte) error {
	return fs.each(runs, off, p, fs.write)
}

func (fs *FS) readRuns(runs []run, off int64, p []byte) error {
	return fs.each(runs, off, p, fs.read)
}

// each calls do for each piece of the chain's bytes from off on that lie in a row.
func (fs *FS) each(runs []run, off int64, p []byte, do func([]byte, int64) error) error {
	for _, r := range runs {
		size := int64(r.n) * fs.layout.cluster
		if off >= size {
			off -= size
			continue
		}
		if len(p) == 0 {
			return nil
		}
		n := min(int64(len(p)), size-off)
		if err := do(p[:n], fs.layout.offset(r.first)+off); err != nil {
			return err
		}
		p, off = p[n:], 0
	}
	if len(p) > 0 {
		return fmt.Errorf("%d bytes are past the end of the chain", len(p))
	}
	return nil
}

// nobody is what [FS.add] is told if the new entry replaces none.
const nobody = -1

// add makes an entry of that name from a slot, of which it sets the name. It may
// have the short name of the entry at slot except, which is about to go.
func (fs *FS) add(d *directory, name string, slot [slotSize]byte, except int) (*entry, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	short, long, err := makeShort(name, func(s shortName) bool { return d.taken(s, except) })
	if err != nil {
		return nil, err
	}
	copy(slot[:], short[:])
	slot[12] &^= lowerBase | lowerExt
	var slots [][slotSize]byte
	if long {
		slots = longSlots(name, short.checksum())
	}
	at, err := fs.addSlots(d, append(slots, slot))
	if err != nil {
		return nil, err
	}
	for _, e := range d.entries {
		if e.from == at {
			return e, nil
		}
	}
	return nil, corrupt(d.where(), "the new entry %q cannot be read back", name)
}

// removeSlots frees the slots of an entry.
func (fs *FS) removeSlots(d *directory, e *entry) error {
	fs.gen++
	for i := e.from; i <= e.at; i++ {
		if err := fs.writeSlot(d, i, []byte{slotFree}); err != nil {
			return err
		}
	}
	d.parse()
	return nil
}

// Mkdir makes a directory. Its parent must exist.
func (fs *FS) Mkdir(name string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return pathError("mkdir", name, fs.mkdir(name))
}

func (fs *FS) mkdir(name string) error {
	path, err := clean(name)
	if err != nil {
		return err
	}
	if err := fs.begin(); err != nil {
		return err
	}
	d, e, base, err := fs.lookup(path)
	switch {
	case err != nil:
		return err
	case e != nil || path == ".":
		return iofs.ErrExist
	}
	_, err = fs.makeDir(d, base)
	return err
}

func (fs *FS) makeDir(parent *directory, name string) (*entry, error) {
	if parent.depth() == maxDepth {
		return nil, errDepth()
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	runs, err := fs.table.allocate(1)
	if err != nil {
		return nil, err
	}
	var slot [slotSize]byte
	slot[11] = attrDir
	fs.stamp(&slot)
	setCluster(&slot, runs[0].first)

	content := make([]byte, fs.layout.cluster)
	dot, dotdot := slot, slot
	copy(dot[:], ".          ")
	copy(dotdot[:], "..         ")
	setCluster(&dotdot, fs.parentCluster(parent))
	copy(content, dot[:])
	copy(content[slotSize:], dotdot[:])
	if err := fs.writeRuns(runs, 0, content); err != nil {
		return nil, err
	}
	e, err := fs.add(parent, name, slot, nobody)
	if err != nil {
		fs.table.release(runs)
	}
	return e, err
}

func errDepth() error {
	return fmt.Errorf("directories cannot be nested more than %d deep", maxDepth)
}

// parentCluster is what ".." of a directory in d holds: 0 for the root directory,
// wherever that is.
func (fs *FS) parentCluster(d *directory) uint32 {
	if d.path == "." {
		return 0
	}
	return d.first
}

// Remove removes a file or an empty directory.
func (fs *FS) Remove(name string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return pathError("remove", name, fs.remove(name, false))
}

// RemoveAll removes a file, or a directory with all that is in it. It is no error
// if there is none.
func (fs *FS) RemoveAll(name string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	err := fs.remove(name, true)
	if errors.Is(err, iofs.ErrNotExist) {
		err = nil
	}
	return pathError("removeall", name, err)
}

// beginOn begins a change to an entry that is there, which the root is not.
func (fs *FS) beginOn(name string) (*directory, *entry, error) {
	path, err := clean(name)
	if err != nil {
		return nil, nil, err
	}
	if err := fs.begin(); err != nil {
		return nil, nil, err
	}
	d, e, _, err := fs.lookup(path)
	switch {
	case err != nil:
		return nil, nil, err
	case path == ".":
		return nil, nil, errRoot
	case e == nil:
		return nil, nil, iofs.ErrNotExist
	}
	return d, e, nil
}

func (fs *FS) remove(name string, all bool) error {
	d, e, err := fs.beginOn(name)
	if err != nil {
		return err
	}
	return fs.removeEntry(d, e, all)
}

func (fs *FS) removeEntry(d *directory, e *entry, all bool) error {
	if e.isDir() {
		sub, err := fs.openDir(d, e)
		if err != nil {
			return err
		}
		if len(sub.entries) > 0 && !all {
			return errNotEmpty
		}
		for len(sub.entries) > 0 {
			if err := fs.removeEntry(sub, sub.entries[0], true); err != nil {
				return err
			}
		}
	}
	if first := e.cluster(fs.layout.bits); first != 0 {
		runs, err := fs.table.chain(first, nil)
		if err != nil {
			return corrupt(d.where(), "entry %q: %v", e.name, err)
		}
		fs.table.release(runs)
	}
	return fs.removeSlots(d, e)
}

// Chtimes sets when a file was created, read and changed; a zero time leaves
// what is there.
func (fs *FS) Chtimes(name string, created, accessed, modified time.Time) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return pathError("chtimes", name, fs.chtimes(name, created, accessed, modified))
}

func (fs *FS) chtimes(name string, created, accessed, modified time.Time) error {
	d, e, err := fs.beginOn(name)
	if err != nil {
		return err
	}
	if !created.IsZero() {
		setCreated(&e.slot, created)
	}
	if !accessed.IsZero() {
		setAccessed(&e.slot, accessed)
	}
	if !modified.IsZero() {
		setModified(&e.slot, modified)
	}
	fs.gen++
	return fs.writeSlot(d, e.at, e.slot[:])
}

// WriteFile leaves a file with the size bytes that r has, in memory that does not
// depend on size. The file keeps its clusters as far as they are needed. If it
// fails, a file that is new is gone again, and one that was there has undefined content.
func (fs *FS) WriteFile(name string, r io.Reader, size int64) error {
	_, err := fs.Stat(name)
	isNew := errors.Is(err, iofs.ErrNotExist)
	f, err := fs.openFile(name, os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return pathError("write", name, err)
	}
	err = f.fill(r, size)
	if err := errors.Join(err, f.Close()); err != nil {
		if isNew {
			err = errors.Join(err, fs.Remove(name))
		}
		return pathError("write", name, err)
	}
	return nil
}

// Mknod fails: a FAT file system has no special files.
func (fs *FS) Mknod(name string, _ uint32, _ int) error {
	return pathError("mknod", name, filesystem.ErrNotSupported)
}

// Link fails: a FAT file system has no links.
func (fs *FS) Link(oldname, newname string) error {
	return &os.LinkError{Op: "link", Old: oldname, New: newname, Err: filesystem.ErrNotSupported}
}

// Symlink fails: a FAT file system has no links.
func (fs *FS) Symlink(oldname, newname string) error {
	return &os.LinkError{Op: "symlink", Old: oldname, New: newname, Err: filesystem.ErrNotSupported}
}

// Chmod fails: a FAT file system has no permissions.
func (fs *FS) Chmod(name string, _ os.FileMode) error {
	return pathError("chmod", name, filesystem.ErrNotSupported)
}

// Chown fails: a FAT file system has no owners.
func (fs *FS) Chown(name string, _, _ int) error {
	return pathError("chown", name, filesystem.ErrNotSupported)
}
