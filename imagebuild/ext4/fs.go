package ext4

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/filesystem"
)

var errClosed = errors.New("file system is closed")

// Options say how a file system is opened.
type Options struct {
	// Time stamps what is created or changed. If it is zero, that is the time
	// at which the file system was made.
	Time time.Time
	// ReadOnly opens what can be read but not written, and refuses all writing.
	ReadOnly bool
}

// FS is an open ext4 file system. It implements go-diskfs's
// filesystem.FileSystem, and io/fs's FS, ReadDirFS, ReadFileFS, StatFS and
// ReadLinkFS. Its methods may be called from several goroutines, which take
// turns. What is written reaches the storage as far as metadata is concerned
// with Sync or Close, file contents at once.
type FS struct {
	mu       sync.Mutex
	storage  io.ReaderAt
	writable io.WriterAt
	start    int64
	size     int64 // bytes from start on that the file system may grow into
	sb       *superblock
	time     time.Time
	readOnly bool
	closed   bool

	system []blockRange
	cache  map[uint64]*buffer
	tx     *txn
	txID   uint64
	open   map[uint32]*inode // inodes of open files
	kept   map[uint32]*inode // directories whose maps were needed lately
	spare  [][]byte
	alloc  allocator

	recovery Recovery
}

var (
	_ filesystem.FileSystem = (*FS)(nil)
	_ fs.ReadLinkFS         = (*FS)(nil)
)

// Open opens the ext4 file system that occupies size bytes of b from byte
// start on. It verifies the superblock and the group descriptors, and refuses
// by name what it does not support ([UnsupportedError]) before anything is
// written. For writing, a file system that was not unmounted cleanly is first
// brought up to date, in b: see [FS.Recovery]. b stays the caller's: closing
// the file system does not close it.
func Open(b backend.Storage, start, size int64, o Options) (*FS, error) {
	fail := func(err error) (*FS, error) {
		return nil, fmt.Errorf("open ext4 file system at byte %d: %w", start, err)
	}
	f := &FS{
		storage: b, start: start, size: size, readOnly: o.ReadOnly, time: o.Time,
		cache: map[uint64]*buffer{}, open: map[uint32]*inode{}, kept: map[uint32]*inode{},
		alloc: allocator{next: map[uint32]uint64{}},
	}
	if start < 0 || size < superblockOffset+superblockSize {
		return fail(corrupt("superblock", 0, 0, "%d bytes are too few for a file system", size))
	}
	if err := f.loadSuper(size); err != nil {
		return fail(err)
	}
	if f.time.IsZero() {
		f.time = time.Unix(f.sb.mkfsTime, 0)
	}
	if f.readOnly {
		if err := f.loadRoot(); err != nil {
			return fail(err)
		}
		return f, nil
	}
	if err := f.recover(b.Writable, size); err != nil {
		return fail(err)
	}
	return f, nil
}

// loadSuper reads the superblock of a file system that has size bytes to itself.
func (f *FS) loadSuper(size int64) error {
	p := make([]byte, superblockSize)
	if err := f.readStorage(p, superblockOffset); err != nil {
		return err
	}
	sb, err := parseSuperblock(p, size)
	if err == nil {
		f.sb = sb
	}
	return err
}

// loadRoot verifies the group descriptors and the root's inode.
func (f *FS) loadRoot() error {
	if err := f.checkGroups(); err != nil {
		return err
	}
	root, err := f.inode(rootIno)
	if err != nil {
		return err
	}
	if !root.isDir() {
		return corrupt("inode", rootIno, 0, "the root is not a directory")
	}
	return nil
}

// Type says that this is an ext4 file system.
func (f *FS) Type() filesystem.Type { return filesystem.TypeExt4 }

// view runs fn, which changes nothing, and wraps its error with the operation and the path.
func (f *FS) view(op, name string, fn func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := errClosed
	if !f.closed {
		if err = fn(); err == nil {
			err = f.trim()
		}
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// Stat returns the file that name leads to, symbolic links followed within the
// file system. Its Sys is a *[Stat].
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name, true) }

// Lstat is Stat, but a symbolic link in the last place is not followed.
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name, false) }

