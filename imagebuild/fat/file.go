package fat

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"

	"github.com/diskfs/go-diskfs/filesystem"
)

// maxFile is how large a file can be, in bytes.
const maxFile = 1<<32 - 1

// copySize is how much is copied at a time, in bytes.
const copySize = 1 << 18

var (
	errGone     = errors.New("the file was removed, renamed or replaced while it was open")
	errReadOnly = errors.New("the file is not open for writing")
	errNoRead   = errors.New("the file is not open for reading")
)

// file is an open file. All is guarded by the file system's lock.
type file struct {
	fs   *FS
	path string
	flag int
	pos  int64

	gen    uint64 // of the file system, when d, e and runs were read
	d      *directory
	e      *entry
	at     int64 // where its slot is, which tells it from another file of its name
	runs   []run
	closed bool
}

var (
	_ filesystem.File = (*file)(nil)
	_ io.ReaderAt     = (*file)(nil)
)

// Open opens a file or directory for reading. The file that it returns implements
// [io.Seeker] and [io.ReaderAt] unless it is a directory.
func (fs *FS) Open(name string) (iofs.File, error) {
	if !iofs.ValidPath(name) {
		return nil, pathError("open", name, iofs.ErrInvalid)
	}
	fs.mu.Lock()
	d, e, _, err := fs.lookup(name)
	if err == nil && name != "." && e == nil {
		err = iofs.ErrNotExist
	}
	if err == nil && (e == nil || e.isDir()) {
		defer fs.mu.Unlock()
		if e != nil {
			if d, err = fs.openDir(d, e); err != nil {
				return nil, pathError("open", name, err)
			}
		}
		return &dirFile{name: name, info: fs.info(e), left: fs.list(d)}, nil
	}
	fs.mu.Unlock()
	if err != nil {
		return nil, pathError("open", name, err)
	}
	f, err := fs.openFile(name, os.O_RDONLY)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return f, nil
}

// OpenFile opens a file with the flags of package os. Several handles may be open
// on a file; each sees what the others write.
func (fs *FS) OpenFile(name string, flag int) (filesystem.File, error) {
	f, err := fs.openFile(name, flag)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return f, nil
}

func (fs *FS) openFile(name string, flag int) (*file, error) {
	path, err := clean(name)
	if err != nil {
		return nil, err
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := &file{fs: fs, path: path, flag: flag}
	changes := f.writable() || flag&(os.O_CREATE|os.O_TRUNC) != 0
	if changes {
		if err := fs.begin(); err != nil {
			return nil, err
		}
	}
	d, e, base, err := fs.lookup(path)
	switch {
	case err != nil:
		return nil, err
	case path == ".", e != nil && e.isDir():
		return nil, errIsDir
	case e != nil && flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, iofs.ErrExist
	case e == nil && flag&os.O_CREATE == 0:
		return nil, iofs.ErrNotExist
	case e == nil:
		var slot [slotSize]byte
		slot[11] = attrArchive
		fs.stamp(&slot)
		if e, err = fs.add(d, base, slot, nobody); err != nil {
			return nil, err
		}
	}
	if err := f.take(d, e); err != nil {
		return nil, err
	}
	f.at = fs.slotOffset(d, e.at)
	if flag&os.O_TRUNC != 0 && e.size() > 0 {
		if err := f.resize(0, 0); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *file) writable() bool { return f.flag&(os.O_WRONLY|os.O_RDWR) != 0 }

// take makes an entry the file's.
func (f *file) take(d *directory, e *entry) error {
	f.d, f.e, f.runs, f.gen = d, e, nil, f.fs.gen
	if first := e.cluster(f.fs.layout.bits); first != 0 {
		var err error
		if f.runs, err = f.fs.table.chain(first, nil); err != nil {
			return corrupt(d.where(), "entry %q: %v", e.name, err)
		}
	}
	return nil
}

// use is called before every use of an open file.
func (f *file) use() error {
	if f.closed || f.fs.closed {
		return iofs.ErrClosed
	}
	if f.gen == f.fs.gen {
		return nil
	}
	d, e, _, err := f.fs.lookup(f.path)
	if err != nil || e == nil || f.fs.slotOffset(d, e.at) != f.at || e.isDir() {
		return errGone
	}
	return f.take(d, e)
}

func (f *file) Stat() (iofs.FileInfo, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.use(); err != nil {
		return nil, pathError("stat", f.path, err)
	}
	return f.fs.info(f.e), nil
}

func (f *file) Read(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err := f.readAt(p, f.pos)
	f.pos += int64(n)
	return n, err
}

// ReadAt reads as [io.ReaderAt] says.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err := f.readAt(p, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (f *file) readAt(p []byte, off int64) (int, error) {
	switch err := f.use(); {
	case err != nil:
		return 0, pathError("read", f.path, err)
	case f.flag&os.O_WRONLY != 0:
		return 0, pathError("read", f.path, errNoRead)
	case off < 0:
		return 0, pathError("read", f.path, iofs.ErrInvalid)
	case len(p) == 0:
		return 0, nil
	}
	left := int64(f.e.size()) - off
	if left <= 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), left))
	if err := f.fs.readRuns(f.runs, off, p[:n]); err != nil {
		return 0, pathError("read", f.path, err)
	}
	return n, nil
}

