package ext4

import (
	"bytes"
	"encoding/binary"
)

// iDoubleIndirect is the pointer to the double indirect block in i_block.
const iDoubleIndirect = iBlock + 4*13

// growReserved changes the resize inode, which owns the blocks reserved for
// group descriptors: its double indirect block points to those behind the first
// group's descriptors, and each of these, as if it were an indirect block, to
// those with the same number behind the copies in other groups.
//
// It gives up the reserved blocks that descriptors need, takes in those behind
// the copies in new groups, and lets go of all in a file system that goes over to meta_bg.
func (f *FS) growReserved(sb *superblock) error {
	old := f.sb
	if !old.hasCompat(compatResizeInode) {
		if old.reservedGDT > 0 {
			return corrupt("superblock", 0, 0, "%d blocks are reserved for group descriptors, but there is no resize_inode", old.reservedGDT)
		}
		return nil
	}
	if old.hasIncompat(incompatMetaBG) {
		return corrupt("superblock", 0, 0, "it has both resize_inode and meta_bg")
	}
	if sb.groups == old.groups {
		return nil
	}
	in, dind, err := f.resizeInode()
	if err != nil {
		return err
	}
	had, has := old.backups(), sb.backups()
	if len(has) > sb.blockSize/4 {
		return corrupt("superblock", 0, 0, "%d groups have copies, too many for resize_inode", len(has))
	}
	change := int64(0)
	for i := old.descBlocks(); i < old.descBlocks()+old.reservedGDT; i++ {
		entry, blk := 4*int(i%uint32(old.blockSize/4)), old.descBlock(i)
		if got := uint64(binary.LittleEndian.Uint32(dind.data[entry:])); got != blk {
			return corrupt("block map", resizeIno, dind.blk, "it points to block %d where the reserved block %d should be", got, blk)
		}
		list, err := f.block(blk)
		if err != nil {
			return err
		}
		if !bytes.Equal(list.data, old.reservedBackups(blk, had)) {
			return corrupt("block map", resizeIno, blk, "it does not list the reserved blocks of the groups with copies")
		}
		if i < sb.descBlocks() {
			binary.LittleEndian.PutUint32(f.edit(dind)[entry:], 0)
			change -= 1 + int64(len(had))
			continue
		}
		f.replace(list, sb.reservedBackups(blk, has))
		change += int64(len(has)) - int64(len(had))
	}
	if !sb.hasCompat(compatResizeInode) {
		if err := f.mark(dind.blk, 1, false); err != nil {
			return err
		}
		in.put32(iDoubleIndirect, 0)
		change--
	}
	if err := in.addBlocks(change); err != nil {
		return err
	}
	return in.store()
}

// resizeInode returns inode 7 and its double indirect block.
func (f *FS) resizeInode() (*inode, *buffer, error) {
	in, err := f.inode(resizeIno)
	if err != nil {
		return nil, nil, err
	}
	blk := uint64(in.u32(iDoubleIndirect))
	if err := in.checkRun("block map", blk, 1); err != nil {
		return nil, nil, err
	}
	b, err := f.block(blk)
	return in, b, err
}

// reservedBackups is what the reserved block blk holds: pointers to the blocks
// of the same number in the groups with copies.
func (sb *superblock) reservedBackups(blk uint64, groups []uint32) []byte {
	p := make([]byte, sb.blockSize)
	for i, g := range groups {
		binary.LittleEndian.PutUint32(p[4*i:], uint32(blk+uint64(g)*uint64(sb.blocksPerGroup)))
	}
	return p
}

// writeBackups brings the copies of the superblock and of the descriptors up to
// date in all groups. The copies say, as e2fsprogs has them say, that the file
// system was not unmounted: who needs one should check all of it.
func (f *grower) writeBackups() error {
	sb, old := f.sb, f.old
	put := func(blk uint64, p []byte) error {
		if blk >= old.blocks {
			return f.putNew(blk, p)
		}
		b, err := f.block(blk)
		if err == nil {
			f.replace(b, p)
		}
		return err
	}
	groups := sb.backups()
	for _, g := range groups {
		p, err := f.backupSuper(g)
		if err != nil {
			return err
		}
		start := sb.groupStart(g)
		if err := put(start, p); err != nil {
			return err
		}
		if g >= old.groups {
			spare := uint64(sb.reservedGDT)
			if err := f.zeroNew(start+uint64(sb.groupSuperBlocks(g))-spare, spare); err != nil {
				return err
			}
		}
	}
	for i := range sb.descBlocks() {
		b, err := f.block(sb.descBlock(i))
		if err != nil {
			return err
		}
		for _, blk := range sb.descBackups(i, groups) {
			if err := put(blk, b.data); err != nil {
				return err
			}
		}
	}
	return nil
}

// backupSuper returns the block that group g begins with.
func (f *FS) backupSuper(g uint32) ([]byte, error) {
	d, err := f.super()
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	p := make([]byte, f.sb.blockSize)
	copy(p, d)
	le.PutUint16(p[sbState:], le.Uint16(p[sbState:])&^stateValid)
	if f.sb.revision > 0 {
		le.PutUint16(p[sbGroupNumber:], uint16(g))
	}
	f.sb.sealSuper(p)
	return p, nil
}
