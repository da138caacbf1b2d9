package ext4

import "encoding/binary"

// checkGroups goes through the group descriptors, and claims the blocks of the
// file system's own structures.
func (c *checker) checkGroups() error {
	sb := c.sb
	for n := range sb.groups {
		if at := uint64(sb.groupSuperBlocks(n)); at > 0 {
			c.claimSystem(n, "the superblock's copy", sb.groupStart(n), min(at, uint64(sb.groupBlocks(n))))
		}
	}
	for n := range sb.groups {
		g, err := c.group(n)
		if err != nil {
			return err
		}
		c.checkDescriptor(g)
	}
	return c.checkMMP()
}

// checkMMP checks the block by which hosts that share a disk keep each other
// from mounting it: its magic number, and that it is free.
func (c *checker) checkMMP() error {
	sb, le := c.sb, binary.LittleEndian
	if !sb.hasIncompat(incompatMMP) {
		return nil
	}
	blk := le.Uint64(c.super[sbMMPBlock:])
	where := Finding{Code: CodeMMP, Block: blk, Group: -1}
	if !c.inside(blk, 1) {
		c.find(where, "it is outside of the file system")
		return nil
	}
	c.claimSystem(uint32((blk-uint64(sb.firstData))/uint64(sb.blocksPerGroup)), "the block against mounting twice", blk, 1)
	p := make([]byte, sb.blockSize)
	if err := c.read(blk, p); err != nil {
		return err
	}
	if magic, seq := le.Uint32(p), le.Uint32(p[4:]); magic != mmpMagic || seq != mmpClean {
		c.find(where, "magic number is %#08x and state %#08x, should be %#08x and %#08x", magic, seq, mmpMagic, uint32(mmpClean))
	}
	if got, want := le.Uint32(p[mmpChecksum:]), crc32c(c.sb.csumSeed, p[:mmpChecksum]); sb.metadataCsum() && got != want {
		c.find(where, "checksum is %#08x, should be %#08x", got, want)
	}
	return nil
}

// The block against mounting twice.
const (
	mmpMagic    = 0x004D4D50
	mmpClean    = 0xFF4D4D50
	mmpChecksum = 0x3FC
)

// group returns the descriptor of group n, which it reads block by block.
func (c *checker) group(n uint32) (group, error) {
	per := c.sb.descsPerBlock()
	if blk := c.sb.descBlock(n / per); c.desc == nil || c.desc.blk != blk {
		c.desc = &buffer{blk: blk, data: make([]byte, c.sb.blockSize)}
		if err := c.read(blk, c.desc.data); err != nil {
			return group{}, err
		}
	}
	return group{c.fs, n, c.desc, int(n%per) * c.sb.descSize}, nil
}

// checkDescriptor checks what the descriptor of a group says by itself. Its
// counters are compared with the bitmaps later.
func (c *checker) checkDescriptor(g group) {
	sb := c.sb
	bad := func(code Code, format string, args ...any) {
		c.find(Finding{Code: code, Group: int(g.num), Block: g.buf.blk}, format, args...)
	}
	first, last := uint64(sb.firstData), sb.blocks-1
	if !sb.hasIncompat(incompatFlexBG) {
		first = sb.groupStart(g.num)
		last = first + uint64(sb.groupBlocks(g.num)) - 1
	}
	for _, s := range []struct {
		what  string
		at, n uint64
	}{
		{"the inode table", g.inodeTable(), uint64(sb.inodeTableBlocks())},
		{"the block bitmap", g.blockBitmap(), 1},
		{"the inode bitmap", g.inodeBitmap(), 1},
	} {
		if s.at == 0 || s.at < first || s.at > last || s.n-1 > last-s.at {
			bad(CodeGroup, "%s is at block %d, should be in %d to %d", s.what, s.at, first, last)
		}
		if c.inside(s.at, s.n) {
			c.claimSystem(g.num, s.what, s.at, s.n)
		}
	}
	flags := binary.LittleEndian.Uint16(g.raw()[gdFlags:])
	if !sb.groupCsum() {
		if flags&(groupInodeUninit|groupBlockUninit) != 0 || g.unused() != 0 {
			bad(CodeGroup, "flags are %#x and %d inodes were never used, which needs checksums of descriptors", flags, g.unused())
		}
		return
	}
	if got, want := binary.LittleEndian.Uint16(g.raw()[gdChecksum:]), sb.descChecksum(g.num, g.raw()); got != want {
		bad(CodeGroupChecksum, "it is %#04x, should be %#04x", got, want)
	}
	if g.num == sb.groups-1 && flags&groupBlockUninit != 0 {
		bad(CodeGroup, "the block bitmap of the last group is said never to have been written")
	}
	if n := g.unused(); n > g.freeInodes() || n > sb.inodesPerGroup {
		bad(CodeGroup, "%d inodes were never used, but only %d are free", n, g.freeInodes())
	}
}

// inside says whether the n blocks from blk on are part of the file system.
func (c *checker) inside(blk, n uint64) bool {
	return blk != 0 && blk >= uint64(c.sb.firstData) && blk < c.sb.blocks && n <= c.sb.blocks-blk
}

// claimSystem claims blocks for a structure of a group.
func (c *checker) claimSystem(g uint32, what string, blk, n uint64) {
	first := uint64(c.sb.firstData)
	c.found.addRun(blk-first, n, func(i, n uint64) {
		c.find(Finding{Code: CodeGroup, Group: int(g), Block: first + i}, "%d blocks of %s belong to another structure too", n, what)
	})
}