func (f *file) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.write(p); err != nil {
		return 0, pathError("write", f.path, err)
	}
	return len(p), nil
}

func (f *file) write(p []byte) error {
	if err := f.use(); err != nil {
		return err
	}
	if !f.writable() {
		return errReadOnly
	}
	if err := f.fs.begin(); err != nil {
		return err
	}
	if f.flag&os.O_APPEND != 0 {
		f.pos = int64(f.e.size())
	}
	if len(p) == 0 {
		return nil
	}
	end := f.pos + int64(len(p))
	if end > int64(f.e.size()) {
		if err := f.resize(end, f.pos); err != nil {
			return err
		}
	} else if err := f.changed(); err != nil {
		return err
	}
	if err := f.fs.writeRuns(f.runs, f.pos, p); err != nil {
		return err
	}
	f.pos = end
	return nil
}

// resize gives the file another size. It keeps the clusters that it has as far
// as they are needed. The caller writes what is new from from on; the rest of it is
// zeros.
func (f *file) resize(size, from int64) error {
	if size > maxFile {
		return fmt.Errorf("%w: %d bytes, of %d that it can hold", ErrTooLarge, size, int64(maxFile))
	}
	fs := f.fs
	old, room := int64(f.e.size()), int64(count(f.runs))*fs.layout.cluster
	need := uint32((size + fs.layout.cluster - 1) / fs.layout.cluster)
	switch have := count(f.runs); {
	case need > have:
		added, err := fs.table.allocate(need - have)
		if err != nil {
			return fmt.Errorf("%w (%d bytes in all)", err, size)
		}
		f.runs = fs.link(f.runs, added)
	case need < have:
		kept, freed := split(f.runs, need)
		fs.table.release(freed)
		// The next file may take the place, or this one if it grows again.
		fs.table.hint = freed[0].first - 1
		if need > 0 {
			last := kept[len(kept)-1]
			fs.table.SetCluster(last.first+last.n-1, fs.table.EOCMarker())
		}
		f.runs = kept
	}
	first := uint32(0)
	if need > 0 {
		first = f.runs[0].first
	}
	f.e.setCluster(first)
	f.e.setSize(uint32(size))
	// What nobody is about to write: a gap before, and the rest of a new cluster.
	if err := f.zero(old, min(from, size)); err != nil {
		return err
	}
	if size > room {
		if err := f.zero(size, int64(need)*fs.layout.cluster); err != nil {
			return err
		}
	}
	fs.gen++
	return f.changed()
}

// zero writes zeros to the file's clusters from off to end.
func (f *file) zero(off, end int64) error {
	zeros := make([]byte, min(max(end-off, 0), copySize))
	for off < end {
		n := min(int64(len(zeros)), end-off)
		if err := f.fs.writeRuns(f.runs, off, zeros[:n]); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// changed stamps the file and writes its slot.
func (f *file) changed() error {
	fs := f.fs
	fs.stampChange(&f.e.slot)
	f.e.slot[11] |= attrArchive
	f.gen = fs.gen
	return fs.writeSlot(f.d, f.e.at, f.e.slot[:])
}

// fill makes the size bytes of r all that the file holds.
func (f *file) fill(r io.Reader, size int64) error {
	if size < 0 {
		return iofs.ErrInvalid
	}
	f.fs.mu.Lock()
	err := f.use()
	if err == nil {
		err = f.resize(size, 0)
	}
	f.fs.mu.Unlock()
	if err != nil {
		return err
	}
	buf := make([]byte, min(size+1, copySize))
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(r, size), buf)
	if err != nil {
		return err
	}
	if n < size {
		return fmt.Errorf("only %d of %d bytes came: %w", n, size, io.ErrUnexpectedEOF)
	}
	if n, _ := io.ReadFull(r, buf[:1]); n > 0 {
		return fmt.Errorf("more than %d bytes came", size)
	}
	return nil
}

// Seek sets where the next Read or Write begins, as [io.Seeker] says.
func (f *file) Seek(offset int64, whence int) (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.use(); err != nil {
		return 0, pathError("seek", f.path, err)
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.pos
	case io.SeekEnd:
		offset += int64(f.e.size())
	default:
		return 0, pathError("seek", f.path, iofs.ErrInvalid)
	}
	if offset < 0 {
		return 0, pathError("seek", f.path, iofs.ErrInvalid)
	}
	f.pos = offset
	return offset, nil
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return pathError("close", f.path, iofs.ErrClosed)
	}
	f.closed = true
	return nil
}

// dirFile is an open directory, as it was when it was opened.
type dirFile struct {
	name string
	info *info
	left []iofs.DirEntry
}

func (d *dirFile) Stat() (iofs.FileInfo, error) { return d.info, nil }
func (d *dirFile) Close() error                 { return nil }

func (d *dirFile) Read([]byte) (int, error) {
	return 0, pathError("read", d.name, errIsDir)
}

// ReadDir returns the next n entries, or all that are left, as [iofs.ReadDirFile] says.
func (d *dirFile) ReadDir(n int) ([]iofs.DirEntry, error) {
	if n <= 0 {
		n = len(d.left)
	} else if len(d.left) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.left))
	out := d.left[:n:n]
	d.left = d.left[n:]
	return out, nil
}
