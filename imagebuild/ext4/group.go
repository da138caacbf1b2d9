package ext4

import (
	"encoding/binary"
	"slices"
	"sort"
)

// Offsets in a group descriptor. Those from 0x20 on exist with 64bit only.
const (
	gdBlockBitmapLo   = 0x00
	gdInodeBitmapLo   = 0x04
	gdInodeTableLo    = 0x08
	gdFreeBlocksLo    = 0x0C
	gdFreeInodesLo    = 0x0E
	gdUsedDirsLo      = 0x10
	gdFlags           = 0x12
	gdBlockBitmapCsum = 0x18
	gdInodeBitmapCsum = 0x1A
	gdUnusedLo        = 0x1C
	gdChecksum        = 0x1E
	gdBlockBitmapHi   = 0x20
	gdInodeBitmapHi   = 0x24
	gdInodeTableHi    = 0x28
	gdFreeBlocksHi    = 0x2C
	gdFreeInodesHi    = 0x2E
	gdUsedDirsHi      = 0x30
	gdUnusedHi        = 0x32
	gdBlockCsumHi     = 0x38
	gdInodeCsumHi     = 0x3A

	groupInodeUninit = 1
	groupBlockUninit = 2
	groupInodeZeroed = 4
)

// group is the descriptor of one block group, in the buffer that holds it.
type group struct {
	fs  *FS
	num uint32
	buf *buffer
	off int
}

func (fs *FS) group(g uint32) (group, error) {
	if g >= fs.sb.groups {
		return group{}, corrupt("group descriptors", 0, 0, "group %d of %d is referred to", g, fs.sb.groups)
	}
	per := fs.sb.descsPerBlock()
	b, err := fs.block(fs.sb.descBlock(g / per))
	if err != nil {
		return group{}, err
	}
	return group{fs, g, b, int(g%per) * fs.sb.descSize}, nil
}

func (g group) raw() []byte { return g.buf.data[g.off : g.off+g.fs.sb.descSize] }

func (g group) u16(lo, hi int) uint32 {
	d := g.raw()
	v := uint32(binary.LittleEndian.Uint16(d[lo:]))
	if len(d) > 32 {
		v |= uint32(binary.LittleEndian.Uint16(d[hi:])) << 16
	}
	return v
}

func (g group) u32(lo, hi int) uint64 {
	d := g.raw()
	v := uint64(binary.LittleEndian.Uint32(d[lo:]))
	if len(d) > 32 {
		v |= uint64(binary.LittleEndian.Uint32(d[hi:])) << 32
	}
	return v
}

func (g group) blockBitmap() uint64 { return g.u32(gdBlockBitmapLo, gdBlockBitmapHi) }
func (g group) inodeBitmap() uint64 { return g.u32(gdInodeBitmapLo, gdInodeBitmapHi) }
func (g group) inodeTable() uint64  { return g.u32(gdInodeTableLo, gdInodeTableHi) }
func (g group) freeBlocks() uint32  { return g.u16(gdFreeBlocksLo, gdFreeBlocksHi) }
func (g group) freeInodes() uint32  { return g.u16(gdFreeInodesLo, gdFreeInodesHi) }
func (g group) usedDirs() uint32    { return g.u16(gdUsedDirsLo, gdUsedDirsHi) }
func (g group) unused() uint32      { return g.u16(gdUnusedLo, gdUnusedHi) }

// flags are the descriptor's flags, none where there are no checksums to make them mean anything.
func (g group) flags() uint16 {
	if !g.fs.sb.groupCsum() {
		return 0
	}
	return binary.LittleEndian.Uint16(g.raw()[gdFlags:])
}

// set changes a 16-bit counter, or a checksum, with its upper half.
func (g group) set(lo, hi int, v uint32) {
	d := g.edit()
	binary.LittleEndian.PutUint16(d[lo:], uint16(v))
	if len(d) > hi {
		binary.LittleEndian.PutUint16(d[hi:], uint16(v>>16))
	}
}

func (g group) setFlags(f uint16) { binary.LittleEndian.PutUint16(g.edit()[gdFlags:], f) }

func (g group) edit() []byte {
	g.fs.tx.descs[g.num] = struct{}{}
	return g.fs.edit(g.buf)[g.off : g.off+g.fs.sb.descSize]
}

// inodeTableBlocks is the length of each group's inode table.
func (sb *superblock) inodeTableBlocks() uint32 {
	per := uint32(sb.blockSize / sb.inodeSize)
	return (sb.inodesPerGroup + per - 1) / per
}

// blockRange is a run of blocks, [from, to).
type blockRange struct{ from, to uint64 }

// structures are where the descriptor places the group's bitmaps and inode table.
func (g group) structures() []blockRange {
	return []blockRange{
		{g.blockBitmap(), g.blockBitmap() + 1},
		{g.inodeBitmap(), g.inodeBitmap() + 1},
		{g.inodeTable(), g.inodeTable() + uint64(g.fs.sb.inodeTableBlocks())},
	}
}

