package ext4

import (
	"encoding/binary"
	"fmt"
)

func bit(p []byte, i uint32) bool { return p[i/8]&(1<<(i%8)) != 0 }

// setBits sets or clears n bits from i on.
func setBits(p []byte, i, n uint32, on bool) {
	for ; n > 0; i, n = i+1, n-1 {
		if on {
			p[i/8] |= 1 << (i % 8)
		} else {
			p[i/8] &^= 1 << (i % 8)
		}
	}
}

// freeRun finds the first stretch of at least want zero bits in [from, to) and
// returns where it begins and how long it is, at most most.
func freeRun(p []byte, from, to, want, most uint32) (at, n uint32, ok bool) {
	for i := from; i < to; {
		if i%8 == 0 && p[i/8] == 0xFF {
			i += 8
			continue
		}
		if bit(p, i) {
			i++
			continue
		}
		j := i + 1
		for j < to && j-i < most {
			if j%8 == 0 && p[j/8] == 0 && j+8 <= to {
				j += 8
			} else if bit(p, j) {
				break
			} else {
				j++
			}
		}
		if n := min(j-i, most); n >= want {
			return i, n, true
		}
		i = j
	}
	return 0, 0, false
}

// blockBits returns the block bitmap of g for reading. A group whose bitmap was
// never written has one that follows from where its structures are.
func (g group) blockBits() ([]byte, error) {
	if g.flags()&groupBlockUninit != 0 {
		return g.initialBlockBits(), nil
	}
	b, err := g.fs.block(g.blockBitmap())
	if err != nil {
		return nil, err
	}
	return b.data, g.verifyBitmap(b, "block bitmap", g.fs.sb.blocksPerGroup/8, gdBlockBitmapCsum, gdBlockCsumHi)
}

// editBlockBits returns the block bitmap of g for changing.
func (g group) editBlockBits() ([]byte, error) {
	g.fs.tx.blockBitmaps[g.num] = struct{}{}
	if g.flags()&groupBlockUninit == 0 {
		if _, err := g.blockBits(); err != nil {
			return nil, err
		}
		b, err := g.fs.block(g.blockBitmap())
		if err != nil {
			return nil, err
		}
		return g.fs.edit(b), nil
	}
	b, err := g.fs.fresh(g.blockBitmap())
	if err != nil {
		return nil, err
	}
	g.setFlags(g.flags() &^ groupBlockUninit)
	copy(b.data, g.initialBlockBits())
	return b.data, nil
}

// initialBlockBits computes the bitmap of a group in which nothing but the
// file system's own structures is in use.
func (g group) initialBlockBits() []byte {
	return g.fs.sb.groupBits(g.num, g.structures())
}

// groupBits computes the bitmap of group g in which nothing is in use but the
// copies at its beginning and what of used lies in it.
func (sb *superblock) groupBits(g uint32, used []blockRange) []byte {
	p := make([]byte, sb.blockSize)
	start, n := sb.groupStart(g), sb.groupBlocks(g)
	setBits(p, 0, min(sb.groupSuperBlocks(g), n), true)
	for _, r := range used {
		from, to := max(r.from, start), min(r.to, start+uint64(n))
		if from < to {
			setBits(p, uint32(from-start), uint32(to-from), true)
		}
	}
	setBits(p, n, uint32(sb.blockSize)*8-n, true)
	return p
}

func (g group) verifyBitmap(b *buffer, what string, size uint32, lo, hi int) error {
	if b.verified || !g.fs.sb.metadataCsum() {
		return nil
	}
	want := crc32c(g.fs.sb.csumSeed, b.data[:size])
	if g.fs.sb.descSize < 64 {
		want &= 0xFFFF
	}
	if got := g.u16(lo, hi); got != want {
		return corrupt(what, 0, b.blk, "checksum of group %d's is %#08x, should be %#08x", g.num, got, want)
	}
	b.verified = true
	return nil
}

// inodeBits returns the inode bitmap of g for reading.
func (g group) inodeBits() ([]byte, error) {
	if g.flags()&groupInodeUninit != 0 {
		return g.initialInodeBits(), nil
	}
	b, err := g.fs.block(g.inodeBitmap())
	if err != nil {
		return nil, err
	}
	return b.data, g.verifyBitmap(b, "inode bitmap", g.fs.sb.inodesPerGroup/8, gdInodeBitmapCsum, gdInodeCsumHi)
}

