package ext4

import (
	"bytes"
	"encoding/binary"
)

// What is remembered of every inode in use, a byte each: the type that
// directory entries give for it (even where they do not), and these.
const (
	kindType    = 0x07
	kindBad     = 0x08 // its mode is no file's
	kindIndexed = 0x10 // a directory with a hash index
	kindHolder  = 0x20 // it holds an extended attribute
)

// readInodes is how many bytes of an inode table are read at once.
const readInodes = 256 << 10

// checkInodes reads the inode tables, and checks each inode and its map.
func (c *checker) checkInodes() error {
	return c.eachInode(c.checkInode)
}

// eachInode calls fn with every inode that was ever used. It is only valid until fn returns.
func (c *checker) eachInode(fn func(in *inode) error) error {
	sb := c.sb
	buf := make([]byte, max(readInodes, sb.blockSize))
	for n := range sb.groups {
		g, err := c.group(n)
		if err != nil {
			return err
		}
		table, count := g.inodeTable(), c.usedInodes(g)
		if !c.inside(table, uint64(sb.inodeTableBlocks())) {
			continue
		}
		for i := uint32(0); i < count; {
			part := buf[:min(len(buf), int(count-i)*sb.inodeSize)]
			if err := c.fs.readStorage(part, int64(table)*int64(sb.blockSize)+int64(i)*int64(sb.inodeSize)); err != nil {
				return err
			}
			for ; len(part) > 0; part = part[sb.inodeSize:] {
				in := &inode{fs: c.fs, ino: n*sb.inodesPerGroup + i + 1, raw: part[:sb.inodeSize]}
				if err := fn(in); err != nil {
					return err
				}
				i++
			}
		}
	}
	return nil
}

// usedInodes is how many inodes of a group, from the first on, were ever used.
func (c *checker) usedInodes(g group) uint32 {
	n := c.sb.inodesPerGroup
	switch {
	case g.flags()&groupInodeUninit != 0:
		return 0
	case c.sb.groupCsum():
		return n - min(n, g.unused())
	}
	return n
}

// inode reads one inode. It is nil if its table lies nowhere, and only valid
// until the next one is read.
func (c *checker) inode(ino uint32) (*inode, error) {
	sb := c.sb
	g, err := c.group((ino - 1) / sb.inodesPerGroup)
	if err != nil {
		return nil, err
	}
	off := uint64((ino-1)%sb.inodesPerGroup) * uint64(sb.inodeSize)
	blk := g.inodeTable() + off/uint64(sb.blockSize)
	if c.table == nil || c.table.blk != blk {
		if !c.inside(blk, 1) {
			return nil, nil
		}
		c.table = &buffer{blk: blk, data: make([]byte, sb.blockSize)}
		if err := c.read(blk, c.table.data); err != nil {
			return nil, err
		}
	}
	off %= uint64(sb.blockSize)
	return &inode{fs: c.fs, ino: ino, raw: c.table.data[off : off+uint64(sb.inodeSize)]}, nil
}

func (c *checker) bad(in *inode, code Code, format string, args ...any) {
	c.find(Finding{Code: code, Inode: in.ino, Group: -1}, format, args...)
}

// checkInode checks one inode, in use or not.
func (c *checker) checkInode(in *inode) error {
	sb := c.sb
	zero := isZero(in.raw)
	if zero && in.ino >= sb.firstIno {
		return nil
	}
	if sb.metadataCsum() {
		if got, want := in.checksum(), sb.inodeChecksum(in.ino, in.raw); got != want && !zero {
			c.bad(in, CodeInodeChecksum, "it is %#08x, should be %#08x", got, want)
		}
	}
	dtime := in.u32(iDtime)
	if dtime != 0 && dtime < sb.inodes && c.plausibleTimes() {
		c.bad(in, CodeDeletedInode, "its time of deletion is %d: it is the number of another inode that waits for being released", dtime)
	}
	if in.ino < sb.firstIno || c.isQuotaInode(in.ino) || in.ino == sb.orphanFileIno || in.ino == sb.journalIno {
		if done, err := c.checkReservedInode(in); done || err != nil {
			return err
		}
	}
	if in.links() == 0 {
		if dtime == 0 && in.mode() != 0 && in.ino >= sb.firstIno {
			c.bad(in, CodeDeletedInode, "it has no links and no time of deletion, but mode %#o", in.mode())
		}
		return nil
	}
	if dtime != 0 {
		c.bad(in, CodeDeletedInode, "it has %d links, and a time of deletion", in.links())
	}
	c.used.add(uint64(in.ino - 1))
	c.links.set(in.ino, in.links())
	return c.checkFile(in)
}

