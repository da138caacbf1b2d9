package ext4

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Extended attributes: a magic number, then entries that grow upwards and
// values that grow downwards. They are behind the fields of the inode, in a
// block that several inodes may share, or in both.
const (
	xattrMagic     = 0xEA020000
	xattrEntry     = 16
	xattrRefs      = 4 // offsets in the header of a block
	xattrBlocks    = 8
	xattrHash      = 12
	xattrChecksum  = 16
	xattrHeader    = 32
	xattrMaxInode  = 1 << 24 // longest value in an inode of its own
	xattrSpareTail = 4       // zeros behind the last entry
)

// What the index of an attribute stands for at the beginning of its name.
const (
	xattrIndexUser       = 1
	xattrIndexACL        = 2
	xattrIndexDefaultACL = 3
	xattrIndexTrusted    = 4
	xattrIndexSecurity   = 6
	xattrIndexSystem     = 7
)

// xattr is one extended attribute as it is stored.
type xattr struct {
	index byte
	name  string // without what the index stands for
	value []byte // in the buffer that it was read from; nil if it is in an inode of its own
	size  uint32
	inode uint32 // that inode, or 0
	hash  uint32 // of name and value; 0 among those in the inode
}

func (x xattr) entrySize() int { return xattrEntry + pad4(len(x.name)) }

func pad4(n int) int { return (n + 3) &^ 3 }

// inlineXattrs returns the attributes that are in the inode itself.
func (in *inode) inlineXattrs() ([]xattr, error) {
	start := goodOldInodeSize + in.extraIsize()
	if in.extraIsize() == 0 || start+4 > len(in.raw) || binary.LittleEndian.Uint32(in.raw[start:]) != xattrMagic {
		return nil, nil
	}
	area := in.raw[start+4:]
	return in.parseXattrs(area, area, 0)
}

// blockXattrs returns the attributes in the inode's block of them, and the
// block's buffer, which is nil if there is none.
func (in *inode) blockXattrs() ([]xattr, *buffer, error) {
	blk := in.xattrBlock()
	if blk == 0 {
		return nil, nil, nil
	}
	if err := in.checkRun("extended attributes", blk, 1); err != nil {
		return nil, nil, err
	}
	b, err := in.fs.block(blk)
	if err != nil {
		return nil, nil, err
	}
	le := binary.LittleEndian
	if m, n := le.Uint32(b.data), le.Uint32(b.data[xattrBlocks:]); m != xattrMagic || n != 1 {
		return nil, nil, corrupt("extended attributes", in.ino, blk, "magic number %#08x and %d blocks, not %#08x and 1", m, n, uint32(xattrMagic))
	}
	if le.Uint32(b.data[xattrRefs:]) == 0 {
		return nil, nil, corrupt("extended attributes", in.ino, blk, "no inode refers to them, by their count")
	}
	if in.fs.sb.metadataCsum() && !b.verified {
		if got, want := le.Uint32(b.data[xattrChecksum:]), in.fs.sb.xattrChecksum(blk, b.data); got != want {
			return nil, nil, corrupt("extended attributes", in.ino, blk, "checksum is %#08x, should be %#08x", got, want)
		}
		b.verified = true
	}
	list, err := in.parseXattrs(b.data[xattrHeader:], b.data, blk)
	return list, b, err
}

// parseXattrs reads the entries that begin in list; their values lie at offsets in values.
func (in *inode) parseXattrs(list, values []byte, blk uint64) ([]xattr, error) {
	le := binary.LittleEndian
	var out []xattr
	for len(list) >= 4 && le.Uint32(list) != 0 {
		if len(list) < xattrEntry || len(list) < xattrEntry+int(list[0]) {
			return nil, corrupt("extended attributes", in.ino, blk, "an entry reaches past the end")
		}
		n := int(list[0])
		x := xattr{
			index: list[1], name: string(list[xattrEntry : xattrEntry+n]),
			inode: le.Uint32(list[4:]), size: le.Uint32(list[8:]), hash: le.Uint32(list[12:]),
		}
		if x.inode == 0 && x.size > 0 {
			off, size := uint64(le.Uint16(list[2:])), uint64(x.size)
			if off+size > uint64(len(values)) {
				return nil, corrupt("extended attributes", in.ino, blk, "the value of %q reaches past the end", x.name)
			}
			x.value = values[off : off+size]
		}
		out = append(out, x)
		list = list[min(len(list), x.entrySize()):]
	}
	return out, nil
}

