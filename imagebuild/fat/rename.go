package fat

import (
	"errors"
	iofs "io/fs"
	"os"
	"strings"
)

// Rename gives a file or directory another name, in the same or another
// directory. A file that has the new name is replaced. Its times stay.
func (fs *FS) Rename(oldname, newname string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if err := fs.rename(oldname, newname); err != nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
	}
	return nil
}

func (fs *FS) rename(oldname, newname string) error {
	from, err1 := clean(oldname)
	to, err2 := clean(newname)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if err := fs.begin(); err != nil {
		return err
	}
	d, e, _, err := fs.lookup(from)
	switch {
	case err != nil:
		return err
	case from == ".":
		return errRoot
	case e == nil:
		return iofs.ErrNotExist
	}
	td, te, base, err := fs.lookup(to)
	switch {
	case err != nil:
		return err
	case to == ".":
		return errRoot
	}
	if td.first == d.first {
		td = d // of which there must be one view only
		te = d.find(base)
	}
	switch inside := e.isDir() && fs.within(td, join(d.path, e.name)); {
	case inside:
		return errors.New("a directory cannot be moved into itself")
	case te == e && e.name == base:
		return nil
	case te != nil && te != e && te.isDir():
		return iofs.ErrExist
	case te != nil && te != e && e.isDir():
		return errNotDir
	}
	if err := checkName(base); err != nil {
		return err
	}
	if e.isDir() && td != d {
		if err := fs.checkDepth(d, e, td); err != nil {
			return err
		}
	}
	return fs.move(d, e, td, te, base)
}

// within reports whether d is the directory at path, or below it. All paths of
// directories are made of the names on disk.
func (fs *FS) within(d *directory, path string) bool {
	return d.path == path || strings.HasPrefix(d.path, path+"/")
}

// move moves e from d to td, where it takes the place of te, if that is not nil.
func (fs *FS) move(d *directory, e *entry, td *directory, te *entry, base string) error {
	moved := *e
	if te != nil && te != e {
		if err := fs.removeEntry(td, te, false); err != nil {
			return err
		}
	}
	except := nobody
	if td == d {
		except = moved.at
	}
	if _, err := fs.add(td, base, moved.slot, except); err != nil {
		return err
	}
	// E is where it was: adding an entry moves no other.
	if err := fs.removeSlots(d, &moved); err != nil {
		return err
	}
	if !moved.isDir() || td.first == d.first {
		return nil
	}
	sub, err := fs.openDir(td, &moved)
	if err != nil {
		return err
	}
	if len(sub.raw) < 2*slotSize || string(sub.raw[slotSize:slotSize+2]) != ".." {
		return nil
	}
	dotdot := [slotSize]byte(sub.raw[slotSize:])
	setCluster(&dotdot, fs.parentCluster(td))
	return fs.writeSlot(sub, 1, dotdot[:])
}

// checkDepth fails if the directory e of d, with those below it, has no place in td.
func (fs *FS) checkDepth(d *directory, e *entry, td *directory) error {
	if td.depth() == maxDepth {
		return errDepth()
	}
	sub, err := fs.openDir(d, e)
	if err != nil {
		return err
	}
	// Only how deep it is counts of the new place, not what its path is.
	there := &directory{path: join(td.path, e.name)}
	for _, child := range sub.entries {
		if !child.isDir() {
			continue
		}
		if err := fs.checkDepth(sub, child, there); err != nil {
			return err
		}
	}
	return nil
}
