package ext4

import "encoding/binary"

// checkContent checks where an inode's blocks are, and what it says of their
// number and of its size. attrBlocks are charged to it for attributes already.
func (c *checker) checkContent(in *inode, attrBlocks uint64) error {
	shared, err := c.checkXattrBlock(in)
	if err != nil {
		return err
	}
	w := c.newWalk(in, c.trees)
	w.claim = c.claim
	var dir *dirInfo
	if k := len(c.dirList) - 1; k >= 0 && c.dirList[k].ino == in.ino {
		dir = &c.dirList[k]
		w.data = c.addDirBlocks
	}
	if in.ino == resizeIno { // all but one of its blocks are reserved after the group descriptors
		w.claim = func(phys, n uint64) {
			if w.blocks == 1 {
				c.claim(phys, n)
			}
		}
	}
	if hasBlocks(in) || in.ino == badBlocksIno {
		if err := w.run(); err != nil {
			return err
		}
	}
	if dir != nil {
		dir.blocks = uint32(w.last + 1)
	}
	if dir != nil && w.blocks == 0 && attrBlocks+shared == 0 && !in.has(flagInlineData) {
		c.bad(in, CodeDirectory, "it has no blocks")
		return nil
	}
	if p := c.sizeProblem(in, w); p != "" && !in.isSymlink() {
		c.bad(in, CodeInodeSize, "%d bytes: %s", fullSize(in), p)
	}
	if in.ino != badBlocksIno {
		c.checkBlockCount(in, w.blocks+attrBlocks+shared)
	}
	return nil
}

// checkBlockCount checks i_blocks, of an inode that has n blocks.
func (c *checker) checkBlockCount(in *inode, n uint64) {
	have := uint64(in.u32(iBlocksLo))
	huge := c.sb.hasROCompat(roCompatHugeFile)
	if huge {
		have |= uint64(in.u16(iBlocksHi)) << 32
	}
	unit := "sectors"
	if huge && in.has(flagHugeFile) {
		unit = "blocks"
	} else {
		n *= uint64(c.sb.blockSize / 512)
	}
	if have != n || huge && in.has(flagHugeFile) && in.u16(iBlocksHi) != 0 {
		c.bad(in, CodeInodeBlocks, "it counts %d %s, there are %d", have, unit, n)
	}
}

// fullSize is the size with its upper half, whether that means anything or not.
func fullSize(in *inode) uint64 { return uint64(in.u32(iSizeLo)) | uint64(in.u32(iSizeHi))<<32 }

// hasBlocks says whether i_block leads to blocks. A symbolic link that also
// has a block of attributes must be guessed from its size.
func hasBlocks(in *inode) bool {
	switch in.mode() & modeType {
	case modeRegular, modeDir:
		return !in.has(flagInlineData)
	case modeSymlink:
		if in.has(flagInlineData) {
			return false
		}
		if in.xattrBlock() == 0 {
			return in.u32(iBlocksLo) != 0
		}
		size := in.u32(iSizeLo)
		return size >= iBlockLen || size > 4 && in.u32(iBlock+4) == 0
	}
	return false
}

// sizeProblem compares the size with the blocks that were found.
func (c *checker) sizeProblem(in *inode, w *mapWalk) string {
	sb, size := c.sb, fullSize(in)
	bs := uint64(sb.blockSize)
	if in.has(flagInlineData) {
		n, ok := c.inlineSize(in)
		switch {
		case !ok: // said before
		case in.isDir() && n != size:
			return "it does not fit the inline data"
		case size > n:
			return "it is past the end of the inline data"
		}
		return ""
	}
	if in.isDir() {
		blocks := uint64(w.last + 1)
		switch {
		case size%bs != 0:
			return "a directory that is not made of whole blocks"
		case size/bs > blocks, blocks-size/bs > uint64(c.super[sbPreallocDir]):
			return "the directory's blocks end elsewhere"
		}
		return ""
	}
	extents := sb.hasIncompat(incompatExtents) && in.has(flagExtents)
	switch {
	case w.lastInit >= 0 && size < uint64(w.lastInit)*bs && !in.has(flagVerity):
		return "there are blocks with content past it"
	case !extents && size > sb.maxIndirectSize(), extents && size > bs<<32-1:
		return "its map cannot reach that far"
	}
	return ""
}

// maxIndirectSize is how large a file without extents can be: by the reach of
// its pointers, and by the count of its blocks, those of pointers included.
func (sb *superblock) maxIndirectSize() uint64 {
	bs := uint64(sb.blockSize)
	return min((sb.indirectStart(14)+sb.indirectSpan(3))*bs, 1<<32*bs)
}

