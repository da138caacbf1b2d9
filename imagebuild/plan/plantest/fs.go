// Package plantest holds a file system in memory, for tests of packages that
// make plans and of Apply. It has owners, modes, times, hard and symbolic links,
// so that it stands for the root partition; [FS.FAT] makes it behave as a FAT.
package plantest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/piimg/piimg/imagebuild/ext4"
)

// FS is a file system in memory. The zero value is not usable; call New.
type FS struct {
	root *node
	// FAT makes names case-insensitive and refuses links.
	FAT bool
	// Clock stamps what is created or changed.
	Clock time.Time
	// Calls lists what was changed, in order: "mkdir etc", "remove var/swap".
	Calls []string
}

type node struct {
	mode     fs.FileMode // with the type
	uid, gid int
	mtime    time.Time
	data     []byte
	target   string
	nlink    int
	kids     map[string]*node // by name, for folders
}

// New returns a file system with only a root folder.
func New() *FS {
	return &FS{root: &node{mode: fs.ModeDir | 0o755, kids: map[string]*node{}}, Clock: time.Unix(1, 0)}
}

// maxHops is how many symbolic links a path may follow, as in Linux.
const maxHops = 40

// find walks to a path; links in parents are followed, and one in the last
// component if follow is set. Absolute targets start at the root again.
func (f *FS) find(op, name string, follow bool) (n *node, err error) {
	defer func() {
		if err != nil {
			err = &fs.PathError{Op: op, Path: name, Err: err}
		}
	}()
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	var walked []*node
	cur, rest, hops := f.root, name, 0
	if name == "." {
		return cur, nil
	}
	for rest != "" {
		var elem string
		elem, rest, _ = strings.Cut(rest, "/")
		switch elem {
		case "", ".":
			continue
		case "..":
			if len(walked) > 0 {
				cur, walked = walked[len(walked)-1], walked[:len(walked)-1]
			}
			continue
		}
		if !cur.mode.IsDir() {
			return nil, errors.New("not a directory")
		}
		kid := f.kid(cur, elem)
		if kid == nil {
			return nil, fs.ErrNotExist
		}
		if kid.mode&fs.ModeSymlink != 0 && (rest != "" || follow) {
			if hops++; hops > maxHops {
				return nil, errors.New("too many levels of symbolic links")
			}
			if path.IsAbs(kid.target) {
				cur, walked = f.root, nil
			}
			rest = strings.TrimSuffix(kid.target+"/"+rest, "/")
			rest = strings.TrimPrefix(rest, "/")
			continue
		}
		walked = append(walked, cur)
		cur = kid
	}
	return cur, nil
}

func (f *FS) kid(dir *node, name string) *node {
	return dir.kids[f.nameIn(dir, name)]
}

// nameIn returns the name as it stands in the folder, or as given.
func (f *FS) nameIn(dir *node, name string) string {
	if f.FAT {
		for k := range dir.kids {
			if strings.EqualFold(k, name) {
				return k
			}
		}
	}
	return name
}

// dir returns the folder that holds name, and the last component.
func (f *FS) dir(op, name string) (*node, string, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	d, err := f.find(op, path.Dir(name), true)
	if err != nil {
		return nil, "", err
	}
	if !d.mode.IsDir() {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: errors.New("not a directory")}
	}
	return d, path.Base(name), nil
}

func (f *FS) create(op, name string, n *node) error {
	d, base, err := f.dir(op, name)
	if err != nil {
		return err
	}
	if f.kid(d, base) != nil {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrExist}
	}
	n.mtime, n.nlink = f.Clock, 1
	d.kids[base] = n
	f.Calls = append(f.Calls, op+" "+name)
	return nil
}

// Mkdir makes a folder, 0700 and owned by 1:1, so that an owner or mode left out
// by the caller is found out.
func (f *FS) Mkdir(name string) error {
	return f.create("mkdir", name, &node{mode: fs.ModeDir | 0o700, uid: 1, gid: 1, kids: map[string]*node{}})
}

// Symlink makes a symbolic link.
func (f *FS) Symlink(target, name string) error {
	if f.FAT {
		return &fs.PathError{Op: "symlink", Path: name, Err: errors.ErrUnsupported}
	}
	return f.create("symlink", name, &node{mode: fs.ModeSymlink | 0o777, uid: 1, gid: 1, target: target})
}

// Link makes another name for a file.
func (f *FS) Link(old, name string) error {
	n, err := f.find("link", old, false)
	if err != nil {
		return err
	}
	d, base, err := f.dir("link", name)
	if err != nil {
		return err
	}
	n.nlink++
	d.kids[base] = n
	return nil
}

// Mknod makes a special file of the given type.
func (f *FS) Mknod(name string, mode fs.FileMode) error {
	return f.create("mknod", name, &node{mode: mode})
}

