package ext4

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// thing is what the model has at an inode.
type thing struct {
	mode         fs.FileMode
	uid, gid     int
	content      sparse // of a regular file
	target       string // of a symbolic link
	rdev         uint64
	atime, mtime time.Time
	xattrs       map[string]string
	names        int // 0 once it is removed, which open files may outlive
}

func (t *thing) isDir() bool     { return t.mode.IsDir() }
func (t *thing) isFile() bool    { return t.mode.IsRegular() }
func (t *thing) isSymlink() bool { return t.mode.Type() == fs.ModeSymlink }

// model is a file system in memory: names lead to things, several to one where
// they are hard links. Its symbolic links all lead nowhere.
//
// Its operations change nothing. They return what would be changed, or the
// error that is to be expected, so that one which fails for want of space is
// left undone.
type model map[string]*thing

func newThing(mode fs.FileMode) *thing {
	return &thing{mode: mode, atime: testTime(), mtime: testTime(), xattrs: map[string]string{}}
}

func (m model) children(dir string) []string {
	var out []string
	for n := range m {
		if n != "." && path.Dir(n) == dir {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// links is the number of links that the inode of name should count.
func (m model) links(name string) int {
	if !m[name].isDir() {
		return m[name].names
	}
	n := 2
	for _, child := range m.children(name) {
		if m[child].isDir() {
			n++
		}
	}
	return n
}

// reach says why name cannot be looked up.
func (m model) reach(name string) error {
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		th := m[dir]
		switch {
		case th == nil:
			continue
		case th.isSymlink():
			return fs.ErrNotExist
		case !th.isDir():
			return errNotDir
		case dir != path.Dir(name):
			return fs.ErrNotExist
		case len(path.Base(name)) > maxName:
			return errNameTooLong
		}
		return nil
	}
}

// existing says why there is nothing at name.
func (m model) existing(name string) error {
	if err := m.reach(name); err != nil {
		return err
	}
	if m[name] == nil {
		return fs.ErrNotExist
	}
	return nil
}

func (m model) touch(dir string) { m[dir].mtime = testTime() }

func (m model) add(name string, th *thing) {
	m[name] = th
	th.names++
	m.touch(path.Dir(name))
}

func (m model) drop(name string) {
	m[name].names--
	delete(m, name)
	m.touch(path.Dir(name))
}

// create makes th at name, where nothing may be.
func (m model) create(name string, th *thing) (func(), error) {
	if err := m.reach(name); err != nil {
		return nil, err
	}
	if m[name] != nil {
		return nil, fs.ErrExist
	}
	return func() { m.add(name, th) }, nil
}

// openForWriting says what opening a file for writing makes of it.
func (m model) openForWriting(name string, create, truncate bool) (func(), error) {
	if err := m.reach(name); err != nil {
		return nil, err
	}
	th := m[name]
	switch {
	case th == nil && create:
		return func() { m.add(name, newThing(0o644)) }, nil
	case th == nil, th.isSymlink():
		return nil, fs.ErrNotExist
	case th.isDir():
		return nil, errIsDir
	case !th.isFile():
		return nil, &UnsupportedError{}
	}
	return func() {
		if truncate {
			th.content.truncate(0)
			th.mtime = testTime()
		}
	}, nil
}

func (m model) remove(name string) (func(), error) {
	if err := m.existing(name); err != nil {
		return nil, err
	}
	switch {
	case name == ".":
		return nil, fs.ErrInvalid
	case m[name].isDir() && len(m.children(name)) > 0:
		return nil, errNotEmpty
	}
	return func() { m.drop(name) }, nil
}

func (m model) link(from, to string) (func(), error) {
	if err := m.existing(from); err != nil {
		return nil, err
	}
	if m[from].isDir() {
		return nil, errIsDir
	}
	return m.create(to, m[from])
}

func (m model) rename(from, to string) (func(), error) {
	for _, n := range []string{from, to} {
		if err := m.reach(n); err != nil {
			return nil, err
		}
	}
	a, b := m[from], m[to]
	switch {
	case a == nil:
		return nil, fs.ErrNotExist
	case from == "." || to == ".":
		return nil, fs.ErrInvalid
	case a == b:
		return func() {}, nil
	case a.isDir() && strings.HasPrefix(to, from+"/"):
		return nil, fs.ErrInvalid
	case b == nil:
	case a.isDir() && !b.isDir():
		return nil, errNotDir
	case !a.isDir() && b.isDir():
		return nil, errIsDir
	case b.isDir() && len(m.children(to)) > 0:
		return nil, errNotEmpty
	}
	return func() {
		if b != nil {
			m.drop(to)
		}
		for _, n := range slices.Collect(maps.Keys(m)) {
			if rest, ok := strings.CutPrefix(n, from+"/"); ok {
				m[to+"/"+rest] = m[n]
				delete(m, n)
			}
		}
		m.drop(from)
		m.add(to, a)
	}, nil
}

// alter applies fn to what is at name, or to what that leads to.
func (m model) alter(name string, follow bool, fn func(*thing)) (func(), error) {
	if err := m.existing(name); err != nil {
		return nil, err
	}
	if follow && m[name].isSymlink() {
		return nil, fs.ErrNotExist
	}
	return func() { fn(m[name]) }, nil
}

// setxattr sets an attribute, in a file system whose blocks have room for
// attributes of the given number of bytes.
func (m model) setxattr(name, attr, value string, room int) (func(), error) {
	apply, err := m.alter(name, false, func(t *thing) { t.xattrs[attr] = value })
	switch {
	case err != nil:
		return nil, err
	case strings.HasPrefix(attr, "user.") && !m[name].isFile() && !m[name].isDir():
		return nil, fs.ErrPermission
	case len(value) > room:
		return nil, ErrXattrSpace
	}
	return apply, nil
}

func (m model) removexattr(name, attr string) (func(), error) {
	apply, err := m.alter(name, false, func(t *thing) { delete(t.xattrs, attr) })
	if err == nil {
		if _, ok := m[name].xattrs[attr]; !ok {
			return nil, ErrNoXattr
		}
	}
	return apply, err
}