// addDirBlocks notes where blocks of a directory are. One that is a block of a
// directory already is not read twice.
func (c *checker) addDirBlocks(r run) {
	if c.overclaimed {
		return
	}
	for i := range r.count {
		if !c.dirSeen.add(r.phys + uint64(i)) {
			c.dirBlocks = append(c.dirBlocks, dirBlock{r.logical + i, r.phys + uint64(i)})
		}
	}
}

// maxClaims is how often blocks are claimed, as a multiple of how many there
// are, before the rest is left out: a map of a few bytes can claim a thousand.
const maxClaims = 8

// claim notes that blocks belong to something, and those that belong to
// something else too.
func (c *checker) claim(phys, n uint64) {
	if c.claims += n; c.claims > maxClaims*(c.sb.blocks+1<<16) {
		if c.claims -= n; !c.overclaimed {
			c.overclaimed = true
			c.global(CodeClaimed, "blocks are claimed %d times as often as there are any: the others are not followed", maxClaims)
		}
		return
	}
	c.found.addRun(phys-uint64(c.sb.firstData), n, func(i, n uint64) { c.twice.addRun(i, n, func(uint64, uint64) {}) })
}

// checkClaims walks all maps once more if blocks are in two places, to say in which.
func (c *checker) checkClaims() error {
	if len(c.twice) == 0 {
		return nil
	}
	c.trees, c.claims = bitset{}, 0
	return c.eachInode(func(in *inode) error {
		if c.report.Omitted > 0 || !c.used.has(uint64(in.ino-1)) || in.ino == resizeIno {
			return nil
		}
		shared, err := c.sharedBlocks(in)
		for _, r := range shared {
			c.find(Finding{Code: CodeClaimed, Inode: in.ino, Block: r.from, Group: -1},
				"%d blocks from there on belong to something else too", r.to-r.from)
		}
		return err
	})
}

// sharedBlocks are blocks of an inode that something else has too: the first
// so many stretches of them, in the order of its map.
func (c *checker) sharedBlocks(in *inode) (shared []blockRange, err error) {
	first := uint64(c.sb.firstData)
	w := c.newWalk(in, c.trees)
	w.claim = func(phys, n uint64) {
		if c.claims += n; c.claims > maxClaims*(c.sb.blocks+1<<16) || len(shared) > c.limit {
			return
		}
		c.twice.runs(phys-first, n, func(i, n uint64) {
			if k := len(shared) - 1; k >= 0 && shared[k].to == first+i {
				shared[k].to += n
			} else {
				shared = append(shared, blockRange{first + i, first + i + n})
			}
		})
	}
	if blk := in.xattrBlock(); c.inside(blk, 1) {
		w.claim(blk, 1)
	}
	if hasBlocks(in) || in.ino == badBlocksIno {
		c.quiet = true
		err = w.run()
		c.quiet = false
	}
	return shared, err
}

// inlineSize is how many bytes are stored in the inode: in i_block, and in
// the attribute system.data. ok is false if that is missing or damaged.
func (c *checker) inlineSize(in *inode) (n uint64, ok bool) {
	list, err := in.inlineXattrs()
	if err != nil {
		return 0, false
	}
	for _, x := range list {
		if x.index == xattrIndexSystem && x.name == "data" && x.inode == 0 {
			return iBlockLen + uint64(len(x.value)), true
		}
	}
	return 0, false
}

// checkExtra checks the extra part of an inode, and what attributes lie after
// it. It returns how many blocks their values in other inodes are charged for.
func (c *checker) checkExtra(in *inode) (charged uint64, err error) {
	if in.has(flagInlineData) && c.sb.hasIncompat(incompatInlineData) {
		if _, ok := c.inlineSize(in); !ok {
			c.bad(in, CodeInlineData, "the attribute system.data is missing or damaged")
		}
	}
	if len(in.raw) == goodOldInodeSize {
		return 0, nil
	}
	room := len(in.raw) - goodOldInodeSize
	if n := in.extraIsize(); n != 0 && (n < 4 || n > room || n%4 != 0) {
		c.bad(in, CodeInode, "extra part of %d bytes, there is room for %d", n, room)
		return 0, nil
	}
	if start := goodOldInodeSize + in.extraIsize(); start < len(in.raw)-4 && binary.LittleEndian.Uint32(in.raw[start:]) == xattrMagic {
		if charged, err = c.checkXattrs(in, in.raw[start:], 0); err != nil {
			return 0, err
		}
	}
	for _, t := range [][2]int{{iAtime, iAtimeExtra}, {iCtime, iCtimeExtra}, {iCrtime, iCrtimeExt}, {iMtime, iMtimeExtra}} {
		if in.u32(t[0])&(1<<31) != 0 && in.u32(t[1])&3 == 3 {
			c.bad(in, CodeInode, "a time past the year 2310, as a time before 1970 was once written")
			break
		}
	}
	return charged, nil
}
