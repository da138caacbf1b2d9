package ext4

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/diskfs/go-diskfs/filesystem"
)

// change runs fn as one operation, and wraps its error with the operation and the path.
func (f *FS) change(op, name string, fn func(name string) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.update(func() error { return fn(slashed(name)) }); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// changeTwo is change for an operation on two paths.
func (f *FS) changeTwo(op, oldname, newname string, fn func(oldname, newname string) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.update(func() error { return fn(slashed(oldname), slashed(newname)) }); err != nil {
		return &os.LinkError{Op: op, Old: oldname, New: newname, Err: err}
	}
	return nil
}

// OpenFile opens a file with the flags of package os: the three modes of
// access, and O_CREATE, O_EXCL, O_TRUNC, O_APPEND. Symbolic links are
// followed. A new file belongs to root, with mode 0644, or what a default ACL of
// its directory leaves of that.
//
// A file that O_TRUNC empties keeps its blocks until it is closed, and what is
// written to it meanwhile goes there again: where the new content fits, it
// replaces the old one in place.
func (f *FS) OpenFile(name string, flag int) (filesystem.File, error) {
	const writing = os.O_WRONLY | os.O_RDWR | os.O_CREATE | os.O_TRUNC | os.O_APPEND
	if flag&writing == 0 {
		file, err := f.openFile(slashed(name), flag)
		if err != nil {
			return nil, err
		}
		return file, nil
	}
	var file *File
	err := f.change("open", name, func(path string) error {
		at, err := f.walk(path, flag&(os.O_CREATE|os.O_EXCL) != os.O_CREATE|os.O_EXCL)
		if err != nil {
			return err
		}
		var in *inode
		switch {
		case at.ino == 0 && flag&os.O_CREATE == 0:
			return fs.ErrNotExist
		case at.ino == 0:
			in, err = f.create(at, modeRegular|0o644, nil)
		case flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
			return fs.ErrExist
		default:
			in, err = f.openExisting(at.ino, flag)
		}
		if err != nil {
			return err
		}
		file, err = f.handle(in, name, flag)
		return err
	})
	if err != nil {
		return nil, err
	}
	return file, nil
}

// openExisting prepares a file that is there for being written.
func (f *FS) openExisting(ino uint32, flag int) (*inode, error) {
	in, err := f.inode(ino)
	if err != nil {
		return nil, err
	}
	if flag&(os.O_WRONLY|os.O_RDWR|os.O_TRUNC) == 0 {
		return in, nil
	}
	if in.isDir() {
		return nil, errIsDir
	}
	if !in.isRegular() {
		return nil, &UnsupportedError{Features: []string{"content in a device, pipe or socket"}, Writing: true}
	}
	if err := in.checkEditable(); err != nil {
		return nil, err
	}
	m, err := in.blocks()
	if err != nil {
		return nil, err
	}
	if flag&os.O_TRUNC != 0 {
		in.setSize(0)
		in.touch()
		in.stale = in.stale || !m.empty()
		return in, in.store()
	}
	return in, nil
}

// create makes a new inode and its entry. What init does to it happens before it gets its name.
func (f *FS) create(at place, mode uint16, init func(*inode) error) (*inode, error) {
	if at.parent == 0 || at.ino != 0 {
		return nil, fs.ErrExist
	}
	dir, err := f.inode(at.parent)
	if err != nil {
		return nil, err
	}
	in, err := f.newInode(dir.home(), mode)
	if err != nil {
		return nil, err
	}
	in.put16(iLinks, 1)
	if err := in.inheritACL(dir); err != nil {
		return nil, err
	}
	if init != nil {
		if err := init(in); err != nil {
			return nil, err
		}
	}
	if err := in.store(); err != nil {
		return nil, err
	}
	return in, dir.add(at.base, in.ino, f.sb.direntType(mode))
}

// createAt is create for a path that must not exist.
func (f *FS) createAt(op, name string, mode uint16, init func(*inode) error) error {
	return f.change(op, name, func(path string) error {
		at, err := f.walk(path, false)
		if err != nil {
			return err
		}
		_, err = f.create(at, mode, init)
		return err
	})
}

// Mkdir makes a directory, which belongs to root, with mode 0755. Its parent must exist.
func (f *FS) Mkdir(name string) error {
	return f.change("mkdir", name, func(path string) error {
		at, err := f.walk(path, false)
		if err != nil {
			return err
		}
		if at.ino != 0 {
			return fs.ErrExist
		}
		dir, err := f.inode(at.parent)
		if err != nil {
			return err
		}
		_, err = f.create(at, modeDir|0o755, func(in *inode) error {
			in.put16(iLinks, 2)
			return in.initDir(dir.ino)
		})
		if err != nil {
			return err
		}
		if err := dir.linkDir(); err != nil {
			return err
		}
		return dir.store()
	})
}

// linkDir counts one more subdirectory. Past 65000 the count becomes 1, for "many".
func (in *inode) linkDir() error {
	n := in.links()
	switch {
	case n == 1:
	case n < maxLinks:
		in.put16(iLinks, n+1)
	case !in.fs.sb.hasROCompat(roCompatDirNlink):
		return errTooManyLink
	default:
		in.put16(iLinks, 1)
	}
	return nil
}

// unlinkDir counts one subdirectory less.
func (in *inode) unlinkDir() {
	if n := in.links(); n > 2 {
		in.put16(iLinks, n-1)
	}
}

// Symlink makes newpath a symbolic link to oldpath, which need not exist. The
// longest target is one byte shorter than a block, and than 4096 bytes.
func (f *FS) Symlink(oldpath, newpath string) error {
	return f.createAt("symlink", newpath, modeSymlink|0o777, func(in *inode) error {
		switch n := len(oldpath); {
		case n == 0 || strings.Contains(oldpath, "\x00"):
			return fs.ErrInvalid
		case n >= min(f.sb.blockSize, 4096):
			return fmt.Errorf("target of %d bytes: %w", n, fs.ErrInvalid)
		case n < iBlockLen:
			in.m = nil
			in.put32(iFlags, in.flags()&^flagExtents)
			copy(in.raw[iBlock:], oldpath)
			in.setSize(int64(n))
			return nil
		}
		return in.writeAt([]byte(oldpath), 0)
	})
}

// Mknod makes a file with the type and permissions of mode, as mknod(2) takes
// them, and for a device the number dev as makedev(3) packs it.
func (f *FS) Mknod(name string, mode uint32, dev int) error {
	m := uint16(mode)
	switch m & modeType {
	case 0:
		m |= modeRegular
	case modeRegular, modeChar, modeBlock, modeFIFO, modeSocket:
	default:
		return &fs.PathError{Op: "mknod", Path: name, Err: fs.ErrInvalid}
	}
	return f.createAt("mknod", name, m, func(in *inode) error {
		if t := m & modeType; t != modeChar && t != modeBlock {
			if t != modeRegular {
				in.put32(iFlags, in.flags()&^flagExtents)
			}
			return nil
		}
		d := uint64(dev)
		major, minor := d>>8&0xFFF|d>>32&^0xFFF, d&0xFF|d>>12&0xFFFFFF00
		if major > 0xFFF || minor > 0xFFFFF {
			return fs.ErrInvalid
		}
		if major < 256 && minor < 256 && major|minor != 0 {
			in.put32(iBlock, uint32(major<<8|minor))
		} else {
			in.put32(iBlock+4, uint32(minor&0xFF|major<<8|minor&^0xFF<<12))
		}
		return nil
	})
}

// Link gives the file oldpath, no directory, the second name newpath.
func (f *FS) Link(oldpath, newpath string) error {
	return f.changeTwo("link", oldpath, newpath, func(from, to string) error {
		in, err := f.findForChange(from, false)
		if err != nil {
			return err
		}
		if in.isDir() {
			return errIsDir
		}
		if in.links() >= maxLinks {
			return errTooManyLink
		}
		at, err := f.walk(to, false)
		if err != nil {
			return err
		}
		if at.parent == 0 || at.ino != 0 {
			return fs.ErrExist
		}
		dir, err := f.inode(at.parent)
		if err != nil {
			return err
		}
		if err := dir.add(at.base, in.ino, f.sb.direntType(in.mode())); err != nil {
			return err
		}
		in.put16(iLinks, in.links()+1)
		in.setCtime(f.time)
		return in.store()
	})
}

// findForChange returns an inode that may be changed.
func (f *FS) findForChange(name string, follow bool) (*inode, error) {
	in, err := f.find(name, follow)
	if err != nil {
		return nil, err
	}
	return in, in.checkEditable()
}

// alter runs fn on the inode that name leads to, and stamps the change.
func (f *FS) alter(op, name string, follow bool, fn func(*inode) error) error {
	return f.change(op, name, func(path string) error {
		in, err := f.findForChange(path, follow)
		if err != nil {
			return err
		}
		if err := fn(in); err != nil {
			return err
		}
		in.setCtime(f.time)
		return in.store()
	})
}

// Chmod sets the permission bits, with setuid, setgid and sticky. As with
// chmod(2), those of the group are the mask of an access ACL, if the file has one.
func (f *FS) Chmod(name string, mode fs.FileMode) error {
	return f.alter("chmod", name, true, func(in *inode) error { return in.chmod(unixPerm(mode)) })
}

// Chown sets the owner; -1 leaves the user or the group as it is. The
// permission bits stay as they are.
func (f *FS) Chown(name string, uid, gid int) error {
	return f.chown("chown", name, true, uid, gid)
}

// Lchown is Chown, of a symbolic link itself if name is one.
func (f *FS) Lchown(name string, uid, gid int) error {
	return f.chown("lchown", name, false, uid, gid)
}

func (f *FS) chown(op, name string, follow bool, uid, gid int) error {
	return f.alter(op, name, follow, func(in *inode) error {
		in.setOwner(uid, gid)
		return nil
	})
}

// Chtimes sets the times of creation, last access and last change of content,
// as far as they are not zero, to the nanosecond where inodes have room for it.
func (f *FS) Chtimes(name string, ctime, atime, mtime time.Time) error {
	return f.chtimes("chtimes", name, true, ctime, atime, mtime)
}

// Lchtimes is Chtimes, of a symbolic link itself if name is one.
func (f *FS) Lchtimes(name string, ctime, atime, mtime time.Time) error {
	return f.chtimes("lchtimes", name, false, ctime, atime, mtime)
}

func (f *FS) chtimes(op, name string, follow bool, ctime, atime, mtime time.Time) error {
	return f.alter(op, name, follow, func(in *inode) error {
		if !ctime.IsZero() {
			in.setCrtime(ctime)
		}
		if !atime.IsZero() {
			in.setAtime(atime)
		}
		if !mtime.IsZero() {
			in.setMtime(mtime)
		}
		return nil
	})
}

// Remove removes a file, a symbolic link or an empty directory.
func (f *FS) Remove(name string) error {
	return f.change("remove", name, func(path string) error {
		at, err := f.walk(path, false)
		switch {
		case err != nil:
			return err
		case at.ino == 0:
			return fs.ErrNotExist
		case at.parent == 0:
			return fs.ErrInvalid
		}
		return f.remove(at)
	})
}

// remove takes away the entry at, and what it leads to if that was its last name.
func (f *FS) remove(at place) error {
	dir, err := f.inode(at.parent)
	if err != nil {
		return err
	}
	in, err := f.inode(at.ino)
	if err != nil {
		return err
	}
	if in.isDir() {
		if empty, err := in.isEmpty(); err != nil {
			return err
		} else if !empty {
			return errNotEmpty
		}
		dir.unlinkDir()
	}
	if err := dir.drop(at.base); err != nil {
		return err
	}
	return in.unlink()
}

// unlink takes one name off the inode, and frees it with its last. Of a
// directory that is the only one.
func (in *inode) unlink() error {
	if err := in.checkEditable(); err != nil {
		return err
	}
	if n := in.links(); n > 1 && !in.isDir() {
		in.put16(iLinks, n-1)
		in.setCtime(in.fs.time)
		return in.store()
	}
	return in.discard()
}

// discard frees the inode with all that it owns.
func (in *inode) discard() error {
	if err := in.releaseXattrs(); err != nil {
		return err
	}
	if in.hasMap() {
		m, err := in.blocks()
		if err != nil {
			return err
		}
		if err := in.release(m.cut(0, maxLogical)); err != nil {
			return err
		}
		if err := m.store(in); err != nil {
			return err
		}
	}
	return in.freeInode()
}
