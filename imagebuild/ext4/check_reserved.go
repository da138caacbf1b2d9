package ext4

import "encoding/binary"

// Inodes that are no files.
const (
	badBlocksIno  = 1
	userQuotaIno  = 3
	groupQuotaIno = 4
	bootIno       = 5
	resizeIno     = 7
	journalIno    = 8
)

// isQuotaInode says whether the inode is kept for quotas, in use or not.
func (c *checker) isQuotaInode(ino uint32) bool {
	return ino == userQuotaIno || ino == groupQuotaIno || ino == binary.LittleEndian.Uint32(c.super[sbProjectQuota:])
}

// checkReservedInode checks an inode that the superblock knows. done is true
// if it is no file at all, and false for the root, or a journal that is one.
func (c *checker) checkReservedInode(in *inode) (done bool, err error) {
	sb, ino := c.sb, in.ino
	if ino == rootIno {
		if !in.isDir() {
			c.bad(in, CodeInode, "the root is no directory")
		}
		return false, nil
	}
	hidden := ino < sb.firstIno || c.isQuotaInode(ino) || ino == sb.orphanFileIno
	if !hidden {
		return false, nil
	}
	c.used.add(uint64(ino - 1))
	mode := in.mode() & modeType
	inUse := ino == journalIno && ino == sb.journalIno || ino == sb.orphanFileIno && sb.hasCompat(compatOrphanFile) ||
		c.isQuotaInode(ino) && sb.hasROCompat(roCompatQuota) && c.holdsQuota(ino)
	switch {
	case inUse:
		if mode != modeRegular {
			c.bad(in, CodeReservedInode, "mode %#o, should be a regular file's", in.mode())
		}
	case ino == badBlocksIno:
		if in.mode() != 0 || in.uid() != 0 || in.gid() != 0 || in.links() != 0 || in.has(flagInlineData) || in.xattrBlock() != 0 {
			c.bad(in, CodeReservedInode, "the list of bad blocks has what only files have")
		}
	case ino == journalIno || ino == sb.orphanFileIno || c.isQuotaInode(ino):
		if in.links() != 0 || in.u32(iBlocksLo) != 0 || in.u32(iBlock) != 0 {
			c.bad(in, CodeReservedInode, "it is not used, but not clear")
		}
		return true, nil
	case ino == bootIno && mode == modeDir,
		ino == resizeIno && in.mode() != 0 && mode != modeRegular,
		ino != bootIno && ino != resizeIno && in.mode() != 0:
		c.bad(in, CodeReservedInode, "mode %#o", in.mode())
	}
	return true, c.checkContent(in, 0)
}

// holdsQuota says whether the superblock gives the inode for quotas.
func (c *checker) holdsQuota(ino uint32) bool {
	for _, off := range []int{sbUserQuota, sbGroupQuota, sbProjectQuota} {
		if binary.LittleEndian.Uint32(c.super[off:]) == ino {
			return true
		}
	}
	return false
}

// checkResizeInode checks what is reserved for growing: a double indirect
// block, whose pointers lead to the reserved blocks of group 0, which are
// blocks of pointers to those of the other groups with copies.
func (c *checker) checkResizeInode() error {
	sb := c.sb
	in, err := c.inode(resizeIno)
	if err != nil || in == nil {
		return err
	}
	has := sb.hasCompat(compatResizeInode)
	for i := range 15 {
		if in.u32(iBlock+4*i) != 0 && (!has || i != 13) {
			c.bad(in, CodeResizeInode, "pointer %d is not zero", i)
			return nil
		}
	}
	if !has {
		return nil
	}
	double := uint64(in.u32(iDoubleIndirect))
	if !c.inside(double, 1) || in.links() == 0 || in.mode()&modeType != modeRegular {
		c.bad(in, CodeResizeInode, "its block is %d, with %d links and mode %#o", double, in.links(), in.mode())
		return nil
	}
	top, below := make([]byte, sb.blockSize), make([]byte, sb.blockSize)
	if err := c.read(double, top); err != nil {
		return err
	}
	var copies []uint32 // groups with copies, as far as a block has pointers to them
	for g := uint32(1); g < sb.groups && len(copies) < sb.blockSize/4; g++ {
		if sb.hasSuper(g) {
			copies = append(copies, g)
		}
	}
	le := binary.LittleEndian
	slot := sb.descBlocks()
	blk := uint64(sb.firstData) + 1 + uint64(slot)
	for i := range sb.reservedGDT {
		at := 4 * ((slot + i) % uint32(sb.blockSize/4))
		if got := uint64(le.Uint32(top[at:])); got != blk || !c.inside(blk, 1) {
			c.find(Finding{Code: CodeResizeInode, Inode: resizeIno, Block: double, Group: -1}, "entry %d leads to block %d, should be %d", at/4, got, blk)
			return nil
		}
		if err := c.read(blk, below); err != nil {
			return err
		}
		for k, g := range copies {
			want := blk + uint64(g)*uint64(sb.blocksPerGroup)
			if got := uint64(le.Uint32(below[4*k:])); got != want {
				c.find(Finding{Code: CodeResizeInode, Inode: resizeIno, Block: blk, Group: int(g)}, "entry %d leads to block %d, should be %d", k, got, want)
				return nil
			}
		}
		blk++
	}
	return nil
}
