package ext4

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// Where the superblock is, and what its fixed fields may hold.
const (
	superblockOffset = 1024
	superblockSize   = 1024
	superMagic       = 0xEF53

	stateValid  = 1
	stateErrors = 2

	flagUnsignedHash = 2

	osHurd = 1

	goodOldInodeSize = 128
	goodOldFirstIno  = 11
	rootIno          = 2
)

// Offsets in the superblock of the fields that change, or that are read in more places than one.
const (
	sbFreeBlocksLo = 0x0C
	sbFreeInodes   = 0x10
	sbUUID         = 0x68
	sbLabel        = 0x78
	sbLabelLen     = 16
	sbMagic        = 0x38
	sbRevision     = 0x4C
	sbFirstIno     = 0x54
	sbInodeSize    = 0x58
	sbCompat       = 0x5C
	sbIncompat     = 0x60
	sbROCompat     = 0x64
	sbLastOrphan   = 0xE8
	sbFreeBlocksHi = 0x158
	sbCsumSeed     = 0x270
	sbErrors       = 0x194 // what is known of errors, up to sbErrorsEnd
	sbErrorsEnd    = 0x200
	sbChecksum     = 0x3FC
)

// superblock holds the fields that do not count anything: those change by
// FS.reshape only. Counters live in the superblock's buffer, and roll back with it.
type superblock struct {
	compat, incompat, roCompat uint32

	inodes         uint32
	blocks         uint64
	reserved       uint64
	firstData      uint32
	blockSize      int
	blocksPerGroup uint32
	inodesPerGroup uint32
	inodeSize      int
	descSize       int
	revision       uint32
	groups         uint32
	firstIno       uint32
	reservedGDT    uint32
	firstMetaBG    uint32
	flexGroups     uint32 // groups whose structures lie together
	backupBGs      [2]uint32
	state          uint16
	lastOrphan     uint32
	journalIno     uint32
	journalDev     uint32
	orphanFileIno  uint32
	hashSeed       [4]uint32
	hashVersion    uint8
	flags          uint32
	wantExtraIsize uint16
	minExtraIsize  uint16
	mkfsTime       int64
	writeTime      int64
	uuid           [16]byte
	csumSeed       uint32
	creatorOS      uint32
}

func (sb *superblock) hasCompat(f uint32) bool   { return sb.compat&f != 0 }
func (sb *superblock) hasIncompat(f uint32) bool { return sb.incompat&f != 0 }
func (sb *superblock) hasROCompat(f uint32) bool { return sb.roCompat&f != 0 }
func (sb *superblock) metadataCsum() bool        { return sb.hasROCompat(roCompatMetadataCsum) }

// groupCsum says whether group descriptors carry checksums, and so whether
// their UNINIT flags mean anything.
func (sb *superblock) groupCsum() bool {
	return sb.hasROCompat(roCompatMetadataCsum | roCompatGDTCsum)
}

