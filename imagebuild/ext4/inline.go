package ext4

import (
	"encoding/binary"
	"fmt"
)

// Extended attributes: a magic number, then entries that grow upwards and
// values that grow downwards.
const (
	xattrMagic       = 0xEA020000
	xattrEntry       = 16
	xattrIndexSystem = 7
)

// xattr is one extended attribute as it is stored.
type xattr struct {
	index byte   // of the name's prefix: 1 user., 2 posix_acl_access, 6 security., 7 system., …
	name  string // without the prefix
	value []byte // nil if it is in an inode of its own
	inode uint32 // that inode, or 0
}

// inlineXattrs returns the attributes that are in the inode itself.
func (in *inode) inlineXattrs() ([]xattr, error) {
	start := goodOldInodeSize + in.extraIsize()
	if in.extraIsize() == 0 || start+4 > len(in.raw) || binary.LittleEndian.Uint32(in.raw[start:]) != xattrMagic {
		return nil, nil
	}
	area := in.raw[start+4:]
	return in.parseXattrs(area, area, 0)
}

// parseXattrs reads the entries that begin in list; their values lie at offsets in values.
func (in *inode) parseXattrs(list, values []byte, blk uint64) ([]xattr, error) {
	le := binary.LittleEndian
	var out []xattr
	for {
		if len(list) < 4 {
			return out, nil
		}
		if le.Uint32(list) == 0 {
			return out, nil
		}
		if len(list) < xattrEntry || len(list) < xattrEntry+int(list[0]) {
			return nil, corrupt("extended attributes", in.ino, blk, "an entry reaches past the end")
		}
		n := int(list[0])
		x := xattr{index: list[1], name: string(list[xattrEntry : xattrEntry+n]), inode: le.Uint32(list[4:])}
		if x.inode == 0 {
			off, size := uint64(le.Uint16(list[2:])), uint64(le.Uint32(list[8:]))
			if off+size > uint64(len(values)) {
				return nil, corrupt("extended attributes", in.ino, blk, "the value of %q reaches past the end", x.name)
			}
			x.value = values[off : off+size]
		}
		out = append(out, x)
		next := (xattrEntry + n + 3) &^ 3
		if next > len(list) {
			return out, nil
		}
		list = list[next:]
	}
}

// inlineData returns the parts of a file or directory that lives in its inode:
// i_block's, and what follows in the attribute system.data.
func (in *inode) inlineData() (head, tail []byte, err error) {
	xs, err := in.inlineXattrs()
	if err != nil {
		return nil, nil, err
	}
	for _, x := range xs {
		if x.index == xattrIndexSystem && x.name == "data" {
			tail = x.value
		}
	}
	return in.raw[iBlock : iBlock+iBlockLen], tail, nil
}

// inlineContent is the content of a file, or the target of a symlink, that lives in its inode.
func (in *inode) inlineContent() ([]byte, error) {
	head, tail, err := in.inlineData()
	if err != nil {
		return nil, err
	}
	all := append(append(make([]byte, 0, len(head)+len(tail)), head...), tail...)
	if in.size() > int64(len(all)) {
		return nil, corrupt("inode", in.ino, 0, "inline data of %d bytes, size is %d", len(all), in.size())
	}
	return all[:in.size()], nil
}

// scanInline is scan for a directory that lives in its inode: the number of its
// parent, then entries without "." and "..", in two stretches.
func (in *inode) scanInline(fn func(dirent) (stop bool)) error {
	head, tail, err := in.inlineData()
	if err != nil {
		return err
	}
	if fn(dirent{ino: in.ino, ftype: 2, name: []byte(".")}) ||
		fn(dirent{ino: binary.LittleEndian.Uint32(head), ftype: 2, name: []byte("..")}) {
		return nil
	}
	stop := false
	for _, part := range [][]byte{head[4:], tail} {
		err := in.entries(0, part, func(d dirent) bool {
			stop = fn(d)
			return stop
		})
		if err != nil {
			return fmt.Errorf("inline directory: %w", err)
		}
		if stop {
			return nil
		}
	}
	return nil
}