func (f *FS) stat(op, name string, follow bool) (fi fs.FileInfo, err error) {
	err = f.view(op, name, func() error {
		in, err := f.find(name, follow)
		if err == nil {
			fi = in.info(name)
		}
		return err
	})
	return fi, err
}

// ReadLink returns the target of the symbolic link name.
func (f *FS) ReadLink(name string) (target string, err error) {
	err = f.view("readlink", name, func() error {
		in, err := f.find(name, false)
		if err == nil {
			target, err = in.readlink()
		}
		return err
	})
	return target, err
}

// maxReadFile is the largest file that is read into memory: a sparse file's
// size says nothing of the image's.
const maxReadFile = 1 << 30

// ReadFile returns the content of a regular file of up to 1 GiB.
func (f *FS) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() // opened for reading: there is nothing to lose
	fi, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		_, err := file.Read(make([]byte, 1)) // which says why not
		return nil, err
	}
	if fi.Size() > maxReadFile {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("%w to be read into memory at once: %d bytes", errFileTooBig, fi.Size())}
	}
	data := make([]byte, fi.Size())
	n, err := io.ReadFull(file, data)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return data[:n], err
}

// ReadDir returns the entries of a directory, sorted by name, without "." and "..".
func (f *FS) ReadDir(name string) (entries []fs.DirEntry, err error) {
	err = f.view("readdir", name, func() error {
		in, err := f.find(name, true)
		if err == nil {
			entries, err = in.dirEntries()
		}
		return err
	})
	return entries, err
}

func (in *inode) dirEntries() ([]fs.DirEntry, error) {
	list, err := in.list()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b listed) int { return strings.Compare(a.name, b.name) })
	entries := make([]fs.DirEntry, len(list))
	for i, l := range list {
		e := dirEntry{fs: in.fs, listed: l}
		mode, known := typeOfDirent(l.ftype)
		if !known {
			child, err := in.fs.inode(l.ino)
			if err != nil {
				return nil, err
			}
			mode = goMode(child.mode()).Type()
		}
		e.mode = mode
		entries[i] = e
	}
	return entries, nil
}

// dirEntry is an entry that looks its inode up only when it is asked to.
type dirEntry struct {
	fs *FS
	listed
	mode fs.FileMode
}

func (e dirEntry) Name() string      { return e.name }
func (e dirEntry) IsDir() bool       { return e.mode.IsDir() }
func (e dirEntry) Type() fs.FileMode { return e.mode }
func (e dirEntry) String() string    { return fs.FormatDirEntry(e) }

func (e dirEntry) Info() (fi fs.FileInfo, err error) {
	err = e.fs.view("stat", e.name, func() error {
		in, err := e.fs.inode(e.ino)
		if err == nil {
			fi = in.info(e.name)
		}
		return err
	})
	return fi, err
}

// Open opens a file or directory for reading.
func (f *FS) Open(name string) (fs.File, error) {
	file, err := f.openFile(name, 0)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// Sync writes everything to the storage that is still in memory. What open
// files keep for being rewritten after a truncation is freed, as with [File.Close].
func (f *FS) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sync()
}

func (f *FS) sync() error {
	if f.closed {
		return errClosed
	}
	if f.readOnly {
		return nil
	}
	inos := make([]uint32, 0, len(f.open))
	for ino, in := range f.open {
		if in.unsettled() {
			inos = append(inos, ino)
		}
	}
	slices.Sort(inos)
	for _, ino := range inos {
		in := f.open[ino]
		if err := f.update(in.settle); err != nil {
			return err
		}
		if in.refs == 0 { // its last Close has failed
			delete(f.open, ino)
		}
	}
	return f.flush()
}

// Close is Sync, and the end of all use of the file system. The storage stays open.
func (f *FS) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	err := f.sync()
	f.closed = true
	f.cache, f.kept = nil, nil
	return err
}

// reloadOpen makes the inodes of open files agree with their buffers, after an
// operation was taken back. One that is no file now, because the operation had
// made it, must not stand in for the next file that gets its number.
func (f *FS) reloadOpen() {
	for ino, in := range f.open {
		if err := in.load(); err != nil {
			in.removed = true
			delete(f.open, ino)
		}
	}
}