// parseSuperblock decodes and range-checks the superblock p of a file system
// that has size bytes to itself.
func parseSuperblock(p []byte, size int64) (*superblock, error) {
	bad := func(format string, args ...any) (*superblock, error) {
		return nil, corrupt("superblock", 0, 0, format, args...)
	}
	le := binary.LittleEndian
	u16 := func(off int) uint16 { return le.Uint16(p[off:]) }
	u32 := func(off int) uint32 { return le.Uint32(p[off:]) }

	if m := u16(sbMagic); m != superMagic {
		return bad("magic number is %#04x, not %#04x: this is no ext4 file system", m, superMagic)
	}
	sb := &superblock{
		inodes: u32(0x0), firstData: u32(0x14), blocksPerGroup: u32(0x20), inodesPerGroup: u32(0x28), state: u16(0x3A),
		compat: u32(sbCompat), incompat: u32(sbIncompat), roCompat: u32(sbROCompat),
		reservedGDT: uint32(u16(0xCE)), journalIno: u32(0xE0), journalDev: u32(0xE4), lastOrphan: u32(sbLastOrphan),
		hashVersion: p[0xFC], firstMetaBG: u32(0x104), mkfsTime: int64(u32(0x108)) | int64(p[0x276])<<32,
		writeTime: int64(u32(0x30)) | int64(p[0x274])<<32,
		flags:     u32(0x160), minExtraIsize: u16(0x15C), wantExtraIsize: u16(0x15E),
		backupBGs: [2]uint32{u32(0x24C), u32(0x250)}, orphanFileIno: u32(0x280), creatorOS: u32(0x48),
	}
	copy(sb.uuid[:], p[sbUUID:])
	for i := range sb.hashSeed {
		sb.hashSeed[i] = u32(0xEC + 4*i)
	}
	sb.firstIno, sb.inodeSize = goodOldFirstIno, goodOldInodeSize
	switch sb.revision = u32(sbRevision); sb.revision {
	case 0:
		sb.compat, sb.incompat, sb.roCompat = 0, 0, 0
	case 1:
		sb.firstIno, sb.inodeSize = u32(sbFirstIno), int(u16(sbInodeSize))
	default:
		return bad("revision is %d, only 0 and 1 are known", sb.revision)
	}
	if err := sb.checkReadable(); err != nil {
		return nil, err
	}
	if sb.metadataCsum() {
		if t := p[0x175]; t != 1 {
			return nil, &UnsupportedError{Features: []string{"a checksum type other than crc32c"}}
		}
		if got, want := u32(sbChecksum), superChecksum(p); got != want {
			return bad("checksum is %#08x, should be %#08x", got, want)
		}
	}
	sb.csumSeed = crc32c(^uint32(0), sb.uuid[:])
	if sb.hasIncompat(incompatCsumSeed) {
		sb.csumSeed = u32(sbCsumSeed)
	}

	if l := u32(0x18); l > 6 {
		return bad("block size of 2^%d bytes, the largest is 2^16", uint64(l)+10)
	}
	sb.blockSize = 1024 << u32(0x18)
	sb.blocks, sb.reserved = uint64(u32(0x4)), uint64(u32(0x8))
	sb.descSize = 32
	if sb.hasIncompat(incompat64Bit) {
		sb.blocks |= uint64(u32(0x150)) << 32
		sb.reserved |= uint64(u32(0x154)) << 32
		sb.descSize = int(u16(0xFE))
		if sb.descSize < 64 || sb.descSize > 1024 || bits.OnesCount(uint(sb.descSize)) != 1 {
			return bad("group descriptors of %d bytes, should be 64 to 1024", sb.descSize)
		}
	}
	bigalloc := sb.hasROCompat(roCompatBigalloc)
	if want := uint32(superblockOffset / sb.blockSize); sb.firstData != want && !(bigalloc && sb.firstData == 0) {
		return bad("first data block is %d, should be %d", sb.firstData, want)
	}
	if sb.blocks <= uint64(sb.firstData) || sb.blocks > 1<<48 {
		return bad("%d blocks", sb.blocks)
	}
	if have := uint64(size) / uint64(sb.blockSize); sb.blocks > have {
		return bad("the file system has %d blocks of %d bytes, but only %d are there: the image is truncated, or the partition too small",
			sb.blocks, sb.blockSize, have)
	}
	maxPerGroup := uint32(sb.blockSize) * 8
	if bigalloc {
		maxPerGroup = 1 << 31
	}
	if sb.blocksPerGroup < 8 || sb.blocksPerGroup%8 != 0 || sb.blocksPerGroup > maxPerGroup {
		return bad("%d blocks a group, should be a multiple of 8 up to %d", sb.blocksPerGroup, maxPerGroup)
	}
	if sb.inodeSize < goodOldInodeSize || sb.inodeSize > sb.blockSize || bits.OnesCount(uint(sb.inodeSize)) != 1 {
		return bad("inodes of %d bytes, should be a power of two from 128 to the block size", sb.inodeSize)
	}
	if sb.inodesPerGroup == 0 || sb.inodesPerGroup%8 != 0 || sb.inodesPerGroup > uint32(sb.blockSize)*8 {
		return bad("%d inodes a group, should be a multiple of 8 up to %d", sb.inodesPerGroup, sb.blockSize*8)
	}
	groups := sb.groupsFor(sb.blocks)
	if groups*uint64(sb.inodesPerGroup) != uint64(sb.inodes) {
		return bad("%d inodes, but %d groups of %d", sb.inodes, groups, sb.inodesPerGroup)
	}
	sb.groups = uint32(groups)
	if sb.firstIno < goodOldFirstIno || sb.firstIno > sb.inodes {
		return bad("first inode for files is %d of %d", sb.firstIno, sb.inodes)
	}
	sb.flexGroups = 1
	if l := p[0x174]; sb.hasIncompat(incompatFlexBG) && l < 32 {
		sb.flexGroups = 1 << l
	}
	if sb.reservedGDT > uint32(sb.blockSize)/4 {
		return bad("%d blocks reserved for group descriptors", sb.reservedGDT)
	}
	if last := sb.descBlock(sb.descBlocks() - 1); last >= sb.blocks {
		return bad("group descriptors reach block %d, past the end", last)
	}
	return sb, nil
}

