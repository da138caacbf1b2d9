package ext4

import "encoding/binary"

// checkBitmaps compares each group's bitmaps with what is in use, and its
// counters and the superblock's with that.
func (c *checker) checkBitmaps() error {
	sb := c.sb
	var freeBlocks, freeInodes uint64
	for n := range sb.groups {
		g, err := c.group(n)
		if err != nil {
			return err
		}
		blocks, err := c.checkBlockBitmap(g)
		if err != nil {
			return err
		}
		inodes, err := c.checkInodeBitmap(g)
		if err != nil {
			return err
		}
		where := Finding{Group: int(n), Block: g.buf.blk}
		if have := g.freeBlocks(); have != blocks {
			where.Code = CodeFreeBlocks
			c.find(where, "it counts %d free blocks, there are %d", have, blocks)
		}
		if have := g.freeInodes(); have != inodes {
			where.Code = CodeFreeInodes
			c.find(where, "it counts %d free inodes, there are %d", have, inodes)
		}
		dirs := make([]byte, sb.inodesPerGroup/8)
		c.dirs.bytes(uint64(n)*uint64(sb.inodesPerGroup), dirs)
		if have, want := g.usedDirs(), countBits(dirs); have != want {
			where.Code = CodeUsedDirs
			c.find(where, "it counts %d directories, there are %d", have, want)
		}
		freeBlocks, freeInodes = freeBlocks+uint64(blocks), freeInodes+uint64(inodes)
	}
	if have := c.fs.freeBlocks(c.super); have != freeBlocks {
		c.global(CodeFreeBlocks, "the superblock counts %d free blocks, there are %d", have, freeBlocks)
	}
	if have := binary.LittleEndian.Uint32(c.super[sbFreeInodes:]); uint64(have) != freeInodes {
		c.global(CodeFreeInodes, "the superblock counts %d free inodes, there are %d", have, freeInodes)
	}
	c.report.Blocks, c.report.Inodes = sb.blocks-uint64(sb.firstData)-freeBlocks, uint64(sb.inodes)-freeInodes
	return nil
}

// bitmap is one bitmap of a group, as its descriptor tells of it.
type bitmap struct {
	code   Code
	name   string
	at     uint64
	size   uint32 // bytes that mean something
	lo, hi int    // where the descriptor has its checksum
}

// checkBlockBitmap returns how many blocks of the group nothing refers to.
func (c *checker) checkBlockBitmap(g group) (free uint32, err error) {
	sb := c.sb
	b := bitmap{CodeBlockBitmap, "block", g.blockBitmap(), sb.blocksPerGroup / 8, gdBlockBitmapCsum, gdBlockCsumHi}
	want := make([]byte, b.size)
	c.found.bytes(uint64(g.num)*uint64(sb.blocksPerGroup), want)
	n := sb.groupBlocks(g.num)
	free = n - countBits(want)
	setBits(want, n, sb.blocksPerGroup-n, true) // what there is no room for is not free
	var have []byte
	if g.flags()&groupBlockUninit != 0 {
		have = g.initialBlockBits()
	} else if have, err = c.readBitmap(g, b); err != nil || have == nil {
		return free, err
	}
	c.compareBitmaps(g, b, have[:b.size], want, sb.groupStart(g.num))
	return free, nil
}

// checkInodeBitmap returns how many inodes of the group are not in use.
func (c *checker) checkInodeBitmap(g group) (free uint32, err error) {
	sb := c.sb
	b := bitmap{CodeInodeBitmap, "inode", g.inodeBitmap(), sb.inodesPerGroup / 8, gdInodeBitmapCsum, gdInodeCsumHi}
	want := make([]byte, b.size)
	c.used.bytes(uint64(g.num)*uint64(sb.inodesPerGroup), want)
	free = sb.inodesPerGroup - countBits(want)
	have := make([]byte, b.size)
	if g.flags()&groupInodeUninit == 0 {
		if have, err = c.readBitmap(g, b); err != nil || have == nil {
			return free, err
		}
	}
	c.compareBitmaps(g, b, have[:b.size], want, uint64(g.num)*uint64(sb.inodesPerGroup)+1)
	return free, nil
}

// readBitmap reads a bitmap and checks its checksum, and the bits past its
// end. A bitmap that lies nowhere, which was found before, is nil.
func (c *checker) readBitmap(g group, b bitmap) ([]byte, error) {
	if !c.inside(b.at, 1) {
		return nil, nil
	}
	p := make([]byte, c.sb.blockSize)
	if err := c.read(b.at, p); err != nil {
		return nil, err
	}
	where := Finding{Code: CodeBitmapSum, Group: int(g.num), Block: b.at}
	if c.sb.metadataCsum() {
		want := crc32c(c.sb.csumSeed, p[:b.size])
		if c.sb.descSize < 64 {
			want &= 0xFFFF
		}
		if got := g.u16(b.lo, b.hi); got != want {
			c.find(where, "that of the %s bitmap is %#08x, should be %#08x", b.name, got, want)
		}
	}
	for _, x := range p[b.size:] {
		if x != 0xFF {
			where.Code = b.code
			c.find(where, "bits past its end are clear")
			break
		}
	}
	return p, nil
}

// compareBitmaps finds the stretches in which a bitmap is not what it should
// be. Bit 0 stands for number first.
func (c *checker) compareBitmaps(g group, b bitmap, have, want []byte, first uint64) {
	n := uint32(len(have)) * 8
	for i := uint32(0); i < n; {
		if i%8 == 0 && have[i/8] == want[i/8] {
			i += 8
			continue
		}
		used := bit(want, i)
		if bit(have, i) == used {
			i++
			continue
		}
		from := i
		for i < n && bit(have, i) != used && bit(want, i) == used {
			i++
		}
		state := "free, but marked as in use"
		if used {
			state = "in use, but marked as free"
		}
		c.find(Finding{Code: b.code, Group: int(g.num), Block: b.at}, "%ss %d to %d are %s",
			b.name, first+uint64(from), first+uint64(i)-1, state)
	}
}
