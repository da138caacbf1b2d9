package ext4

import (
	"io/fs"
	"slices"
	"strings"
)

// maxSymlinks is how many symbolic links the way to one file may lead through.
const maxSymlinks = 40

// place is where a path leads to.
type place struct {
	parent uint32 // the directory; 0 if the path ends in "." or ".."
	base   string // the entry's name in it
	ino    uint32 // 0 if there is no such entry
}

// slashed turns a name with a leading slash into a path of io/fs.
func slashed(name string) string {
	name = strings.TrimPrefix(name, "/")
	if name == "" {
		return "."
	}
	return name
}

// validPath is fs.ValidPath, but for names that are not UTF-8, which occur.
func validPath(name string) bool {
	if name == "." {
		return true
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return !strings.Contains(name, "\x00")
}

// walk follows name from the root, as if that were the root of the whole
// system: neither ".." nor an absolute symlink leads out of it. If follow is
// set, a symlink in the last place is followed too, even to what does not exist yet.
func (f *FS) walk(name string, follow bool) (place, error) {
	if !validPath(name) {
		return place{}, fs.ErrInvalid
	}
	rest := strings.Split(name, "/")
	slices.Reverse(rest)
	dirs := []uint32{rootIno}
	at := place{ino: rootIno}
	for links := 0; len(rest) > 0; {
		part := rest[len(rest)-1]
		rest = rest[:len(rest)-1]
		switch part {
		case "", ".":
			at = place{ino: dirs[len(dirs)-1]}
			continue
		case "..":
			if len(dirs) > 1 {
				dirs = dirs[:len(dirs)-1]
			}
			at = place{ino: dirs[len(dirs)-1]}
			continue
		}
		if len(part) > maxName {
			return place{}, errNameTooLong
		}
		parent := dirs[len(dirs)-1]
		dir, err := f.inode(parent)
		if err != nil {
			return place{}, err
		}
		ino, err := dir.lookup(part)
		if err != nil {
			return place{}, err
		}
		at = place{parent, part, ino}
		if ino == 0 {
			if len(rest) > 0 {
				return place{}, fs.ErrNotExist
			}
			return at, nil
		}
		if len(rest) == 0 && !follow {
			return at, nil
		}
		in, err := f.inode(ino)
		if err != nil {
			return place{}, err
		}
		switch {
		case in.isSymlink():
			if links++; links > maxSymlinks {
				return place{}, errLoop
			}
			target, err := in.readlink()
			if err != nil {
				return place{}, err
			}
			if strings.HasPrefix(target, "/") {
				dirs = dirs[:1]
			}
			parts := strings.Split(target, "/")
			slices.Reverse(parts)
			rest = append(rest, parts...)
		case in.isDir():
			dirs = append(dirs, ino)
		case len(rest) > 0:
			return place{}, errNotDir
		}
	}
	return at, nil
}

// find returns the inode that name leads to.
func (f *FS) find(name string, follow bool) (*inode, error) {
	at, err := f.walk(name, follow)
	if err != nil {
		return nil, err
	}
	if at.ino == 0 {
		return nil, fs.ErrNotExist
	}
	return f.inode(at.ino)
}

// readlink returns the target of a symlink.
func (in *inode) readlink() (string, error) {
	if !in.isSymlink() {
		return "", errNotLink
	}
	if in.has(flagEncrypt) {
		return "", &UnsupportedError{Features: []string{"an encrypted symlink"}}
	}
	size := in.size()
	if in.isFastSymlink() {
		return cString(in.raw[iBlock : iBlock+int(size)]), nil
	}
	if size >= int64(in.fs.sb.blockSize) && !in.has(flagInlineData) {
		return "", corrupt("inode", in.ino, 0, "symbolic link of %d bytes", size)
	}
	p := make([]byte, min(size, int64(in.fs.sb.blockSize)))
	if _, err := in.readAt(p, 0); err != nil {
		return "", err
	}
	return cString(p), nil
}

// readAt reads into p from byte off on and says how much it read: less than
// len(p) at the end of the file only.
func (in *inode) readAt(p []byte, off int64) (int, error) {
	if off >= in.size() {
		return 0, nil
	}
	p = p[:min(int64(len(p)), in.size()-off)]
	if in.has(flagInlineData) {
		all, err := in.inlineContent()
		if err != nil {
			return 0, err
		}
		return copy(p, all[off:]), nil
	}
	m, err := in.blocks()
	if err != nil {
		return 0, err
	}
	bs := int64(in.fs.sb.blockSize)
	for n := 0; n < len(p); {
		at := off + int64(n)
		r := m.lookup(uint32(at / bs))
		part := p[n:]
		if room := int64(r.count)*bs - at%bs; room < int64(len(part)) && r.count > 0 {
			part = part[:room]
		}
		if r.phys == 0 || r.unwritten {
			clear(part)
		} else if err := in.fs.readStorage(part, int64(r.phys)*bs+at%bs); err != nil {
			return n, err
		}
		n += len(part)
	}
	return len(p), nil
}
