package ext4

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/piimg/piimg/imagebuild/ext4/jbd2"
)

// replay is a storage as it will be once the journal has been replayed into
// it. The first write makes it so.
type replay struct {
	fs      *FS
	base    io.ReaderAt
	target  io.WriterAt
	log     *jbd2.Log
	journal *blockMap
	errors  []byte // what the superblock knows of errors, which the journal does not bring back
	buf     []byte
	written bool
}

// openJournal reads the journal, and returns what is to be replayed from it:
// nil if there is nothing.
func (f *FS) openJournal() (*replay, error) {
	needed := f.sb.hasIncompat(incompatRecover)
	if !f.sb.hasCompat(compatHasJournal) || f.sb.journalIno == 0 {
		if needed {
			return nil, corrupt("superblock", 0, 0, "it needs its journal to be replayed, but has none")
		}
		return nil, nil
	}
	in, err := f.inode(f.sb.journalIno)
	if err != nil {
		return nil, err
	}
	if !in.isRegular() {
		return nil, corrupt("journal", in.ino, 0, "it is not a regular file")
	}
	m, err := in.blocks()
	if err != nil {
		return nil, err
	}
	r := &replay{fs: f, base: f.storage, journal: m, buf: make([]byte, f.sb.blockSize)}
	blocks := min(uint64(in.size())/uint64(f.sb.blockSize), maxLogical)
	j, err := jbd2.Open(r.readJournal, f.sb.blockSize, uint32(blocks))
	if err != nil {
		return nil, journalError(in.ino, err)
	}
	switch {
	case j.Errno() != 0:
		return nil, &UnsupportedError{
			Features: []string{fmt.Sprintf("errors recorded in its journal (%d)", j.Errno())},
			Writing:  true, Remedy: "run e2fsck -fy on it first",
		}
	case j.Empty():
		return nil, nil
	case !needed:
		return nil, &UnsupportedError{
			Features: []string{"a journal that holds transactions, though it needs no recovery"},
			Writing:  true, Remedy: "run e2fsck -fy on it first",
		}
	}
	if r.log, err = j.Scan(); err != nil {
		return nil, journalError(in.ino, err)
	}
	return r, r.checkTargets(in)
}

// journalError makes this package's errors of those of jbd2.
func journalError(ino uint32, err error) error {
	var damaged *jbd2.CorruptError
	var unsupported *jbd2.UnsupportedError
	switch {
	case errors.As(err, &damaged):
		return corrupt("journal", ino, 0, "block %d of it: %s", damaged.Block, damaged.Reason)
	case errors.As(err, &unsupported):
		features := make([]string, len(unsupported.Features))
		for i, f := range unsupported.Features {
			features[i] = f + " (journal)"
		}
		return &UnsupportedError{Features: features, Writing: true, Remedy: "run e2fsck -fy on it first, or mount it once"}
	}
	return err
}

// readJournal reads block n of the journal, as it is in the storage.
func (r *replay) readJournal(n uint32, p []byte) error {
	at := r.journal.lookup(n)
	if at.phys == 0 || at.unwritten {
		return corrupt("journal", r.fs.sb.journalIno, 0, "block %d of it is missing", n)
	}
	return readFull(r.base, p, r.fs.start+int64(at.phys)*int64(len(p)))
}

// checkTargets refuses a journal that would be replayed out of the file system, or over itself.
func (r *replay) checkTargets(in *inode) error {
	if len(r.log.Writes) == 0 {
		return nil
	}
	if last := r.log.Writes[len(r.log.Writes)-1].Target; last >= r.fs.sb.blocks {
		return corrupt("journal", in.ino, 0, "it holds block %d of a file system of %d blocks", last, r.fs.sb.blocks)
	}
	for run := range r.journal.tree.all() {
		if i := r.find(run.phys); i < len(r.log.Writes) && r.log.Writes[i].Target < run.phys+uint64(run.count) {
			return corrupt("journal", in.ino, r.log.Writes[i].Target, "it holds a block of its own")
		}
	}
	return nil
}

// checkMap sees to it that the journal, once it has been replayed, is where it was.
func (r *replay) checkMap() error {
	in, err := r.fs.inode(r.fs.sb.journalIno)
	if err != nil {
		return err
	}
	m, err := in.blocks()
	if err != nil {
		return err
	}
	if !slices.Equal(slices.Collect(m.tree.all()), slices.Collect(r.journal.tree.all())) {
		return corrupt("journal", in.ino, 0, "it moves itself elsewhere")
	}
	return nil
}

// find is the index of the first write to block blk or behind it.
func (r *replay) find(blk uint64) int {
	return sort.Search(len(r.log.Writes), func(i int) bool { return r.log.Writes[i].Target >= blk })
}

// ReadAt reads what the storage will hold.
func (r *replay) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.base.ReadAt(p, off)
	bs, from := int64(len(r.buf)), off-r.fs.start
	for _, w := range r.log.Writes[r.find(uint64(from/bs)):] {
		at := int64(w.Target)*bs - from
		if at >= int64(n) {
			break
		}
		if err := r.log.Read(w, r.buf); err != nil {
			return 0, err
		}
		copy(p[max(at, 0):n], r.buf[max(-at, 0):])
	}
	return n, err
}

// WriteAt writes to the storage, into which the journal has been replayed before.
func (r *replay) WriteAt(p []byte, off int64) (int, error) {
	if err := r.write(); err != nil {
		return 0, err
	}
	return r.target.WriteAt(p, off)
}

// write replays the journal and empties it. From then on the file system uses
// the storage itself.
func (r *replay) write() error {
	if r.written {
		return nil
	}
	r.written = true
	f := r.fs
	f.storage, f.writable = r.base, r.target
	for _, w := range r.log.Writes {
		if err := r.log.Read(w, r.buf); err != nil {
			return err
		}
		if err := f.writeStorage(r.buf, int64(w.Target)*int64(len(r.buf))); err != nil {
			return err
		}
	}
	// Last: until now the journal could be replayed once more.
	return f.writeStorage(r.log.Superblock, int64(r.journal.lookup(0).phys)*int64(len(r.buf)))
}
