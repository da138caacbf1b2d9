package ext4

import (
	"io/fs"
	"path"
	"time"
)

// Stat is what an inode records beside the bits of fs.FileInfo: the Sys of every FileInfo of this package.
type Stat struct {
	Ino      uint32
	UID, GID int
	Nlink    uint32 // a directory with more than 65000 links counts as 1
	Rdev     uint64 // of device nodes, as Linux's makedev(3) packs it
	Flags    uint32 // i_flags, as lsattr reads them
	Size     int64  // in bytes
	Blocks   uint64 // owned, in units of 512 bytes
	Mode     uint16 // i_mode: type and permissions

	// Mtime is the change of the content, Ctime that of the inode, Crtime is
	// zero in inodes that have no room for it.
	Atime, Mtime, Ctime, Crtime time.Time
}

type fileInfo struct {
	name string
	stat Stat
}

func (in *inode) info(name string) fs.FileInfo {
	s := Stat{
		Ino: in.ino, UID: in.uid(), GID: in.gid(), Nlink: uint32(in.links()), Rdev: in.rdev(), Flags: in.flags(),
		Size: in.size(), Blocks: in.sectors(), Mode: in.mode(),
		Atime: in.time(iAtime, iAtimeExtra), Mtime: in.time(iMtime, iMtimeExtra), Ctime: in.time(iCtime, iCtimeExtra),
	}
	if in.reaches(iCrtime + 4) {
		s.Crtime = in.time(iCrtime, iCrtimeExt)
	}
	return fileInfo{path.Base(name), s}
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.stat.Size }
func (i fileInfo) Mode() fs.FileMode  { return goMode(i.stat.Mode) }
func (i fileInfo) ModTime() time.Time { return i.stat.Mtime }
func (i fileInfo) IsDir() bool        { return i.Mode().IsDir() }
func (i fileInfo) Sys() any           { s := i.stat; return &s }
func (i fileInfo) String() string     { return fs.FormatFileInfo(i) }