// descsPerBlock is how many group descriptors one block holds: with meta_bg, a set.
func (sb *superblock) descsPerBlock() uint32 { return uint32(sb.blockSize / sb.descSize) }

// descBlocks is the number of blocks that hold group descriptors.
func (sb *superblock) descBlocks() uint32 {
	per := sb.descsPerBlock()
	return (sb.groups + per - 1) / per
}

// descBlock is where the i-th block of group descriptors lies.
func (sb *superblock) descBlock(i uint32) uint64 {
	if !sb.hasIncompat(incompatMetaBG) || i < sb.firstMetaBG {
		return uint64(sb.firstData) + uint64(sb.superLead(0)) + 1 + uint64(i)
	}
	g := i * sb.descsPerBlock()
	b := sb.groupStart(g) + uint64(sb.superLead(g))
	if sb.hasSuper(g) {
		b++
	}
	return b
}

// groupsFor is how many groups there are in a file system of so many blocks.
func (sb *superblock) groupsFor(blocks uint64) uint64 {
	return (blocks - uint64(sb.firstData) + uint64(sb.blocksPerGroup) - 1) / uint64(sb.blocksPerGroup)
}

// groupStart is the first block of group g.
func (sb *superblock) groupStart(g uint32) uint64 {
	return uint64(sb.firstData) + uint64(g)*uint64(sb.blocksPerGroup)
}

// groupBlocks is the number of blocks of group g: the last one may be short.
func (sb *superblock) groupBlocks(g uint32) uint32 {
	return uint32(min(uint64(sb.blocksPerGroup), sb.blocks-sb.groupStart(g)))
}

// hasSuper says whether group g begins with a copy of the superblock.
func (sb *superblock) hasSuper(g uint32) bool {
	switch {
	case g == 0:
		return true
	case sb.hasCompat(compatSparseSuper2):
		return g == sb.backupBGs[0] || g == sb.backupBGs[1]
	case g == 1 || !sb.hasROCompat(roCompatSparseSuper):
		return true
	case g%2 == 0:
		return false
	}
	return isPower(g, 3) || isPower(g, 5) || isPower(g, 7)
}

func isPower(n, base uint32) bool {
	for n%base == 0 {
		n /= base
	}
	return n == 1
}

// superLead is how many blocks lie before the superblock in group g: one where
// bigalloc lets the groups begin with block 0, and that is the boot sector's.
func (sb *superblock) superLead(g uint32) uint32 {
	if g == 0 && sb.firstData == 0 && sb.blockSize == superblockOffset {
		return 1
	}
	return 0
}

// groupSuperBlocks is how many blocks at the start of group g hold copies of
// the superblock and the group descriptors, and room for more descriptors.
func (sb *superblock) groupSuperBlocks(g uint32) uint32 {
	n := sb.superLead(g)
	if sb.hasSuper(g) {
		n++
	}
	per := sb.descsPerBlock()
	if !sb.hasIncompat(incompatMetaBG) || g/per < sb.firstMetaBG {
		if n == 0 {
			return 0
		}
		gdt := sb.descBlocks()
		if sb.hasIncompat(incompatMetaBG) {
			gdt = min(gdt, sb.firstMetaBG)
		}
		return n + gdt + sb.reservedGDT
	}
	// meta_bg: the first, second and last group of a set hold its one block of descriptors.
	if r := g % per; r == 0 || r == 1 || r == per-1 {
		n++
	}
	return n
}

func cString(p []byte) string {
	if i := bytes.IndexByte(p, 0); i >= 0 {
		p = p[:i]
	}
	return string(p)
}
