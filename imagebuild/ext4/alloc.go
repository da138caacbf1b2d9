package ext4

import (
	"encoding/binary"
	"fmt"
)

// freshRun is the stretch of free blocks (1 MiB of 4 KiB blocks) that is looked
// for when the first block of a session is allocated near a group, so that what
// one session writes lies together.
const freshRun = 256

// allocator remembers where the last allocation for the inodes of each group
// ended: the next file's blocks go there.
type allocator struct {
	next map[uint32]uint64
}

// allocate takes one stretch of up to want free blocks. With goal not 0 the
// block there is taken if it is free, with what follows it, however short.
// Otherwise the blocks go after those that were allocated last for inodes of
// group home, where they fit in one piece; failing that, anywhere.
func (fs *FS) allocate(goal uint64, home uint32, want uint32) (start uint64, n uint32, err error) {
	sb := fs.sb
	if err := fs.need(uint64(want)); err != nil {
		return 0, 0, err
	}
	take := func(at uint64, n uint32) (uint64, uint32, error) {
		if fs.isSystem(at, uint64(n)) {
			return 0, 0, corrupt("block bitmap", 0, at, "structures of the file system are marked free")
		}
		if _, changed := fs.tx.next[home]; !changed {
			fs.tx.next[home] = fs.alloc.next[home]
		}
		fs.alloc.next[home] = at + uint64(n)
		return at, n, fs.mark(at, uint64(n), true)
	}
	most := min(want, maxExtent)
	if goal > uint64(sb.firstData) && goal < sb.blocks {
		num, first := fs.groupOf(goal)
		at, n, ok, err := fs.searchGroup(num, first, first+1, 1, most)
		if err != nil {
			return 0, 0, err
		}
		if ok && at == goal {
			return take(at, n)
		}
	}
	next, ok := fs.alloc.next[home]
	if !ok || next >= sb.blocks {
		next = sb.groupStart(home)
		if at, _, ok, err := fs.search(next, max(freshRun, most), max(freshRun, most)); err != nil {
			return 0, 0, err
		} else if ok {
			next = at
		}
	}
	for _, least := range []uint32{most, (most + 1) / 2, (most + 7) / 8, 1} {
		at, n, ok, err := fs.search(next, least, most)
		if err != nil {
			return 0, 0, err
		}
		if ok {
			return take(at, n)
		}
	}
	return 0, 0, corrupt("block bitmap", 0, 0, "the superblock counts free blocks, but there are none")
}

// groupOf says which group a block is in, and its number in that group.
func (fs *FS) groupOf(blk uint64) (num, first uint32) {
	num = uint32((blk - uint64(fs.sb.firstData)) / uint64(fs.sb.blocksPerGroup))
	return num, uint32(blk - fs.sb.groupStart(num))
}

// search looks for least free blocks in a row, from block from on through all groups and back to it.
func (fs *FS) search(from uint64, least, most uint32) (at uint64, n uint32, ok bool, err error) {
	num, first := fs.groupOf(from)
	for i := range fs.sb.groups + 1 {
		g := (num + i) % fs.sb.groups
		if i > 0 {
			first = 0
		}
		if at, n, ok, err = fs.searchGroup(g, first, fs.sb.groupBlocks(g), least, most); ok || err != nil {
			return at, n, ok, err
		}
	}
	return 0, 0, false, nil
}

// searchGroup looks for a stretch that begins in [first, to) of group num.
func (fs *FS) searchGroup(num, first, to, least, most uint32) (at uint64, n uint32, ok bool, err error) {
	g, err := fs.group(num)
	if err != nil || g.freeBlocks() < least {
		return 0, 0, false, err
	}
	bits, err := g.blockBits()
	if err != nil {
		return 0, 0, false, err
	}
	i, n, ok := freeRun(bits, first, fs.sb.groupBlocks(num), least, most)
	if !ok || i >= to {
		return 0, 0, false, nil
	}
	return fs.sb.groupStart(num) + uint64(i), n, true, nil
}

// home is the group in which the inode's blocks are best placed.
func (in *inode) home() uint32 { return (in.ino - 1) / in.fs.sb.inodesPerGroup }

// newInode takes the first free inode from group home on, and returns it zeroed
// but for what every new inode has.
func (fs *FS) newInode(home uint32, mode uint16) (*inode, error) {
	sb := fs.sb
	for i := range sb.groups {
		g, err := fs.group((home + i) % sb.groups)
		if err != nil {
			return nil, err
		}
		if g.freeInodes() == 0 {
			continue
		}
		bits, err := g.inodeBits()
		if err != nil {
			return nil, err
		}
		from := uint32(0)
		if g.num == 0 {
			from = sb.firstIno - 1
		}
		idx, _, ok := freeRun(bits, from, sb.inodesPerGroup, 1, 1)
		if !ok {
			continue
		}
		if err := g.takeInode(idx, mode&modeType == modeDir); err != nil {
			return nil, err
		}
		return fs.initInode(g.num*sb.inodesPerGroup+idx+1, mode)
	}
	d, err := fs.super()
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: 1 is needed, %d of %d are free", ErrNoInodes, binary.LittleEndian.Uint32(d[sbFreeInodes:]), sb.inodes)
}

