package plan

import (
	"io/fs"
	"os"
	"reflect"
	"time"

	"github.com/diskfs/go-diskfs/filesystem"
)

// Target is a file system that a plan is applied to: what Apply needs of
// go-diskfs's filesystem.FileSystem, and Lstat. Names are those of io/fs. The
// FAT partition is one.
type Target interface {
	fs.StatFS
	fs.ReadDirFS
	Mkdir(name string) error
	// OpenFile opens a file; with os.O_CREATE it creates one that is missing,
	// with os.O_TRUNC it empties one that is there.
	OpenFile(name string, flag int) (filesystem.File, error)
	// Remove removes a file, a link or an empty folder.
	Remove(name string) error
	Rename(from, to string) error
	Chtimes(name string, ctime, atime, mtime time.Time) error
	// Lstat does not follow a link in the last component.
	Lstat(name string) (fs.FileInfo, error)
}

// PosixTarget is a Target with owners, modes and symbolic links: the root
// partition. The Sys of its FileInfo is a pointer to a struct with the fields
// UID, GID and Nlink, integers of any size.
type PosixTarget interface {
	Target
	Symlink(target, name string) error
	ReadLink(name string) (string, error)
	Chmod(name string, mode os.FileMode) error
	Lchown(name string, uid, gid int) error
}

// posix returns what FAT does not have; nil for the FAT partition.
func posix(t Target, p Partition) PosixTarget {
	if p != Root {
		return nil
	}
	pt, _ := t.(PosixTarget)
	return pt
}

// Owner returns who owns a file of a PosixTarget; ok is false if its FileInfo
// does not say.
func Owner(info fs.FileInfo) (uid, gid int, ok bool) {
	u, ok1 := sysInt(info, "UID")
	g, ok2 := sysInt(info, "GID")
	return int(u), int(g), ok1 && ok2
}

// links returns how many names a file of a PosixTarget has; 1 if that is unknown.
func links(info fs.FileInfo) int64 {
	n, ok := sysInt(info, "Nlink")
	if !ok {
		return 1
	}
	return n
}

// sysInt reads a field of FileInfo.Sys by name, which keeps this package apart
// from the one that defines its type.
func sysInt(info fs.FileInfo, field string) (int64, bool) {
	v := reflect.Indirect(reflect.ValueOf(info.Sys()))
	if v.Kind() != reflect.Struct {
		return 0, false
	}
	switch f := v.FieldByName(field); {
	case f.IsValid() && f.CanInt():
		return f.Int(), true
	case f.IsValid() && f.CanUint():
		return int64(f.Uint()), true
	}
	return 0, false
}
