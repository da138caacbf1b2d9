package ext4

import "bytes"

// entry checks one entry, which has the given place in its directory: 0 and 1
// are "." and "..", and nothing else is.
func (d *dirCheck) entry(e dirent, place int) {
	if place < 2 && !d.dots(e, place) || e.ino == 0 {
		return
	}
	c := d.c
	if !d.mayName(e.ino) {
		d.bad(CodeDirEntry, "%q leads to inode %d, which can be in no directory", e.name, e.ino)
		return
	}
	if place > 1 {
		switch {
		case e.ino == d.in.ino:
			d.bad(CodeDirEntry, "%q leads to the directory itself", e.name)
		case e.ino == rootIno:
			d.bad(CodeDirEntry, "%q leads to the root", e.name)
		case string(e.name) == "." || string(e.name) == "..":
			d.bad(CodeDirEntry, "there is another %q", e.name)
		case len(e.name) == 0:
			d.bad(CodeDirEntry, "an entry for inode %d without a name", e.ino)
		case !d.in.has(flagEncrypt) && (bytes.IndexByte(e.name, '/') >= 0 || bytes.IndexByte(e.name, 0) >= 0):
			d.bad(CodeDirEntry, "the name %q has a slash or a zero byte in it", e.name)
		case d.in.has(flagEncrypt) && len(e.name) < 16:
			d.bad(CodeDirEntry, "%q is too short for an encrypted name", e.name)
		}
	}
	if !c.used.has(uint64(e.ino - 1)) {
		d.bad(CodeDirEntry, "%q leads to inode %d, which is not in use", e.name, e.ino)
	} else {
		d.fileType(e)
	}
	if place > 1 {
		if sub := c.dir(e.ino); sub != nil && sub.parent != 0 {
			d.bad(CodeDirEntry, "%q leads to directory %d, which is in directory %d already", e.name, e.ino, sub.parent)
		} else if sub != nil {
			sub.parent = d.in.ino
		}
		if d.index != nil {
			d.index.addName(d.k, e.name)
		}
	}
	if n := c.refs.get(e.ino); n < 1<<16-1 {
		c.refs.set(e.ino, n+1)
	}
	d.names = append(d.names, e)
}

// dots checks "." or "..", and says whether it is there at all.
func (d *dirCheck) dots(e dirent, place int) bool {
	want := ".."[:place+1]
	switch {
	case e.ino == 0:
		d.bad(CodeDirEntry, "entry %d, %q, is not in use", place, want)
		return false
	case string(e.name) != want:
		d.bad(CodeDirEntry, "entry %d is %q, should be %q", place, e.name, want)
		return true
	}
	if place == 1 {
		d.info.dotdot = e.ino
		return true
	}
	if e.ino != d.in.ino {
		d.bad(CodeDirEntry, `"." leads to inode %d`, e.ino)
	}
	if e.recLen-direntSize(1) > direntSize(1) {
		d.bad(CodeDirEntry, `"." takes %d bytes, should take %d`, e.recLen, direntSize(1))
	}
	return true
}

// mayName says whether a directory can have an entry for the inode.
func (d *dirCheck) mayName(ino uint32) bool {
	sb := d.c.sb
	return (ino == rootIno || ino >= sb.firstIno) && ino <= sb.inodes && ino != sb.orphanFileIno && !d.c.holdsQuota(ino)
}

// fileType compares the type in an entry with the inode's.
func (d *dirCheck) fileType(e dirent) {
	kind := d.c.kinds.get(e.ino)
	want := kind & kindType
	switch {
	case !d.c.sb.hasIncompat(incompatFiletype):
		want = 0
	case e.ftype == 0, kind&kindBad != 0: // left for a look at the inode
		return
	}
	if e.ftype != want {
		d.bad(CodeDirEntry, "%q is of type %d, should be %d", e.name, e.ftype, want)
	}
}