// takeInode marks inode idx of the group in use.
func (g group) takeInode(idx uint32, dir bool) error {
	fs := g.fs
	bits, err := g.editInodeBits()
	if err != nil {
		return err
	}
	setBits(bits, idx, 1, true)
	if g.flags()&groupBlockUninit != 0 {
		// The kernel does so too: a group whose inodes are in use has a block bitmap.
		if _, err := g.editBlockBits(); err != nil {
			return err
		}
	}
	g.set(gdFreeInodesLo, gdFreeInodesHi, g.freeInodes()-1)
	if dir {
		g.set(gdUsedDirsLo, gdUsedDirsHi, g.usedDirs()+1)
	}
	if err := g.extendTable(idx); err != nil {
		return err
	}
	return fs.countInodes(-1)
}

// extendTable makes inode idx part of the used head of the inode table. What
// lies between was never written and may hold anything.
func (g group) extendTable(idx uint32) error {
	fs := g.fs
	if !fs.sb.groupCsum() {
		return nil
	}
	per := fs.sb.inodesPerGroup
	used := per - min(per, g.unused())
	if idx < used {
		return nil
	}
	g.set(gdUnusedLo, gdUnusedHi, per-idx-1)
	if g.flags()&groupInodeZeroed != 0 {
		return nil
	}
	for i := used; i <= idx; i++ {
		b, off, err := fs.locate(g.num*per + i + 1)
		if err != nil {
			return err
		}
		clear(fs.edit(b)[off : off+fs.sb.inodeSize])
	}
	return nil
}

func (fs *FS) countInodes(n int32) error {
	d, err := fs.editSuper()
	if err != nil {
		return err
	}
	free := binary.LittleEndian.Uint32(d[sbFreeInodes:])
	if n < 0 && free == 0 {
		return corrupt("superblock", 0, 0, "more free inodes than it counts")
	}
	binary.LittleEndian.PutUint32(d[sbFreeInodes:], free+uint32(n))
	return nil
}

// initInode makes a new inode: no owner but root, no links yet, all times Options.Time.
func (fs *FS) initInode(ino uint32, mode uint16) (*inode, error) {
	in := &inode{fs: fs, ino: ino, raw: make([]byte, fs.sb.inodeSize)}
	if extra := fs.sb.wantExtra(); extra > 0 {
		in.put16(iExtraIsize, uint16(extra))
	}
	in.put16(iMode, mode)
	// Generations tell files apart that had the same inode, one after the other.
	gen := crc32cU32(crc32cU32(fs.sb.csumSeed, ino), uint32(fs.time.Unix()))
	in.put32(iGeneration, gen)
	in.setAtime(fs.time)
	in.setMtime(fs.time)
	in.setCtime(fs.time)
	in.setCrtime(fs.time)
	switch mode & modeType {
	case modeRegular, modeDir, modeSymlink:
		in.m = newBlockMap(fs.sb, fs.sb.hasIncompat(incompatExtents))
		if in.m.extents {
			in.put32(iFlags, flagExtents)
		}
	}
	fs.tx.inodes[ino] = in
	return in, nil
}

// freeInode marks the inode free and clears it.
func (in *inode) freeInode() error {
	fs := in.fs
	if in.ino == rootIno {
		return corrupt("inode", in.ino, 0, "the root has a name in a directory")
	}
	if err := in.checkOrdinary(); err != nil {
		return err
	}
	g, err := fs.group(in.home())
	if err != nil {
		return err
	}
	bits, err := g.editInodeBits()
	if err != nil {
		return err
	}
	idx := (in.ino - 1) % fs.sb.inodesPerGroup
	if !bit(bits, idx) {
		return corrupt("inode bitmap", in.ino, g.inodeBitmap(), "the inode is already marked free")
	}
	setBits(bits, idx, 1, false)
	g.set(gdFreeInodesLo, gdFreeInodesHi, g.freeInodes()+1)
	if in.isDir() {
		if g.usedDirs() == 0 {
			return corrupt("group descriptors", 0, g.buf.blk, "group %d has more directories than it counts", g.num)
		}
		g.set(gdUsedDirsLo, gdUsedDirsHi, g.usedDirs()-1)
	}
	b, off, err := fs.locate(in.ino)
	if err != nil {
		return err
	}
	clear(fs.edit(b)[off : off+fs.sb.inodeSize])
	delete(fs.tx.inodes, in.ino)
	delete(fs.kept, in.ino)
	if fs.open[in.ino] == in {
		fs.tx.removed = append(fs.tx.removed, in)
	}
	return fs.countInodes(1)
}
