package ext4

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/diskfs/go-diskfs/filesystem"
)

// cacheLimit is how many bytes of metadata are held between operations.
const cacheLimit = 16 << 20

const (
	maxKept  = 16 // directories whose block maps are held between operations
	maxSpare = 16 // blocks that are held for taking operations back
)

// buffer is one block of metadata. Its data is changed only through FS.edit
// and FS.fresh, which keep what is needed to take the change back.
type buffer struct {
	blk      uint64
	data     []byte
	dirty    bool
	verified bool // the checksum was found right, or does not exist
	used     bool // since the cache was trimmed
	tx       uint64
}

// txn is one operation: everything it changed, to be taken back if it fails.
type txn struct {
	undo  []undo
	freed map[uint64]struct{}
	// Groups whose checksums must be made right when the operation ends.
	blockBitmaps, inodeBitmaps, descs map[uint32]struct{}
	super                             bool
	// inodes are those in use by the operation: one object each, however often
	// it is looked up. Those in removed stop being files when it succeeds.
	inodes  map[uint32]*inode
	removed []*inode
	// next is what the operation changed of allocator.next; 0 where nothing was.
	next map[uint32]uint64
	// before is how the file system was, if the operation changed that.
	before *shape
}

// shape is what the superblock says beside its counters, and which blocks are
// the file system's own structures.
type shape struct {
	sb     *superblock
	system []blockRange
}

// reshape makes sb what the superblock says, within an operation. The bytes are
// the caller's to change.
func (fs *FS) reshape(sb *superblock) {
	if fs.tx.before == nil {
		fs.tx.before = &shape{fs.sb, fs.system}
	}
	fs.sb = sb
}

type undo struct {
	b        *buffer
	data     []byte
	dirty    bool
	verified bool
}

// block returns block blk, from the cache or from the storage.
func (fs *FS) block(blk uint64) (*buffer, error) {
	if b, ok := fs.cache[blk]; ok {
		b.used = true
		return b, nil
	}
	if blk >= fs.sb.blocks {
		return nil, corrupt("file system", 0, blk, "a block past the end (%d blocks) is referred to", fs.sb.blocks)
	}
	b := &buffer{blk: blk, data: make([]byte, fs.sb.blockSize)}
	if err := fs.readStorage(b.data, int64(blk)*int64(fs.sb.blockSize)); err != nil {
		return nil, err
	}
	fs.cache[blk] = b
	return b, nil
}

// edit returns the data of b for changing, within an operation.
func (fs *FS) edit(b *buffer) []byte {
	if b.tx != fs.txID {
		b.tx = fs.txID
		fs.tx.undo = append(fs.tx.undo, undo{b, fs.copyOf(b.data), b.dirty, b.verified})
	}
	b.dirty = true
	return b.data
}

// copyOf returns a copy of a block, in what an earlier operation kept for that if there is any.
func (fs *FS) copyOf(data []byte) []byte {
	n := len(fs.spare) - 1
	if n < 0 {
		return bytes.Clone(data)
	}
	p := fs.spare[n]
	fs.spare = fs.spare[:n]
	copy(p, data)
	return p
}

// fresh returns a buffer of zeros for block blk, whatever the block held.
func (fs *FS) fresh(blk uint64) (*buffer, error) {
	b, ok := fs.cache[blk]
	if !ok {
		var err error
		if b, err = fs.block(blk); err != nil {
			return nil, err
		}
	}
	clear(fs.edit(b))
	b.verified = true
	delete(fs.tx.freed, blk)
	return b, nil
}

// replace makes data the contents of b, if it is not already.
func (fs *FS) replace(b *buffer, data []byte) {
	if !bytes.Equal(b.data, data) {
		copy(fs.edit(b), data)
	}
}

