package ext4

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// setXattr gives the inode an attribute, in the inode itself if it has room
// there, or else in a block. The caller stores the inode.
func (in *inode) setXattr(index byte, name string, value []byte) error {
	inline, err := in.inlineXattrs()
	if err != nil {
		return err
	}
	block, _, err := in.blockXattrs()
	if err != nil {
		return err
	}
	x := xattr{index: index, name: name, value: value, size: uint32(len(value))}
	i, j := findXattr(inline, index, name), findXattr(block, index, name)
	switch {
	case i >= 0 && inline[i].sameValue(value), i < 0 && j >= 0 && block[j].sameValue(value):
		return nil
	case i >= 0 && inline[i].inode != 0:
		return refuseXattrInodes(inline[i : i+1])
	case j >= 0 && block[j].inode != 0:
		return refuseXattrInodes(block[j : j+1])
	}
	without := func(list []xattr, i int) []xattr {
		if i < 0 {
			return list
		}
		return slices.Delete(slices.Clone(list), i, i+1)
	}
	if err := in.fs.enable(sbCompat, compatExtAttr); err != nil {
		return err
	}
	if in.storeInlineXattrs(append(slices.Clip(without(inline, i)), x)) {
		if j < 0 {
			return nil
		}
		return in.storeXattrBlock(without(block, j))
	}
	x.hash = xattrEntryHash(name, value, false)
	list := append(slices.Clip(without(block, j)), x)
	slices.SortStableFunc(list, compareXattrs)
	if err := in.storeXattrBlock(list); err != nil {
		return err
	}
	if i >= 0 {
		in.storeInlineXattrs(without(inline, i))
	}
	return nil
}

// removeXattr takes an attribute away, and says whether there was such.
func (in *inode) removeXattr(index byte, name string) (bool, error) {
	inline, err := in.inlineXattrs()
	if err != nil {
		return false, err
	}
	block, _, err := in.blockXattrs()
	if err != nil {
		return false, err
	}
	if i := findXattr(inline, index, name); i >= 0 {
		if err := refuseXattrInodes(inline[i : i+1]); err != nil {
			return false, err
		}
		in.storeInlineXattrs(slices.Delete(inline, i, i+1))
		return true, nil
	}
	if i := findXattr(block, index, name); i >= 0 {
		if err := refuseXattrInodes(block[i : i+1]); err != nil {
			return false, err
		}
		return true, in.storeXattrBlock(slices.Delete(block, i, i+1))
	}
	return false, nil
}

// wantExtra is how much of an inode behind its first 128 bytes is for fields,
// where there is room.
func (sb *superblock) wantExtra() int {
	extra := 32
	if sb.hasROCompat(roCompatExtraIsize) {
		extra = max(extra, int(sb.wantExtraIsize), int(sb.minExtraIsize))
	}
	return min(extra, sb.inodeSize-goodOldInodeSize) &^ 3
}

// storeInlineXattrs makes list the attributes in the inode, and says whether
// they fit. Fields that an older inode does not have it gets, as the kernel
// has it, as long as the attributes leave the room.
func (in *inode) storeInlineXattrs(list []xattr) bool {
	old := in.extraIsize()
	for _, extra := range []int{max(old, in.fs.sb.wantExtra()), old} {
		start := goodOldInodeSize + extra
		if extra == 0 || start+4 > len(in.raw) {
			continue
		}
		area := make([]byte, len(in.raw)-start-4)
		if !packXattrs(area, 0, list) {
			continue
		}
		clear(in.raw[goodOldInodeSize+old:])
		in.put16(iExtraIsize, uint16(extra))
		if len(list) > 0 {
			in.put32(start, xattrMagic)
			copy(in.raw[start+4:], area)
		}
		return true
	}
	return false
}

// storeXattrBlock makes list, sorted, the attributes in the inode's block of
// them. A block that others share is left to them.
func (in *inode) storeXattrBlock(list []xattr) error {
	if len(list) == 0 {
		return in.releaseXattrBlock()
	}
	le := binary.LittleEndian
	data := make([]byte, in.fs.sb.blockSize)
	le.PutUint32(data, xattrMagic)
	le.PutUint32(data[xattrRefs:], 1)
	le.PutUint32(data[xattrBlocks:], 1)
	le.PutUint32(data[xattrHash:], xattrBlockHash(list))
	if !packXattrs(data, xattrHeader, list) {
		return fmt.Errorf("%w: those of a file share %d bytes in its inode and one block of %d bytes, with their names",
			ErrXattrSpace, max(0, len(in.raw)-goodOldInodeSize-in.extraIsize()), len(data))
	}
	_, b, err := in.blockXattrs()
	if err != nil {
		return err
	}
	if b == nil || le.Uint32(b.data[xattrRefs:]) > 1 {
		if err := in.releaseXattrBlock(); err != nil {
			return err
		}
		blk, _, err := in.fs.allocate(0, in.home(), 1)
		if err != nil {
			return err
		}
		if b, err = in.fs.fresh(blk); err != nil {
			return err
		}
		if err := in.setXattrBlock(blk); err != nil {
			return err
		}
		if err := in.addBlocks(1); err != nil {
			return err
		}
	}
	in.fs.sb.sealXattrs(b.blk, data)
	in.fs.replace(b, data)
	return nil
}

func (in *inode) setXattrBlock(blk uint64) error {
	if blk>>32 != 0 && !in.fs.sb.hasIncompat(incompat64Bit) {
		return corrupt("inode", in.ino, blk, "it cannot count that far")
	}
	in.put32(iFileACLLo, uint32(blk))
	in.put16(iFileACLHi, uint16(blk>>32))
	return nil
}

// releaseXattrBlock gives up the inode's block of attributes, which other inodes may share.
func (in *inode) releaseXattrBlock() error {
	list, b, err := in.blockXattrs()
	if err != nil || b == nil {
		return err
	}
	if err := refuseXattrInodes(list); err != nil {
		return err
	}
	if refs := binary.LittleEndian.Uint32(b.data[xattrRefs:]); refs > 1 {
		data := in.fs.edit(b)
		binary.LittleEndian.PutUint32(data[xattrRefs:], refs-1)
		in.fs.sb.sealXattrs(b.blk, data)
	} else if err := in.fs.mark(b.blk, 1, false); err != nil {
		return err
	}
	if err := in.setXattrBlock(0); err != nil {
		return err
	}
	return in.addBlocks(-1)
}

// releaseXattrs gives up all attributes of an inode that is about to be freed.
func (in *inode) releaseXattrs() error {
	inline, err := in.inlineXattrs()
	if err != nil {
		return err
	}
	if err := refuseXattrInodes(inline); err != nil {
		return err
	}
	return in.releaseXattrBlock()
}
