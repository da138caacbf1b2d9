package ext4

import (
	"bytes"
	"encoding/binary"
)

// grower makes what lies past the old end of a file system, straight in the
// storage: nothing refers to it before the operation is done.
type grower struct {
	*FS
	old   *superblock
	zeros []byte
	was   []byte // scratch: what the storage holds
}

func newGrower(f *FS, old *superblock) *grower {
	const piece = 256 << 10
	return &grower{f, old, make([]byte, piece), make([]byte, piece)}
}

// addGroups makes the groups past the old last one. Their descriptors are in
// the cache, with all else that the operation may take back.
func (f *grower) addGroups() error {
	sb, old := f.sb, f.old
	for i := old.descBlocks(); i < sb.descBlocks(); i++ {
		if _, err := f.fresh(sb.descBlock(i)); err != nil {
			return err
		}
	}
	for from := old.groups; from < sb.groups; {
		to := min(from/sb.flexGroups*sb.flexGroups+sb.flexGroups, sb.groups)
		places, used, ok := sb.pack(from, to)
		if !ok { // not together: each for itself
			to = from + 1
			if places, used, ok = sb.pack(from, to); !ok {
				return corrupt("superblock", 0, 0, "a group of %d blocks has no room for its structures", sb.groupBlocks(from))
			}
		}
		for i, p := range places {
			if err := f.addGroup(from+uint32(i), p, used); err != nil {
				return err
			}
		}
		from = to
	}
	return nil
}

// places are where the structures of a group lie.
type places struct{ blockBitmap, inodeBitmap, inodeTable uint64 }

// pack places the structures of the groups [from, to) at the beginning of
// these: all block bitmaps, all inode bitmaps, all tables, each as far to the
// front as it fits in one piece.
func (sb *superblock) pack(from, to uint32) (at []places, used []blockRange, ok bool) {
	at = make([]places, to-from)
	p := packer{sb: sb, next: sb.groupStart(from), end: sb.groupStart(to-1) + uint64(sb.groupBlocks(to-1))}
	for i := range at {
		at[i].blockBitmap = p.take(1)
	}
	for i := range at {
		at[i].inodeBitmap = p.take(1)
	}
	for i := range at {
		at[i].inodeTable = p.take(uint64(sb.inodeTableBlocks()))
	}
	return at, p.used, !p.full
}

// packer hands out the blocks of new groups from front to back.
type packer struct {
	sb        *superblock
	next, end uint64
	used      []blockRange // what was taken, in order
	full      bool         // something did not fit
}

// take takes n blocks in a row of one group.
func (p *packer) take(n uint64) uint64 {
	for p.next < p.end {
		g := uint32((p.next - uint64(p.sb.firstData)) / uint64(p.sb.blocksPerGroup))
		start := p.sb.groupStart(g)
		at := max(p.next, start+uint64(p.sb.groupSuperBlocks(g)))
		if at+n > start+uint64(p.sb.groupBlocks(g)) {
			p.next = start + uint64(p.sb.blocksPerGroup)
			continue
		}
		p.next = at + n
		if k := len(p.used) - 1; k >= 0 && p.used[k].to == at {
			p.used[k].to = p.next
		} else {
			p.used = append(p.used, blockRange{at, p.next})
		}
		return at
	}
	p.full = true
	return 0
}

// addGroup makes one group with its structures at p. The structures of all new
// groups that may have any in it are in used.
//
// Where descriptors have checksums they also say what was never written: an
// inode table and both bitmaps. But the block bitmap is there in the last group,
// in those that begin with copies and in those that hold what is others', as
// mke2fs and resize2fs leave it: e2fsck, started from a copy, believes no such flag.
func (f *grower) addGroup(num uint32, p places, used []blockRange) error {
	sb := f.sb
	g, err := f.group(num)
	if err != nil {
		return err
	}
	d := g.edit()
	clear(d)
	put := func(lo, hi int, blk uint64) {
		binary.LittleEndian.PutUint32(d[lo:], uint32(blk))
		if len(d) > 32 {
			binary.LittleEndian.PutUint32(d[hi:], uint32(blk>>32))
		}
	}
	put(gdBlockBitmapLo, gdBlockBitmapHi, p.blockBitmap)
	put(gdInodeBitmapLo, gdInodeBitmapHi, p.inodeBitmap)
	put(gdInodeTableLo, gdInodeTableHi, p.inodeTable)

	bits := sb.groupBits(num, used)
	free := uint32(sb.blockSize)*8 - countBits(bits)
	g.set(gdFreeBlocksLo, gdFreeBlocksHi, free)
	g.set(gdFreeInodesLo, gdFreeInodesHi, sb.inodesPerGroup)
	if err := f.countBlocks(uint64(free), false); err != nil {
		return err
	}
	if !sb.groupCsum() {
		if err := f.putNew(p.inodeBitmap, g.initialInodeBits()); err != nil {
			return err
		}
		if err := f.zeroNew(p.inodeTable, uint64(sb.inodeTableBlocks())); err != nil {
			return err
		}
		return f.putNew(p.blockBitmap, bits)
	}
	g.set(gdUnusedLo, gdUnusedHi, sb.inodesPerGroup)
	if num < sb.groups-1 && sb.groupSuperBlocks(num) == 0 && bytes.Equal(bits, g.initialBlockBits()) {
		g.setFlags(groupInodeUninit | groupBlockUninit)
		return nil
	}
	g.setFlags(groupInodeUninit)
	if sb.metadataCsum() {
		g.set(gdBlockBitmapCsum, gdBlockCsumHi, crc32c(sb.csumSeed, bits[:sb.blocksPerGroup/8]))
	}
	return f.putNew(p.blockBitmap, bits)
}

// putNew writes a block.
func (f *grower) putNew(blk uint64, p []byte) error {
	return f.writeChanged(p, f.was[:len(p)], int64(f.sb.bytes(blk)))
}

// zeroNew clears n blocks. Where the storage reads as zeros nothing is written.
func (f *grower) zeroNew(blk, n uint64) error {
	off, end := f.sb.bytes(blk), f.sb.bytes(blk+n)
	for off < end {
		k := min(end-off, uint64(len(f.zeros)))
		if err := f.writeChanged(f.zeros[:k], f.was[:k], int64(off)); err != nil {
			return err
		}
		off += k
	}
	return nil
}