// Remove removes a file, a link or an empty folder.
func (f *FS) Remove(name string) error {
	d, base, err := f.dir("remove", name)
	if err != nil {
		return err
	}
	n := f.kid(d, base)
	switch {
	case n == nil:
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	case len(n.kids) > 0:
		return &fs.PathError{Op: "remove", Path: name, Err: errors.New("directory not empty")}
	}
	n.nlink--
	delete(d.kids, f.nameIn(d, base))
	f.Calls = append(f.Calls, "remove "+name)
	return nil
}

// Rename moves a file or folder to a name that is not taken.
func (f *FS) Rename(from, to string) error {
	d1, b1, err := f.dir("rename", from)
	if err != nil {
		return err
	}
	d2, b2, err := f.dir("rename", to)
	if err != nil {
		return err
	}
	n := f.kid(d1, b1)
	if n == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if f.kid(d2, b2) != nil {
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	}
	delete(d1.kids, f.nameIn(d1, b1))
	d2.kids[b2] = n
	f.Calls = append(f.Calls, fmt.Sprintf("rename %s %s", from, to))
	return nil
}

// Chmod sets permission bits, following links.
func (f *FS) Chmod(name string, mode os.FileMode) error {
	n, err := f.find("chmod", name, true)
	if err == nil {
		n.mode = n.mode.Type() | mode&^fs.ModeType
	}
	return err
}

// Lchown sets the owner and takes setuid and setgid away, as Linux does.
func (f *FS) Lchown(name string, uid, gid int) error {
	n, err := f.find("lchown", name, false)
	if err == nil {
		n.uid, n.gid = uid, gid
		n.mode &^= fs.ModeSetuid | fs.ModeSetgid
	}
	return err
}

// Chtimes sets the modification time.
func (f *FS) Chtimes(name string, _, _, mtime time.Time) error {
	n, err := f.find("chtimes", name, true)
	if err == nil {
		n.mtime = mtime
	}
	return err
}

// ReadLink returns a link's target.
func (f *FS) ReadLink(name string) (string, error) {
	n, err := f.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.target, nil
}

// Lstat describes what is at the path.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	n, err := f.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return info{path.Base(name), n}, nil
}

// Stat describes what the path leads to.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return info{path.Base(name), n}, nil
}

// ReadDir lists a folder, sorted by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !n.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	var out []fs.DirEntry
	for k, kid := range n.kids {
		out = append(out, fs.FileInfoToDirEntry(info{k, kid}))
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

// Open opens a file or folder for reading.
func (f *FS) Open(name string) (fs.File, error) {
	n, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	return &file{fsys: f, node: n, name: name}, nil
}

// OpenFile opens a file for writing; new files are 0600 and owned by 1:1.
func (f *FS) OpenFile(name string, flag int) (filesystem.File, error) {
	n, err := f.find("open", name, true)
	if errors.Is(err, fs.ErrNotExist) && flag&os.O_CREATE != 0 {
		n = &node{mode: 0o600, uid: 1, gid: 1}
		err = f.create("create", name, n)
	}
	if err != nil {
		return nil, err
	}
	if n.mode.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("is a directory")}
	}
	if flag&os.O_TRUNC != 0 {
		n.data, n.mtime = nil, f.Clock
	}
	return &file{fsys: f, node: n, name: name, writable: flag&(os.O_WRONLY|os.O_RDWR) != 0}, nil
}

type info struct {
	name string
	n    *node
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return int64(len(i.n.data)) }
func (i info) Mode() fs.FileMode  { return i.n.mode }
func (i info) ModTime() time.Time { return i.n.mtime }
func (i info) IsDir() bool        { return i.n.mode.IsDir() }
func (i info) Sys() any           { return &ext4.Stat{UID: i.n.uid, GID: i.n.gid, Nlink: uint32(i.n.nlink)} }

type file struct {
	fsys     *FS
	node     *node
	name     string
	off      int64
	writable bool
}

func (f *file) Stat() (fs.FileInfo, error) { return info{path.Base(f.name), f.node}, nil }
func (f *file) Close() error               { return nil }

func (f *file) Read(p []byte) (int, error) {
	if f.node.mode.IsDir() {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: errors.New("is a directory")}
	}
	if f.off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[f.off:])
	f.off += int64(n)
	return n, nil
}

func (f *file) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 {
		return nil, errors.ErrUnsupported
	}
	return f.fsys.ReadDir(f.name)
}

func (f *file) Write(p []byte) (int, error) {
	if !f.writable {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: fs.ErrPermission}
	}
	if grow := f.off + int64(len(p)) - int64(len(f.node.data)); grow > 0 {
		f.node.data = append(f.node.data, make([]byte, grow)...)
	}
	copy(f.node.data[f.off:], p)
	f.off += int64(len(p))
	f.node.mtime = f.fsys.Clock
	return len(p), nil
}

func (f *file) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += f.off
	case io.SeekEnd:
		off += int64(len(f.node.data))
	}
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	f.off = off
	return off, nil
}
