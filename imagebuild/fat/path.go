package fat

import (
	"errors"
	"io"
	iofs "io/fs"
	"slices"
	"strings"
	"time"
)

var (
	errNotDir   = errors.New("not a directory")
	errIsDir    = errors.New("is a directory")
	errNotEmpty = errors.New("directory is not empty")
	errRoot     = errors.New("not possible for the root directory")
)

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &iofs.PathError{Op: op, Path: name, Err: err}
}

// clean returns the name in the form of io/fs, taking a leading slash.
func clean(name string) (string, error) {
	if s := strings.TrimPrefix(name, "/"); s != name {
		name = s
		if name == "" {
			name = "."
		}
	}
	if !iofs.ValidPath(name) {
		return "", iofs.ErrInvalid
	}
	return name, nil
}

// lookup returns a valid name's directory and its entry: nil if there is none of
// that name, or for the root directory, which has base ".".
func (fs *FS) lookup(name string) (d *directory, e *entry, base string, err error) {
	if fs.closed {
		return nil, nil, "", iofs.ErrClosed
	}
	if d, err = fs.loadDir(".", 0); err != nil || name == "." {
		return d, nil, ".", err
	}
	for {
		base, rest, more := strings.Cut(name, "/")
		e = d.find(base)
		switch {
		case !more:
			return d, e, base, nil
		case e == nil:
			return nil, nil, "", iofs.ErrNotExist
		}
		if d, err = fs.openDir(d, e); err != nil {
			return nil, nil, "", err
		}
		name = rest
	}
}

// openDir reads the directory that an entry of d is.
func (fs *FS) openDir(d *directory, e *entry) (*directory, error) {
	if !e.isDir() {
		return nil, errNotDir
	}
	return fs.loadDir(join(d.path, e.name), e.cluster(fs.layout.bits))
}

// Stat is what [io/fs.FileInfo.Sys] returns a pointer to.
type Stat struct {
	Attributes byte // as in the directory entry
	ShortName  string
	Cluster    uint32    // the first one; 0 if the file is empty
	Created    time.Time // zero if unknown
	Accessed   time.Time // a day
}

type info struct {
	name  string
	size  int64
	mode  iofs.FileMode
	mtime time.Time
	stat  Stat
}

func (i *info) Name() string                 { return i.name }
func (i *info) Size() int64                  { return i.size }
func (i *info) Mode() iofs.FileMode          { return i.mode }
func (i *info) Type() iofs.FileMode          { return i.mode.Type() }
func (i *info) ModTime() time.Time           { return i.mtime }
func (i *info) IsDir() bool                  { return i.mode.IsDir() }
func (i *info) Sys() any                     { return &i.stat }
func (i *info) Info() (iofs.FileInfo, error) { return i, nil }
func (i *info) String() string               { return iofs.FormatFileInfo(i) }

// info describes an entry, or, if it is nil, the root directory.
func (fs *FS) info(e *entry) *info {
	if e == nil {
		return &info{name: ".", mode: iofs.ModeDir | 0o755, stat: Stat{Attributes: attrDir, Cluster: fs.layout.root}}
	}
	word := func(at int) uint16 { return uint16(e.slot[at]) | uint16(e.slot[at+1])<<8 }
	i := &info{
		name:  e.name,
		mode:  0o644,
		mtime: decodeTime(word(24), word(22), 0),
		stat: Stat{
			Attributes: e.slot[11],
			ShortName:  e.short().decode(0),
			Cluster:    e.cluster(fs.layout.bits),
			Created:    decodeTime(word(16), word(14), e.slot[13]),
			Accessed:   decodeTime(word(18), 0, 0),
		},
	}
	switch {
	case e.isDir():
		i.mode = iofs.ModeDir | 0o755
	default:
		i.size = int64(e.size())
		if e.slot[11]&attrReadOnly != 0 {
			i.mode = 0o444
		}
	}
	return i
}

// Stat describes the named file. The name that it returns is the one on disk,
// which may differ in case.
func (fs *FS) Stat(name string) (iofs.FileInfo, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	clean, err := clean(name)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	_, e, _, err := fs.lookup(clean)
	if err == nil && e == nil && clean != "." {
		err = iofs.ErrNotExist
	}
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return fs.info(e), nil
}

// Lstat is [FS.Stat]: there are no symbolic links on a FAT file system.
func (fs *FS) Lstat(name string) (iofs.FileInfo, error) { return fs.Stat(name) }

// ReadDir returns the entries of the named directory, sorted by name.
func (fs *FS) ReadDir(name string) ([]iofs.DirEntry, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, ok := f.(iofs.ReadDirFile)
	if !ok {
		return nil, pathError("readdir", name, errNotDir)
	}
	return d.ReadDir(-1)
}

// ReadFile returns the content of the named file.
func (fs *FS) ReadFile(name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return nil, pathError("read", name, errIsDir)
	}
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, err
	}
	return b, nil
}

// list returns the entries of a directory, sorted by name.
func (fs *FS) list(d *directory) []iofs.DirEntry {
	out := make([]iofs.DirEntry, len(d.entries))
	for i, e := range d.entries {
		out[i] = fs.info(e)
	}
	slices.SortFunc(out, func(a, b iofs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out
}
