package ext4

import "io/fs"

// Rename gives the file or directory oldpath the name newpath, in another
// directory if need be. What has that name is replaced: a file by anything but
// a directory, an empty directory by a directory.
func (f *FS) Rename(oldpath, newpath string) error {
	return f.changeTwo("rename", oldpath, newpath, func(oldpath, newpath string) error {
		from, err := f.walk(oldpath, false)
		if err != nil {
			return err
		}
		to, err := f.walk(newpath, false)
		if err != nil {
			return err
		}
		switch {
		case from.ino == 0:
			return fs.ErrNotExist
		case from.parent == 0 || to.parent == 0:
			return fs.ErrInvalid
		case from.ino == to.ino:
			return nil // two names of one file: as rename(2) has it, both stay
		}
		return f.rename(from, to)
	})
}

func (f *FS) rename(from, to place) error {
	in, err := f.inode(from.ino)
	if err != nil {
		return err
	}
	if err := in.checkOrdinary(); err != nil {
		return err
	}
	oldDir, err := f.inode(from.parent)
	if err != nil {
		return err
	}
	newDir, err := f.inode(to.parent)
	if err != nil {
		return err
	}
	moved := in.isDir() && oldDir != newDir
	if in.isDir() {
		if err := f.checkOutside(in.ino, newDir); err != nil {
			return err
		}
	}
	ftype := f.sb.direntType(in.mode())
	if to.ino == 0 {
		if err := newDir.add(to.base, in.ino, ftype); err != nil {
			return err
		}
	} else if err := f.supplant(newDir, to, in, ftype); err != nil {
		return err
	}
	if err := oldDir.drop(from.base); err != nil {
		return err
	}
	if moved {
		if err := in.redirect("..", newDir.ino, f.sb.direntType(modeDir)); err != nil {
			return err
		}
		if err := newDir.linkDir(); err != nil {
			return err
		}
		oldDir.unlinkDir()
		if err := newDir.store(); err != nil {
			return err
		}
		if err := oldDir.store(); err != nil {
			return err
		}
	}
	in.setCtime(f.time)
	return in.store()
}

// supplant makes the entry at, which is there, lead to in, and takes one name off what it led to.
func (f *FS) supplant(dir *inode, at place, in *inode, ftype byte) error {
	victim, err := f.inode(at.ino)
	if err != nil {
		return err
	}
	switch {
	case in.isDir() && !victim.isDir():
		return errNotDir
	case !in.isDir() && victim.isDir():
		return errIsDir
	case victim.isDir():
		if empty, err := victim.isEmpty(); err != nil {
			return err
		} else if !empty {
			return errNotEmpty
		}
		dir.unlinkDir()
	}
	dir.touch()
	if err := dir.redirect(at.base, in.ino, ftype); err != nil {
		return err
	}
	return victim.unlink()
}

// checkOutside fails if dir is the directory ino, or below it.
func (f *FS) checkOutside(ino uint32, dir *inode) error {
	for seen := map[uint32]bool{}; !seen[dir.ino]; {
		seen[dir.ino] = true
		if dir.ino == ino {
			return fs.ErrInvalid
		}
		if dir.ino == rootIno {
			return nil
		}
		s, ok, err := dir.seekBlock(0, "..")
		if err != nil {
			return err
		}
		if !ok {
			return corrupt("directory", dir.ino, 0, `it has no entry ".."`)
		}
		if dir, err = f.inode(s.d.ino); err != nil {
			return err
		}
		if !dir.isDir() {
			return corrupt("directory", dir.ino, 0, "it is a parent, but no directory")
		}
	}
	return corrupt("directory", dir.ino, 0, "its parents lead in a circle")
}
