package ext4

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// xattrShare is a block of attributes that inodes have found so far.
type xattrShare struct {
	refs, says uint32 // how many, and how many it says there are
	blocks     uint64 // what each is charged for
}

// checkXattrBlock checks the block of attributes of an inode, when it is
// first met, and returns how many blocks the inode is charged for it.
func (c *checker) checkXattrBlock(in *inode) (charged uint64, err error) {
	blk, sb := in.xattrBlock(), c.sb
	if blk == 0 || in.ino < sb.firstIno && in.ino != rootIno && !c.inside(blk, 1) {
		return 0, nil
	}
	if !sb.hasCompat(compatExtAttr) || !c.inside(blk, 1) {
		c.bad(in, CodeXattr, "they are said to be in block %d, in a file system of %d, with ext_attr: %v", blk, sb.blocks, sb.hasCompat(compatExtAttr))
		return 0, nil
	}
	if s := c.xattrs[blk]; s != nil {
		s.refs++
		return s.blocks, nil
	}
	p := make([]byte, sb.blockSize)
	if err := c.read(blk, p); err != nil {
		return 0, err
	}
	where := Finding{Code: CodeXattr, Inode: in.ino, Block: blk, Group: -1}
	le := binary.LittleEndian
	if le.Uint32(p) != xattrMagic || le.Uint32(p[xattrBlocks:]) != 1 {
		c.find(where, "magic number is %#08x, for %d blocks", le.Uint32(p), le.Uint32(p[xattrBlocks:]))
		return 0, nil
	}
	s := &xattrShare{refs: 1, says: le.Uint32(p[xattrRefs:]), blocks: 1}
	if sb.metadataCsum() {
		if got, want := le.Uint32(p[xattrChecksum:]), sb.xattrChecksum(blk, p); got != want {
			where.Code = CodeXattrSum
			c.find(where, "it is %#08x, should be %#08x", got, want)
		}
	}
	values, err := c.checkXattrs(in, p, blk)
	if err != nil {
		return 0, err
	}
	s.blocks += values
	c.xattrs[blk] = s
	c.claim(blk, 1)
	return s.blocks, nil
}

// xattrIndexEncryption is that of the attribute with a file's encryption policy.
const xattrIndexEncryption = 9

// checkPolicy checks that an encrypted file says how it is encrypted, in an
// attribute in the inode or in its block of them.
func (c *checker) checkPolicy(in *inode) error {
	if !in.has(flagEncrypt) {
		return nil
	}
	list, _ := in.inlineXattrs() // what is wrong with them is found elsewhere
	if blk := in.xattrBlock(); c.inside(blk, 1) {
		p := make([]byte, c.sb.blockSize)
		if err := c.read(blk, p); err != nil {
			return err
		}
		more, _ := in.parseXattrs(p[xattrHeader:], p, blk)
		list = append(list, more...)
	}
	if findXattr(list, xattrIndexEncryption, "c") < 0 {
		c.bad(in, CodeXattr, "it is encrypted, but none says how")
	}
	return nil
}

// xattrCheck goes through attributes: those of block blk, or of an inode's end.
type xattrCheck struct {
	c    *checker
	in   *inode
	area []byte // from the magic number on
	blk  uint64
	base int // where the offsets of values count from
	// taken are the bytes of area in use: no two parts may overlap.
	taken []bool
}

// checkXattrs checks the attributes in area, and returns how many blocks their
// values in other inodes are charged for.
func (c *checker) checkXattrs(in *inode, area []byte, blk uint64) (charged uint64, err error) {
	x := xattrCheck{c: c, in: in, area: area, blk: blk, taken: make([]bool, len(area))}
	at := 4
	if blk != 0 {
		at = xattrHeader
	} else {
		x.base = 4
	}
	x.take(0, at)
	le := binary.LittleEndian
	for len(area)-at >= xattrEntry && le.Uint32(area[at:]) != 0 {
		n := xattrEntry + pad4(int(area[at]))
		problem := ""
		switch holder := le.Uint32(area[at+4:]); {
		case !x.take(at, n):
			problem = "it overlaps another, or the end"
		case blk != 0 && area[at+1] == 0:
			problem = "its name has no prefix"
		case holder == 0:
			problem = x.valueProblem(area[at : at+n])
		default:
			var blocks uint64
			if problem, blocks, err = x.holderProblem(area[at:at+n], holder); err != nil {
				return 0, err
			}
			charged += blocks
		}
		if problem != "" {
			c.find(Finding{Code: CodeXattr, Inode: in.ino, Block: blk, Group: -1}, "entry at byte %d: %s", at, problem)
			return charged, nil
		}
		at += n
	}
	if !x.take(at, 4) {
		c.find(Finding{Code: CodeXattr, Inode: in.ino, Block: blk, Group: -1}, "their list has no end")
	}
	return charged, nil
}