func isZero(p []byte) bool {
	for ; len(p) >= 8; p = p[8:] {
		if binary.LittleEndian.Uint64(p) != 0 {
			return false
		}
	}
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// plausibleTimes says whether times in the file system are larger than inode
// numbers: a clock that stood at 1970 would make all that was deleted suspect.
func (c *checker) plausibleTimes() bool {
	for _, off := range []int{0x30, 0x2C, 0x108} { // last write, last mount, mkfs
		if t := binary.LittleEndian.Uint32(c.super[off:]); t != 0 && t < c.sb.inodes {
			return false
		}
	}
	return true
}

// checkFile checks an inode that is a file of whatever type.
func (c *checker) checkFile(in *inode) error {
	sb := c.sb
	mode := in.mode() & modeType
	kind := direntTypeOf(mode)
	if in.has(flagIndex) && mode == modeDir {
		kind |= kindIndexed
	}
	if in.has(flagEAInode) {
		kind |= kindHolder
	}
	if in.u32(iFaddr) != 0 {
		c.bad(in, CodeInode, "the address of a fragment is %d", in.u32(iFaddr))
	}
	if !sb.hasIncompat(incompat64Bit) && in.u16(iFileACLHi) != 0 {
		c.bad(in, CodeInode, "the block of attributes is past 2^32, without 64bit")
	}
	if !sb.hasROCompat(roCompatHugeFile) && in.u16(iBlocksHi) != 0 {
		c.bad(in, CodeInode, "the count of blocks is past 2^32, without huge_file")
	}
	if in.has(flagImagic) {
		c.bad(in, CodeInode, "it has the flag of AFS")
	}
	c.checkFlags(in)
	attrBlocks, err := c.checkExtra(in)
	if err != nil {
		return err
	}
	if err := c.checkPolicy(in); err != nil {
		return err
	}
	problem, err := c.typeProblem(in)
	if err != nil {
		return err
	}
	if problem != "" {
		code := CodeInode
		if mode == modeSymlink {
			code = CodeSymlink
		}
		c.bad(in, code, "%s", problem)
		kind |= kindBad
	}
	c.kinds.set(in.ino, kind)
	if mode == modeDir {
		c.dirs.add(uint64(in.ino - 1))
		c.dirList = append(c.dirList, dirInfo{ino: in.ino, first: len(c.dirBlocks)})
		c.report.Directories++
	}
	if mode == modeRegular && in.size() >= 1<<31 && !sb.hasROCompat(roCompatLargeFile) {
		c.bad(in, CodeFeatures, "a file of %d bytes needs large_file", in.size())
	}
	return c.checkContent(in, attrBlocks)
}

// direntTypeOf is the type of a directory entry for a mode.
func direntTypeOf(mode uint16) byte {
	sb := superblock{incompat: incompatFiletype}
	return sb.direntType(mode)
}

// checkFlags checks the flags that say how content is stored.
func (c *checker) checkFlags(in *inode) {
	sb := c.sb
	mode := in.mode() & modeType
	if in.has(flagCasefold) && (mode != modeDir || !sb.hasIncompat(incompatCasefold)) {
		c.bad(in, CodeInode, "only a directory of a file system with casefold can ignore the case of names")
	}
	if in.has(flagInlineData) {
		if in.has(flagExtents) {
			c.bad(in, CodeInlineData, "it has extents too")
		}
		if !sb.hasIncompat(incompatInlineData) {
			c.bad(in, CodeInlineData, "the file system has no inline_data")
		}
	}
	extents := sb.hasIncompat(incompatExtents)
	if in.has(flagExtents) && !extents {
		c.bad(in, CodeExtents, "the file system has no extent")
	}
	if extents && !in.has(flagExtents|flagInlineData) && (mode == modeRegular || mode == modeDir) &&
		extentHeader(in.raw[iBlock:iBlock+iBlockLen]) == "" {
		c.bad(in, CodeExtents, "it has one, but not the flag that says so")
	}
	if in.has(flagIndex) {
		if mode != modeDir {
			c.bad(in, CodeDirIndex, "it is no directory")
		} else if !sb.hasCompat(compatDirIndex) {
			c.bad(in, CodeDirIndex, "the file system has no dir_index")
		}
	}
}

// typeProblem says what does not fit the type of a file.
func (c *checker) typeProblem(in *inode) (string, error) {
	switch in.mode() & modeType {
	case modeRegular, modeDir:
		return "", nil
	case modeSymlink:
		if in.has(flagImmutable | flagAppend) {
			return "a symbolic link that is immutable, or can only grow", nil
		}
		return c.symlinkProblem(in)
	case modeChar, modeBlock, modeFIFO, modeSocket:
		switch {
		case in.has(flagIndex | flagExtents | flagInlineData):
			return "a special file with the flags of one that has content", nil
		case in.has(flagImmutable | flagAppend):
			return "a special file that is immutable, or can only grow", nil
		case in.u32(iSizeLo) != 0 || in.u32(iSizeHi) != 0:
			return "a special file that has a size", nil
		}
		return "", nil
	}
	c.bad(in, CodeInode, "mode %#o is of no type of file", in.mode())
	return "", nil
}

// symlinkProblem says what is wrong with the target of a symbolic link.
func (c *checker) symlinkProblem(in *inode) (string, error) {
	size := uint64(in.u32(iSizeLo)) | uint64(in.u32(iSizeHi))<<32
	if size == 0 || size>>32 != 0 || in.has(flagIndex) {
		return "its size or its flags are not a symbolic link's", nil
	}
	if in.has(flagInlineData) {
		if content, ok := c.inlineSize(in); !ok || size != content {
			return "its size is not that of its inline data", nil
		}
		return "", nil
	}
	target := in.raw[iBlock : iBlock+iBlockLen]
	switch blk := c.onlyBlock(in); {
	case size < iBlockLen && in.has(flagExtents):
		return "its target fits the inode, but it has extents", nil
	case size < iBlockLen:
	case blk == 0:
		return "its target is not in one block", nil
	default:
		target = make([]byte, c.sb.blockSize)
		if err := c.read(blk, target); err != nil {
			return "", err
		}
	}
	n := bytes.IndexByte(target, 0)
	if in.has(flagEncrypt) {
		n = int(binary.LittleEndian.Uint16(target)) + 2
	}
	if n < 0 || uint64(n) != size || n >= len(target) {
		return "its target is not as long as its size says", nil
	}
	return "", nil
}

// onlyBlock is the block of a file that has but one, or 0.
func (c *checker) onlyBlock(in *inode) uint64 {
	le := binary.LittleEndian
	p := in.raw[iBlock : iBlock+iBlockLen]
	blk := uint64(le.Uint32(p))
	if in.has(flagExtents) {
		e := p[extentEntry:]
		if extentHeader(p) != "" || le.Uint16(p[2:]) != 1 || le.Uint16(p[6:]) != 0 || le.Uint32(e) != 0 || le.Uint16(e[4:]) != 1 {
			return 0
		}
		blk = uint64(le.Uint16(e[6:]))<<32 | uint64(le.Uint32(e[8:]))
	} else if !isZero(p[4:]) {
		return 0
	}
	if !c.inside(blk, 1) {
		return 0
	}
	return blk
}
