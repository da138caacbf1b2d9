package plan

import (
	"io/fs"
	"os"
	"time"

	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/piimg/piimg/imagebuild/ext4"
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
// partition. The Sys of its FileInfo is an [*ext4.Stat].
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
	if s, ok := info.Sys().(*ext4.Stat); ok {
		return s.UID, s.GID, true
	}
	return 0, 0, false
}

// links returns how many names a file of a PosixTarget has; 1 if that is unknown.
func links(info fs.FileInfo) int {
	if s, ok := info.Sys().(*ext4.Stat); ok {
		return int(s.Nlink)
	}
	return 1
}