// take marks bytes of the area in use, if they are free.
func (x *xattrCheck) take(at, n int) bool {
	if at < 0 || n <= 0 || n > len(x.area) || at > len(x.area)-n || slices.Contains(x.taken[at:at+n], true) {
		return false
	}
	for i := range n {
		x.taken[at+i] = true
	}
	return true
}

func (x *xattrCheck) valueProblem(entry []byte) string {
	le := binary.LittleEndian
	off, size := int(le.Uint16(entry[2:])), uint64(le.Uint32(entry[8:]))
	if size > uint64(len(x.area)) || (x.blk != 0 || x.in.has(flagInlineData)) && x.base+off+int(size) > len(x.area) {
		return fmt.Sprintf("a value of %d bytes at byte %d", size, off)
	}
	padded := pad4(int(size))
	if size > 0 && !x.take(x.base+off, padded) {
		return "its value overlaps another, or the end"
	}
	if x.blk == 0 && le.Uint32(entry[12:]) == 0 { // once left out in inodes
		return ""
	}
	var value []byte
	if size > 0 {
		value = x.area[x.base+off : x.base+off+padded]
	}
	return xattrHashProblem(entry, value)
}

// xattrHashProblem compares the hash in an entry with that of its name and of
// the words that stand for its value.
func xattrHashProblem(entry, words []byte) string {
	name := string(entry[xattrEntry : xattrEntry+int(entry[0])])
	hash, want := binary.LittleEndian.Uint32(entry[12:]), xattrEntryHash(name, words, false)
	if hash != want && hash != xattrEntryHash(name, words, true) {
		return fmt.Sprintf("hash of %q is %#08x, should be %#08x", name, hash, want)
	}
	return ""
}

// holderProblem checks an attribute whose value is in an inode of its own,
// which keeps the value's hash as its time of access, and counts the reference.
func (x *xattrCheck) holderProblem(entry []byte, ino uint32) (problem string, charged uint64, err error) {
	c, sb := x.c, x.c.sb
	if ino < sb.firstIno || ino > sb.inodes {
		return fmt.Sprintf("its value is said to be in inode %d", ino), 0, nil
	}
	in, err := c.inode(ino)
	if err != nil {
		return "", 0, err
	}
	c.holders[ino]++
	if in == nil || !in.has(flagEAInode) {
		return fmt.Sprintf("inode %d, which should have its value, is not there for that", ino), 0, nil
	}
	le := binary.LittleEndian
	problem = xattrHashProblem(entry, le.AppendUint32(nil, in.u32(iAtime)))
	if problem == "" {
		return "", sb.blocksFor(int64(le.Uint32(entry[8:]))), nil
	}
	if in.u32(iMtime) == x.in.ino && in.generation() == x.in.generation() { // as Lustre had it first
		return "", 0, nil
	}
	return problem, 0, nil
}

// checkXattrShares compares how often blocks of attributes were met with how
// often they say they are.
func (c *checker) checkXattrShares() error {
	for _, blk := range slices.Sorted(maps.Keys(c.xattrs)) {
		if s := c.xattrs[blk]; s.refs != s.says {
			c.find(Finding{Code: CodeXattrRefs, Block: blk, Group: -1}, "%d inodes have the block, it says %d", s.refs, s.says)
		}
	}
	return nil
}

// holderLinks is how many links an inode has that holds values of attributes:
// one, if any attribute leads to it. How many do is kept in its change time
// and version.
func (c *checker) holderLinks(ino uint32) (uint16, error) {
	refs := c.holders[ino]
	if refs == 0 {
		return 0, nil
	}
	in, err := c.inode(ino)
	if err != nil || in == nil {
		return 0, err
	}
	says := uint64(in.u32(iCtime))<<32 | uint64(in.u32(iVersion))
	if says != uint64(refs) && in.u32(iCtime) != in.u32(iAtime) {
		c.bad(in, CodeXattrRefs, "%d attributes have their value there, it says %d", refs, says)
	}
	return 1, nil
}