// checkGroups verifies every descriptor and collects the blocks that hold the
// file system's own structures, which no file may own.
func (fs *FS) checkGroups() error {
	sb := fs.sb
	system := make([]blockRange, 0, 4*min(sb.groups, 1<<16))
	for n := range sb.groups {
		g, err := fs.group(n)
		if err != nil {
			return err
		}
		if sb.groupCsum() {
			if got, want := binary.LittleEndian.Uint16(g.raw()[gdChecksum:]), sb.descChecksum(n, g.raw()); got != want {
				return corrupt("group descriptors", 0, g.buf.blk, "checksum of group %d is %#04x, should be %#04x", n, got, want)
			}
		}
		own := g.structures()
		for _, r := range own {
			if r.from <= uint64(sb.firstData) || r.to > sb.blocks || r.to < r.from {
				return corrupt("group descriptors", 0, g.buf.blk, "group %d places its structures at block %d of %d", n, r.from, sb.blocks)
			}
		}
		if sup := sb.groupSuperBlocks(n); sup > 0 {
			start := sb.groupStart(n)
			own = append(own, blockRange{start, min(start+uint64(sup), sb.blocks)})
		}
		system = append(system, own...)
		if n%1024 == 1023 && fs.tx == nil {
			if err := fs.trim(); err != nil {
				return err
			}
		}
	}
	if sb.firstData > 0 {
		system = append(system, blockRange{0, uint64(sb.firstData)})
	}
	slices.SortFunc(system, func(a, b blockRange) int {
		switch {
		case a.from < b.from:
			return -1
		case a.from > b.from:
			return 1
		}
		return 0
	})
	merged := system[:0]
	for _, r := range system {
		if k := len(merged) - 1; k >= 0 && r.from <= merged[k].to {
			if r.from < merged[k].to && !fs.readOnly {
				return corrupt("group descriptors", 0, r.from, "two structures of the file system claim the block")
			}
			merged[k].to = max(merged[k].to, r.to)
			continue
		}
		merged = append(merged, r)
	}
	fs.system = merged
	return nil
}

// isSystem says whether any of the n blocks from blk on holds a structure of the file system.
func (fs *FS) isSystem(blk, n uint64) bool {
	i := sort.Search(len(fs.system), func(i int) bool { return fs.system[i].to > blk })
	return i < len(fs.system) && fs.system[i].from < blk+n
}

// sealGroups makes the checksums right of what the operation changed in
// bitmaps, group descriptors and the superblock.
func (fs *FS) sealGroups() error {
	sb := fs.sb
	if sb.metadataCsum() {
		for n := range fs.tx.blockBitmaps {
			if err := fs.sealBitmap(n, group.blockBitmap, sb.blocksPerGroup/8, gdBlockBitmapCsum, gdBlockCsumHi); err != nil {
				return err
			}
		}
		for n := range fs.tx.inodeBitmaps {
			if err := fs.sealBitmap(n, group.inodeBitmap, sb.inodesPerGroup/8, gdInodeBitmapCsum, gdInodeCsumHi); err != nil {
				return err
			}
		}
	}
	if sb.groupCsum() {
		for n := range fs.tx.descs {
			g, err := fs.group(n)
			if err != nil {
				return err
			}
			d := fs.edit(g.buf)[g.off : g.off+sb.descSize]
			binary.LittleEndian.PutUint16(d[gdChecksum:], sb.descChecksum(n, d))
		}
	}
	if fs.tx.super {
		d, err := fs.editSuper()
		if err != nil {
			return err
		}
		sb.sealSuper(d)
	}
	return nil
}

func (fs *FS) sealBitmap(n uint32, at func(group) uint64, size uint32, lo, hi int) error {
	g, err := fs.group(n)
	if err != nil {
		return err
	}
	b, err := fs.block(at(g))
	if err != nil {
		return err
	}
	g.set(lo, hi, crc32c(fs.sb.csumSeed, b.data[:size]))
	return nil
}

// super returns the superblock's bytes for reading.
func (fs *FS) super() ([]byte, error) {
	b, err := fs.block(superblockOffset / uint64(fs.sb.blockSize))
	if err != nil {
		return nil, err
	}
	off := superblockOffset % fs.sb.blockSize
	return b.data[off : off+superblockSize], nil
}

// editSuper returns the superblock's bytes for changing.
func (fs *FS) editSuper() ([]byte, error) {
	b, err := fs.block(superblockOffset / uint64(fs.sb.blockSize))
	if err != nil {
		return nil, err
	}
	fs.tx.super = true
	off := superblockOffset % fs.sb.blockSize
	return fs.edit(b)[off : off+superblockSize], nil
}

// enable sets a feature in the superblock's word of compatible features
// (sbCompat), or of read-only compatible ones (sbROCompat), if it is not set.
// Revision 0 has none: it becomes revision 1, as the kernel has it.
func (fs *FS) enable(word int, bit uint32) error {
	sb := *fs.sb
	set := &sb.compat
	if word == sbROCompat {
		set = &sb.roCompat
	}
	if *set&bit != 0 {
		return nil
	}
	d, err := fs.editSuper()
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	if sb.revision == 0 {
		le.PutUint32(d[sbRevision:], 1)
		le.PutUint32(d[sbFirstIno:], goodOldFirstIno)
		le.PutUint16(d[sbInodeSize:], goodOldInodeSize)
		clear(d[sbCompat : sbROCompat+4])
	}
	sb.revision = 1
	*set |= bit
	le.PutUint32(d[word:], *set)
	fs.reshape(&sb)
	return nil
}
