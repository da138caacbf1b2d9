package ext4

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/diskfs/go-diskfs/filesystem"
)

// File is an open file or directory. Several files open on one inode see each
// other's writes. It implements filesystem.File, fs.ReadDirFile, io.ReaderAt
// and io.WriterAt.
type File struct {
	fs     *FS
	in     *inode
	name   string
	flag   int
	pos    int64
	list   []fs.DirEntry
	listed bool
	closed bool
}

var (
	_ filesystem.File = (*File)(nil)
	_ fs.ReadDirFile  = (*File)(nil)
	_ io.ReaderAt     = (*File)(nil)
	_ io.WriterAt     = (*File)(nil)
)

func (f *FS) openFile(name string, flag int) (file *File, err error) {
	err = f.view("open", name, func() error {
		in, err := f.find(name, true)
		if err == nil {
			file, err = f.handle(in, name, flag)
		}
		return err
	})
	return file, err
}

// handle makes a file of an inode, which it keeps in memory until the file is closed.
func (f *FS) handle(in *inode, name string, flag int) (*File, error) {
	if in.has(flagEncrypt) {
		return nil, &UnsupportedError{Features: []string{"an encrypted file"}}
	}
	f.open[in.ino] = in
	in.refs++
	return &File{fs: f, in: in, name: name, flag: flag}, nil
}

func (f *File) readable() bool { return f.flag&(os.O_WRONLY|os.O_RDWR) != os.O_WRONLY }
func (f *File) canWrite() bool { return f.flag&(os.O_WRONLY|os.O_RDWR) != 0 }

// do runs fn under the file system's lock, on an open file.
func (f *File) do(op string, fn func() error) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	var err error
	switch {
	case f.closed:
		err = fs.ErrClosed
	case f.fs.closed:
		err = errClosed
	case f.in.removed:
		err = errRemoved
	default:
		if err = fn(); err == nil {
			err = f.fs.trim()
		}
	}
	if err != nil && err != io.EOF {
		return &fs.PathError{Op: op, Path: f.name, Err: err}
	}
	return err
}

// Stat describes the file.
func (f *File) Stat() (fi fs.FileInfo, err error) {
	err = f.do("stat", func() error {
		fi = f.in.info(f.name)
		return nil
	})
	return fi, err
}

// Read reads from the file's position on.
func (f *File) Read(p []byte) (n int, err error) {
	err = f.do("read", func() error {
		n, err = f.read(p, f.pos)
		f.pos += int64(n)
		return err
	})
	return n, err
}

// ReadAt reads from byte off on.
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.do("read", func() error {
		if off < 0 {
			return fs.ErrInvalid
		}
		if n, err = f.read(p, off); err == nil && n < len(p) {
			err = io.EOF
		}
		return err
	})
	return n, err
}

func (f *File) read(p []byte, off int64) (int, error) {
	switch {
	case !f.readable():
		return 0, errNotReadable
	case f.in.isDir():
		return 0, errIsDir
	case !f.in.isRegular():
		return 0, &UnsupportedError{Features: []string{"content in a device, pipe or socket"}}
	case len(p) == 0:
		return 0, nil
	}
	n, err := f.in.readAt(p, off)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Seek sets the file's position. It may lie past the end: a write there leaves a hole.
func (f *File) Seek(offset int64, whence int) (pos int64, err error) {
	err = f.do("seek", func() error {
		switch whence {
		case io.SeekStart:
		case io.SeekCurrent:
			offset += f.pos
		case io.SeekEnd:
			offset += f.in.size()
		default:
			return fs.ErrInvalid
		}
		if offset < 0 {
			return fs.ErrInvalid
		}
		f.pos, pos = offset, offset
		return nil
	})
	return pos, err
}

// ReadDir returns the next n entries of a directory, or all that are left if n
// is not positive. They come sorted by name.
func (f *File) ReadDir(n int) (entries []fs.DirEntry, err error) {
	err = f.do("readdir", func() error {
		if !f.listed {
			if f.list, err = f.in.dirEntries(); err != nil {
				return err
			}
			f.listed = true
		}
		entries = f.list
		if n > 0 {
			if len(f.list) == 0 {
				return io.EOF
			}
			entries = f.list[:min(n, len(f.list))]
		}
		f.list = f.list[len(entries):]
		return nil
	})
	return entries, err
}

// Close ends the use of the file. Of a file opened with os.O_TRUNC it frees the
// blocks that the new content did not need; an extent tree that was changed is
// made as small as it can be. If that fails, [FS.Sync] and [FS.Close] try it again.
func (f *File) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	in := f.in
	if in.refs--; in.refs > 0 {
		return nil
	}
	var err error
	if in.unsettled() && !in.removed && !f.fs.closed {
		err = f.fs.update(in.settle)
	}
	if f.fs.open[in.ino] == in && err == nil {
		delete(f.fs.open, in.ino)
	}
	if err != nil && !errors.Is(err, errClosed) {
		return &fs.PathError{Op: "close", Path: f.name, Err: err}
	}
	return nil
}