func (g group) initialInodeBits() []byte {
	p := make([]byte, g.fs.sb.blockSize)
	n := g.fs.sb.inodesPerGroup
	setBits(p, n, uint32(len(p))*8-n, true)
	return p
}

// editInodeBits returns the inode bitmap of g for changing.
func (g group) editInodeBits() ([]byte, error) {
	g.fs.tx.inodeBitmaps[g.num] = struct{}{}
	if g.flags()&groupInodeUninit == 0 {
		if _, err := g.inodeBits(); err != nil {
			return nil, err
		}
		b, err := g.fs.block(g.inodeBitmap())
		if err != nil {
			return nil, err
		}
		return g.fs.edit(b), nil
	}
	b, err := g.fs.fresh(g.inodeBitmap())
	if err != nil {
		return nil, err
	}
	g.setFlags(g.flags() &^ groupInodeUninit)
	g.set(gdUnusedLo, gdUnusedHi, g.fs.sb.inodesPerGroup)
	copy(b.data, g.initialInodeBits())
	return b.data, nil
}

// mark sets blocks in use, or frees them, with all counters. Every block must
// have been in the other state.
func (fs *FS) mark(start, n uint64, used bool) error {
	sb := fs.sb
	if start <= uint64(sb.firstData) || start >= sb.blocks || n > sb.blocks-start {
		return corrupt("file system", 0, start, "%d blocks reach out of it", n)
	}
	for n > 0 {
		num := uint32((start - uint64(sb.firstData)) / uint64(sb.blocksPerGroup))
		first := uint32(start - sb.groupStart(num))
		count := uint32(min(n, uint64(sb.groupBlocks(num)-first)))
		g, err := fs.group(num)
		if err != nil {
			return err
		}
		bits, err := g.editBlockBits()
		if err != nil {
			return err
		}
		for i := range count {
			if bit(bits, first+i) == used {
				state := "free"
				if used {
					state = "in use"
				}
				return corrupt("block bitmap", 0, start+uint64(i), "the block is already marked %s", state)
			}
		}
		setBits(bits, first, count, used)
		free := g.freeBlocks()
		if used {
			if free < count {
				return corrupt("group descriptors", 0, g.buf.blk, "group %d has more free blocks than it counts", num)
			}
			free -= count
		} else {
			free += count
			for i := range uint64(count) {
				if _, ok := fs.cache[start+i]; ok {
					fs.tx.freed[start+i] = struct{}{}
				}
			}
		}
		g.set(gdFreeBlocksLo, gdFreeBlocksHi, free)
		if err := fs.countBlocks(uint64(count), used); err != nil {
			return err
		}
		start, n = start+uint64(count), n-uint64(count)
	}
	return nil
}

// countBlocks takes n off the superblock's count of free blocks, or adds them.
func (fs *FS) countBlocks(n uint64, used bool) error {
	d, err := fs.editSuper()
	if err != nil {
		return err
	}
	free := fs.freeBlocks(d)
	if used {
		if free < n {
			return corrupt("superblock", 0, 0, "more free blocks than it counts")
		}
		free -= n
	} else {
		free += n
	}
	fs.setFreeBlocks(d, free)
	return nil
}

// setFreeBlocks is the opposite of freeBlocks, for superblock d.
func (fs *FS) setFreeBlocks(d []byte, free uint64) {
	binary.LittleEndian.PutUint32(d[sbFreeBlocksLo:], uint32(free))
	if fs.sb.hasIncompat(incompat64Bit) {
		binary.LittleEndian.PutUint32(d[sbFreeBlocksHi:], uint32(free>>32))
	}
}

// need fails if fewer than n blocks are free beside the reserved ones.
func (fs *FS) need(n uint64) error {
	d, err := fs.super()
	if err != nil {
		return err
	}
	if free := fs.freeBlocks(d); free < fs.sb.reserved || free-fs.sb.reserved < n {
		return fmt.Errorf("%w: %d blocks of %d bytes are needed, %d are free, %d of them reserved for root",
			ErrNoSpace, n, fs.sb.blockSize, free, min(free, fs.sb.reserved))
	}
	return nil
}
