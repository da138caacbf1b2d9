package ext4

import "encoding/binary"

// Extended attributes: a magic number, then entries that grow upwards and
// values that grow downwards.
const (
	xattrMagic       = 0xEA020000
	xattrEntry       = 16
	xattrHeader      = 32 // of a block of them
	xattrChecksum    = 16
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

// releaseXattrs gives up the inode's block of extended attributes, which other inodes may share.
func (in *inode) releaseXattrs() error {
	inline, err := in.inlineXattrs()
	if err != nil {
		return err
	}
	blk := in.xattrBlock()
	if blk == 0 {
		return refuseXattrInodes(inline)
	}
	if err := in.checkRun("extended attributes", blk, 1); err != nil {
		return err
	}
	b, err := in.fs.block(blk)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	if le.Uint32(b.data) != xattrMagic {
		return corrupt("extended attributes", in.ino, blk, "magic number is %#08x, not %#08x", le.Uint32(b.data), xattrMagic)
	}
	list, err := in.parseXattrs(b.data[xattrHeader:], b.data, blk)
	if err != nil {
		return err
	}
	if err := refuseXattrInodes(append(list, inline...)); err != nil {
		return err
	}
	if refs := le.Uint32(b.data[4:]); refs > 1 {
		data := in.fs.edit(b)
		le.PutUint32(data[4:], refs-1)
		in.fs.sb.sealXattrs(blk, data)
	} else if err := in.fs.mark(blk, 1, false); err != nil {
		return err
	}
	in.put32(iFileACLLo, 0)
	in.put16(iFileACLHi, 0)
	return in.addBlocks(-1)
}

// sealXattrs writes the checksum of a block of extended attributes.
func (sb *superblock) sealXattrs(blk uint64, data []byte) {
	if !sb.metadataCsum() {
		return
	}
	clear(data[xattrChecksum : xattrChecksum+4])
	var num [8]byte
	binary.LittleEndian.PutUint64(num[:], blk)
	binary.LittleEndian.PutUint32(data[xattrChecksum:], crc32c(crc32c(sb.csumSeed, num[:]), data))
}

// refuseXattrInodes refuses attributes whose values are in inodes of their own, which would have to be freed too.
func refuseXattrInodes(list []xattr) error {
	for _, x := range list {
		if x.inode != 0 {
			return &UnsupportedError{Features: []string{"an extended attribute in an inode of its own"}, Writing: true}
		}
	}
	return nil
}
