package ext4

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// maxXattrName is the longest name of an attribute, its beginning included.
const maxXattrName = 255

// xattrPrefix is what an attribute's index stands for: all of its name, or its beginning.
type xattrPrefix struct {
	index byte
	text  string
}

func xattrPrefixes() []xattrPrefix {
	return []xattrPrefix{
		{xattrIndexUser, "user."}, {xattrIndexTrusted, "trusted."}, {xattrIndexSecurity, "security."},
		{xattrIndexACL, "system.posix_acl_access"}, {xattrIndexDefaultACL, "system.posix_acl_default"},
	}
}

// splitXattr takes a name apart as it is stored.
func splitXattr(attr string) (index byte, name string, err error) {
	for _, p := range xattrPrefixes() {
		whole := p.index == xattrIndexACL || p.index == xattrIndexDefaultACL
		if rest, ok := strings.CutPrefix(attr, p.text); ok && (rest == "") == whole &&
			len(attr) <= maxXattrName && !strings.Contains(rest, "\x00") {
			return p.index, rest, nil
		}
	}
	return 0, "", fmt.Errorf("extended attribute %q: no name that a file can have one by: %w", attr, fs.ErrInvalid)
}

// fullXattr is the reverse of splitXattr; ok is false for what nobody can ask for by name.
func (x xattr) fullName() (name string, ok bool) {
	for _, p := range xattrPrefixes() {
		if p.index == x.index {
			return p.text + x.name, true
		}
	}
	return "", false
}

// Getxattr returns the value of an extended attribute of the file that name
// leads to, symbolic links followed. attr is its full name: "user.…",
// "trusted.…", "security.…", "system.posix_acl_access" or
// "system.posix_acl_default". The value is what getxattr(2) returns: for the
// two ACLs their exchange form (version 2), for others the bytes as stored.
// If there is no such attribute, the error is [ErrNoXattr].
func (f *FS) Getxattr(name, attr string) ([]byte, error) {
	return f.getxattr("getxattr", name, attr, true)
}

// Lgetxattr is Getxattr, of a symbolic link itself if name is one.
func (f *FS) Lgetxattr(name, attr string) ([]byte, error) {
	return f.getxattr("lgetxattr", name, attr, false)
}

func (f *FS) getxattr(op, name, attr string, follow bool) (value []byte, err error) {
	err = f.view(op, name, func() error {
		index, rest, err := splitXattr(attr)
		if err != nil {
			return err
		}
		in, err := f.find(slashed(name), follow)
		if err != nil {
			return err
		}
		list, err := in.xattrs()
		if err != nil {
			return err
		}
		i := findXattr(list, index, rest)
		if i < 0 {
			return fmt.Errorf("%w: %q", ErrNoXattr, attr)
		}
		if value, err = in.xattrValue(list[i]); err != nil {
			return err
		}
		if index == xattrIndexACL || index == xattrIndexDefaultACL {
			var a acl
			if a, err = in.parseACL(value); err == nil {
				value = a.exchange()
			}
		}
		return err
	})
	return value, err
}

// xattrs returns all attributes of the inode.
func (in *inode) xattrs() ([]xattr, error) {
	inline, err := in.inlineXattrs()
	if err != nil {
		return nil, err
	}
	block, _, err := in.blockXattrs()
	return append(inline, block...), err
}

// Listxattr returns the names of the extended attributes of the file that name
// leads to, symbolic links followed, sorted.
func (f *FS) Listxattr(name string) ([]string, error) { return f.listxattr("listxattr", name, true) }

// Llistxattr is Listxattr, of a symbolic link itself if name is one.
func (f *FS) Llistxattr(name string) ([]string, error) { return f.listxattr("llistxattr", name, false) }

func (f *FS) listxattr(op, name string, follow bool) (names []string, err error) {
	err = f.view(op, name, func() error {
		in, err := f.find(slashed(name), follow)
		if err != nil {
			return err
		}
		list, err := in.xattrs()
		for _, x := range list {
			if n, ok := x.fullName(); ok {
				names = append(names, n)
			}
		}
		slices.Sort(names)
		return err
	})
	return names, err
}

// Setxattr sets an extended attribute of the file that name leads to, symbolic
// links followed, whether or not it has one of that name; see [FS.Getxattr] for
// names and values. An access ACL changes the permission bits with it, and is
// not stored if they say the same. As with setxattr(2), "user." attributes are
// for files and directories, and a default ACL is for directories. All
// attributes of a file must fit into the spare room of its inode and one block
// ([ErrXattrSpace]); none goes to an inode of its own, nor is one that is there changed.
func (f *FS) Setxattr(name, attr string, value []byte) error {
	return f.setxattr("setxattr", name, attr, value, true)
}

// Lsetxattr is Setxattr, of a symbolic link itself if name is one.
func (f *FS) Lsetxattr(name, attr string, value []byte) error {
	return f.setxattr("lsetxattr", name, attr, value, false)
}

func (f *FS) setxattr(op, name, attr string, value []byte, follow bool) error {
	return f.alter(op, name, follow, func(in *inode) error {
		index, rest, err := splitXattr(attr)
		if err != nil {
			return err
		}
		switch index {
		case xattrIndexACL, xattrIndexDefaultACL:
			return in.setExchangedACL(index, value)
		case xattrIndexUser:
			if !in.isRegular() && !in.isDir() {
				return fmt.Errorf("%q is for files and directories only: %w", attr, fs.ErrPermission)
			}
		}
		return in.setXattr(index, rest, value)
	})
}

// Removexattr removes an extended attribute of the file that name leads to,
// symbolic links followed; the error is [ErrNoXattr] if it has none of that
// name. The permission bits stay when an ACL goes.
func (f *FS) Removexattr(name, attr string) error {
	return f.removexattr("removexattr", name, attr, true)
}

// Lremovexattr is Removexattr, of a symbolic link itself if name is one.
func (f *FS) Lremovexattr(name, attr string) error {
	return f.removexattr("lremovexattr", name, attr, false)
}

func (f *FS) removexattr(op, name, attr string, follow bool) error {
	return f.alter(op, name, follow, func(in *inode) error {
		index, rest, err := splitXattr(attr)
		if err != nil {
			return err
		}
		if found, err := in.removeXattr(index, rest); err != nil {
			return err
		} else if !found {
			return fmt.Errorf("%w: %q", ErrNoXattr, attr)
		}
		return nil
	})
}
