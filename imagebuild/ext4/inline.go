package ext4

import (
	"encoding/binary"
	"fmt"
)

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