// update runs one operation. If fn fails, all that it changed in metadata is taken back.
func (fs *FS) update(fn func() error) error {
	if fs.readOnly {
		return filesystem.ErrReadonlyFilesystem
	}
	if fs.closed {
		return errClosed
	}
	fs.txID++
	fs.tx = &txn{
		freed:        map[uint64]struct{}{},
		inodes:       map[uint32]*inode{},
		next:         map[uint32]uint64{},
		blockBitmaps: map[uint32]struct{}{}, inodeBitmaps: map[uint32]struct{}{}, descs: map[uint32]struct{}{},
	}
	err := fn()
	if err == nil {
		err = fs.sealGroups()
	}
	if err != nil {
		fs.rollback()
		return err
	}
	for blk := range fs.tx.freed {
		delete(fs.cache, blk)
	}
	for _, in := range fs.tx.removed {
		in.removed = true
		delete(fs.open, in.ino)
	}
	for _, u := range fs.tx.undo[:min(len(fs.tx.undo), maxSpare-len(fs.spare))] {
		fs.spare = append(fs.spare, u.data)
	}
	fs.tx = nil
	return fs.trim()
}

func (fs *FS) rollback() {
	if before := fs.tx.before; before != nil {
		fs.sb, fs.system = before.sb, before.system
	}
	for _, u := range slices.Backward(fs.tx.undo) {
		copy(u.b.data, u.data)
		u.b.dirty, u.b.verified, u.b.tx = u.dirty, u.verified, 0
		if !u.dirty {
			delete(fs.cache, u.b.blk)
		}
	}
	for home, next := range fs.tx.next {
		if fs.alloc.next[home] = next; next == 0 {
			delete(fs.alloc.next, home)
		}
	}
	fs.tx = nil
	clear(fs.kept)
	fs.reloadOpen()
}

// trim keeps the cache within its limit: it drops what was not used since it
// did so before, or everything if that is not enough. No buffer may be in use.
func (fs *FS) trim() error {
	if len(fs.kept) > maxKept {
		clear(fs.kept)
	}
	limit := cacheLimit / fs.sb.blockSize
	if len(fs.cache) <= limit {
		return nil
	}
	if err := fs.flush(); err != nil {
		return err
	}
	maps.DeleteFunc(fs.cache, func(_ uint64, b *buffer) bool { return !b.used })
	if len(fs.cache) > limit/2 {
		clear(fs.cache)
	}
	for _, b := range fs.cache {
		b.used = false
	}
	return nil
}

// flush writes back what changed, in the order of blocks but the superblock
// last: cut off midway, a file system that grows still has its old size.
func (fs *FS) flush() error {
	var dirty []*buffer
	for _, b := range fs.cache {
		if b.dirty {
			dirty = append(dirty, b)
		}
	}
	super := superblockOffset / uint64(fs.sb.blockSize)
	slices.SortFunc(dirty, func(a, b *buffer) int {
		if a.blk != super && (b.blk == super || a.blk < b.blk) {
			return -1
		}
		return 1
	})
	old := make([]byte, fs.sb.blockSize)
	for _, b := range dirty {
		if err := fs.writeChanged(b.data, old, int64(b.blk)*int64(fs.sb.blockSize)); err != nil {
			return err
		}
		b.dirty = false
	}
	return nil
}

// writeChanged writes p to byte off of the file system, from the first to the
// last byte that differs from what is there. It reads that into old, which is as long.
func (fs *FS) writeChanged(p, old []byte, off int64) error {
	if err := fs.readStorage(old, off); err != nil || bytes.Equal(p, old) {
		return err
	}
	lo, hi := 0, len(old)
	for old[lo] == p[lo] {
		lo++
	}
	for old[hi-1] == p[hi-1] {
		hi--
	}
	return fs.writeStorage(p[lo:hi], off+int64(lo))
}

// readStorage fills p from byte off of the file system.
func (fs *FS) readStorage(p []byte, off int64) error { return readFull(fs.storage, p, fs.start+off) }

// readFull fills p from byte off of the image.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at %d of the image: %w", len(p), off, err)
}

func (fs *FS) writeStorage(p []byte, off int64) error {
	n, err := fs.writable.WriteAt(p, fs.start+off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write %d bytes at %d of the image: %w", len(p), fs.start+off, err)
	}
	return nil
}
