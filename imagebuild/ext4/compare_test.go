package ext4

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"
)

// load makes a model of what a file system holds.
func load(f *FS) (model, error) {
	m := model{}
	inodes := map[uint32]*thing{}
	err := fs.WalkDir(f, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := f.Lstat(name)
		if err != nil {
			return err
		}
		st := fi.Sys().(*Stat)
		th := inodes[st.Ino]
		if th == nil {
			th = &thing{mode: fi.Mode(), uid: st.UID, gid: st.GID, rdev: st.Rdev, atime: st.Atime, mtime: st.Mtime}
			inodes[st.Ino] = th
			if th.xattrs, err = xattrsOf(f, name); err != nil {
				return err
			}
			switch {
			case th.isFile():
				p, err := f.ReadFile(name)
				if err != nil {
					return err
				}
				th.content.writeAt(p, 0)
			case th.isSymlink():
				if th.target, err = f.ReadLink(name); err != nil {
					return err
				}
			}
		}
		th.names++
		m[name] = th
		return nil
	})
	return m, err
}

// compare checks that the file system holds what the model holds.
func (m model) compare(f *FS, inodeSize int) error {
	seen, read := 0, map[*thing]bool{}
	err := fs.WalkDir(f, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		th := m[name]
		if th == nil {
			return fmt.Errorf("%q is there, but not in the model", name)
		}
		seen++
		fi, err := f.Lstat(name)
		if err != nil {
			return err
		}
		st := fi.Sys().(*Stat)
		if d.Type() != th.mode.Type() || fi.Mode() != th.mode || st.UID != th.uid || st.GID != th.gid || st.Rdev != th.rdev {
			return fmt.Errorf("%q: %v (%v) %d:%d %#x, want %v %d:%d %#x",
				name, fi.Mode(), d.Type(), st.UID, st.GID, st.Rdev, th.mode, th.uid, th.gid, th.rdev)
		}
		if n := m.links(name); int(st.Nlink) != n {
			return fmt.Errorf("%q: %d links, want %d", name, st.Nlink, n)
		}
		unit := time.Nanosecond
		if inodeSize == goodOldInodeSize {
			unit = time.Second
		}
		if !sameTime(st.Mtime, th.mtime, unit) || !sameTime(st.Atime, th.atime, unit) {
			return fmt.Errorf("%q: times %v, %v, want %v, %v", name, st.Mtime, st.Atime, th.mtime, th.atime)
		}
		if have, err := xattrsOf(f, name); err != nil || !maps.Equal(have, th.xattrs) {
			return fmt.Errorf("%q: attributes %q, %v, want %q", name, have, err, th.xattrs)
		}
		switch {
		case read[th]:
		case th.isFile():
			read[th] = true
			err = m.compareFile(f, name, fi.Size())
		case th.isSymlink():
			var target string
			if target, err = f.ReadLink(name); err == nil && target != th.target {
				err = fmt.Errorf("leads to %q, want %q", target, th.target)
			}
		}
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		return nil
	})
	if err == nil && seen != len(m) {
		err = fmt.Errorf("%d names, the model has %d", seen, len(m))
	}
	return err
}

func xattrsOf(f *FS, name string) (map[string]string, error) {
	names, err := f.Llistxattr(name)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, n := range names {
		value, err := f.Lgetxattr(name, n)
		if err != nil {
			return nil, err
		}
		out[n] = string(value)
	}
	return out, nil
}

func (m model) compareFile(f *FS, name string, size int64) error {
	file, err := f.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return m[name].content.compare(file.(*File), size)
}

// sameTime compares what is left of times in units of unit, towards the past.
func sameTime(a, b time.Time, unit time.Duration) bool {
	if unit == time.Second {
		return a.Unix() == b.Unix()
	}
	return a.Equal(b)
}

// compareHost checks that a folder of the host holds what the model holds: a
// mount of the file system, or what was copied out of it, in which the special
// files and hard links are lost, and times are whole seconds of 32 bits.
func (m model) compareHost(dir string, mounted bool) error {
	seen, read := 0, map[*thing]bool{}
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		th := m[name]
		if th == nil {
			return fmt.Errorf("%q is there, but not in the model", name)
		}
		seen++
		err = th.compareHost(p, mounted)
		if err == nil && mounted {
			err = compareHostXattrs(p, th.xattrs)
		}
		if err == nil && th.isFile() && !(mounted && read[th]) {
			read[th] = true
			err = th.content.compareHost(p)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, th := range m {
		if !mounted && !th.isDir() && !th.isFile() && !th.isSymlink() {
			seen++
		}
	}
	if seen != len(m) {
		return fmt.Errorf("%d names, the model has %d", seen, len(m))
	}
	return nil
}

func (t *thing) compareHost(p string, mounted bool) error {
	fi, err := os.Lstat(p)
	if err != nil {
		return err
	}
	if fi.Mode().Type() != t.mode.Type() {
		return fmt.Errorf("%v, want %v", fi.Mode(), t.mode)
	}
	if t.isSymlink() {
		target, err := os.Readlink(p)
		if err == nil && target != t.target {
			err = fmt.Errorf("leads to %q, want %q", target, t.target)
		}
		return err
	}
	// Only root can copy owners.
	if st, ok := hostStat(fi); ok && os.Geteuid() == 0 {
		mode := t.mode
		if !mounted { // debugfs sets no more
			mode = t.mode.Type() | t.mode.Perm()
		}
		if fi.Mode()&^(t.mode&^mode) != mode || st.uid != t.uid || st.gid != t.gid || mounted && st.rdev != t.rdev {
			return fmt.Errorf("%v %d:%d %#x, want %v %d:%d %#x", fi.Mode(), st.uid, st.gid, st.rdev, t.mode, t.uid, t.gid, t.rdev)
		}
		if !t.isDir() && mounted && st.links != t.names {
			return fmt.Errorf("%d links, want %d", st.links, t.names)
		}
	}
	if got := fi.ModTime(); uint32(got.Unix()) != uint32(t.mtime.Unix()) {
		return fmt.Errorf("time %v, want %v", got, t.mtime)
	}
	return nil
}

func (s *sparse) compareHost(p string) error {
	file, err := os.Open(p)
	if err != nil {
		return err
	}
	defer file.Close()
	fi, err := file.Stat()
	if err != nil {
		return err
	}
	return s.compare(file, fi.Size())
}