// packXattrs lays list out in area: entries from byte head on, values before
// its end. It says whether they fit; if not, area is left as it was.
func packXattrs(area []byte, head int, list []xattr) bool {
	need := head + xattrSpareTail
	for _, x := range list {
		need += x.entrySize() + pad4(len(x.value))
	}
	if need > len(area) {
		return false
	}
	le := binary.LittleEndian
	p := make([]byte, len(area)) // values may lie in area
	copy(p, area[:head])
	at, end := head, len(p)
	for _, x := range list {
		p[at], p[at+1] = byte(len(x.name)), x.index
		if len(x.value) > 0 {
			end -= pad4(len(x.value))
			copy(p[end:], x.value)
			le.PutUint16(p[at+2:], uint16(end))
		}
		le.PutUint32(p[at+4:], x.inode)
		le.PutUint32(p[at+8:], x.size)
		le.PutUint32(p[at+12:], x.hash)
		copy(p[at+xattrEntry:], x.name)
		at += x.entrySize()
	}
	copy(area, p)
	return true
}

// xattrEntryHash computes the hash of an attribute from its name and the words
// that stand for its value. Bytes of the name count as unsigned, as they do on
// ARM, and everywhere since Linux 6.2 and e2fsprogs 1.47, which take both;
// with signed they count as older software on x86 has it.
func xattrEntryHash(name string, words []byte, signed bool) uint32 {
	h := uint32(0)
	for i := range len(name) {
		h = h<<5 ^ h>>27 ^ hashByte(name[i], signed)
	}
	for ; len(words) > 0; words = words[min(len(words), 4):] {
		var w [4]byte
		copy(w[:], words)
		h = h<<16 ^ h>>16 ^ binary.LittleEndian.Uint32(w[:])
	}
	return h
}

// xattrBlockHash computes the hash of a block from those of its entries: 0,
// for "not to be shared", if one has none.
func xattrBlockHash(list []xattr) uint32 {
	h := uint32(0)
	for _, x := range list {
		if x.hash == 0 {
			return 0
		}
		h = h<<16 ^ h>>16 ^ x.hash
	}
	return h
}

// compareXattrs orders attributes as a block has them.
func compareXattrs(a, b xattr) int {
	return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(len(a.name), len(b.name)), cmp.Compare(a.name, b.name))
}

func findXattr(list []xattr, index byte, name string) int {
	return slices.IndexFunc(list, func(x xattr) bool { return x.index == index && x.name == name })
}

// xattrValue returns the value of an attribute, out of its buffer.
func (in *inode) xattrValue(x xattr) ([]byte, error) {
	if x.inode == 0 {
		return append([]byte{}, x.value...), nil
	}
	bad := func(format string, args ...any) ([]byte, error) {
		return nil, corrupt("extended attributes", x.inode, 0, format, args...)
	}
	holder, err := in.fs.inode(x.inode)
	if err != nil {
		return nil, err
	}
	if !holder.has(flagEAInode) || !holder.isRegular() || holder.size() != int64(x.size) || x.size > xattrMaxInode {
		return bad("the inode does not hold the %d bytes of %q of inode %d", x.size, x.name, in.ino)
	}
	value := make([]byte, x.size)
	if _, err := holder.readAt(value, 0); err != nil {
		return nil, err
	}
	// The time of access holds the hash of the value.
	hash := crc32c(in.fs.sb.csumSeed, value)
	word := binary.LittleEndian.AppendUint32(nil, hash)
	if hash != holder.u32(iAtime) ||
		x.hash != xattrEntryHash(x.name, word, false) && x.hash != xattrEntryHash(x.name, word, true) {
		return bad("the hash of the value of %q of inode %d is wrong", x.name, in.ino)
	}
	return value, nil
}

// xattrChecksum computes the checksum of a block of extended attributes.
func (sb *superblock) xattrChecksum(blk uint64, data []byte) uint32 {
	c := crc32c(sb.csumSeed, binary.LittleEndian.AppendUint64(nil, blk))
	c = crc32c(c, data[:xattrChecksum])
	c = crc32c(c, []byte{0, 0, 0, 0})
	return crc32c(c, data[xattrChecksum+4:])
}

// sealXattrs writes the checksum of a block of extended attributes.
func (sb *superblock) sealXattrs(blk uint64, data []byte) {
	if sb.metadataCsum() {
		binary.LittleEndian.PutUint32(data[xattrChecksum:], sb.xattrChecksum(blk, data))
	}
}

// refuseXattrInodes refuses to give up attributes whose values are in inodes
// of their own, which would have to be freed too.
func refuseXattrInodes(list []xattr) error {
	if slices.ContainsFunc(list, func(x xattr) bool { return x.inode != 0 }) {
		return &UnsupportedError{Features: []string{"an extended attribute in an inode of its own"}, Writing: true}
	}
	return nil
}

// sameValue says whether x has that value already.
func (x xattr) sameValue(value []byte) bool { return x.inode == 0 && bytes.Equal(x.value, value) }
