package ext4

import (
	"encoding/binary"
	"errors"
	"math"
)

// More offsets in the superblock, which only the check looks at.
const (
	sbLogCluster       = 0x1C
	sbClustersPerGroup = 0x24
	sbGroupNumber      = 0x5A
	sbPreallocDir      = 0xCD
	sbJournalUUID      = 0xD0
	sbDescSize         = 0xFE
	sbMMPBlock         = 0x168
	sbGroupsPerFlex    = 0x174
	sbUserQuota        = 0x240
	sbGroupQuota       = 0x244
	sbProjectQuota     = 0x26C
)

// Features that the check knows to leave other things alone, beside those that
// can be written. What a bigalloc file system's bitmaps count is not blocks;
// shared_blocks makes the main thing that is checked meaningless.
const (
	checkCompat = compatHasJournal | compatExtAttr | compatResizeInode | compatDirIndex | compatSparseSuper2 | compatOrphanFile |
		0x1 | 0x400 | 0x800 // dir_prealloc, fast_commit, stable_inodes

	checkIncompat = readIncompat

	checkROCompat = writeROCompat | roCompatQuota | roCompatReadonly | roCompatProject | roCompatVerity | roCompatOrphanPresent
)

// checkSuper finds a superblock to work with, and checks what it says of itself.
func (c *checker) checkSuper(size int64) error {
	p := make([]byte, superblockSize)
	if err := c.fs.readStorage(p, superblockOffset); err != nil {
		return err
	}
	sb, err := c.parseSuper(p)
	var bad *CorruptError
	switch {
	case errors.As(err, &bad):
		if sb, p, err = c.backupSuper(size, bad); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	c.sb, c.super, c.fs.sb = sb, p, sb
	if err := c.checkKnown(); err != nil {
		return err
	}
	if have := uint64(size) / uint64(sb.blockSize); sb.blocks > have {
		c.global(CodeSize, "the file system has %d blocks of %d bytes, but only %d are there: the image is truncated, or the partition too small",
			sb.blocks, sb.blockSize, have)
		return errStopCheck
	}
	c.checkSuperFields()
	c.checkSuperFeatures()
	return nil
}

// parseSuper decodes p. One whose checksum alone is wrong is a finding only.
func (c *checker) parseSuper(p []byte) (*superblock, error) {
	sb, err := parseSuperblock(p, math.MaxInt64)
	var bad *CorruptError
	if !errors.As(err, &bad) || binary.LittleEndian.Uint32(p[sbROCompat:])&roCompatMetadataCsum == 0 {
		return sb, err
	}
	got, want := binary.LittleEndian.Uint32(p[sbChecksum:]), superChecksum(p)
	if got == want {
		return nil, err
	}
	mended := append([]byte(nil), p...)
	binary.LittleEndian.PutUint32(mended[sbChecksum:], want)
	if sb, err = parseSuperblock(mended, math.MaxInt64); err == nil {
		c.global(CodeSuperChecksum, "it is %#08x, should be %#08x", got, want)
	}
	return sb, err
}

// backupSuper looks for a copy of the superblock, where groups 1, 3, 5, 7, 9,
// 25 and 27 of the usual size begin. If there is none, bad stays the error.
func (c *checker) backupSuper(size int64, bad *CorruptError) (*superblock, []byte, error) {
	p := make([]byte, superblockSize)
	for _, blockSize := range []int64{4096, 1024, 2048, 65536, 32768, 16384, 8192} {
		for _, g := range []int64{1, 3, 5, 7, 9, 25, 27} {
			off := g * 8 * blockSize * blockSize
			if blockSize == 1024 {
				off += blockSize
			}
			if off > size-superblockSize {
				break
			}
			if err := c.fs.readStorage(p, off); err != nil {
				return nil, nil, err
			}
			sb, err := parseSuperblock(p, math.MaxInt64)
			if err == nil && int64(sb.blockSize) == blockSize && binary.LittleEndian.Uint16(p[sbGroupNumber:]) == uint16(g) {
				c.global(CodeSuperblock, "%s; the copy in group %d is used", bad.Reason, g)
				return sb, p, nil
			}
		}
	}
	return nil, nil, bad
}

// checkKnown refuses what cannot be checked, and notes what will be left out.
func (c *checker) checkKnown() error {
	sb := c.sb
	unknown := append(compatNames().list(sb.compat&^checkCompat), incompatNames().list(sb.incompat&^checkIncompat)...)
	unknown = append(unknown, roCompatNames().list(sb.roCompat&^checkROCompat)...)
	if sb.creatorOS == osHurd {
		unknown = append(unknown, "inodes of GNU/Hurd")
	}
	if unknown != nil {
		return &UnsupportedError{Features: unknown, Checking: true}
	}
	for _, u := range []struct {
		has  bool
		what string
	}{
		{sb.hasROCompat(roCompatQuota), "quota usage"},
		{sb.hasIncompat(incompatEncrypt), "encryption policies"},
		{sb.hasIncompat(incompatCasefold), "casefolded names and their hashes"},
		{sb.hasCompat(compatHasJournal) && sb.journalIno == 0, "the external journal"},
	} {
		if u.has {
			c.report.Unchecked = append(c.report.Unchecked, u.what)
		}
	}
	return nil
}

func (c *checker) checkSuperFields() {
	sb, le := c.sb, binary.LittleEndian
	bad := func(format string, args ...any) { c.global(CodeSuperblock, format, args...) }
	if l, b := le.Uint32(c.super[sbLogCluster:]), le.Uint32(c.super[0x18:]); l != b {
		bad("clusters of 2^%d bytes, blocks of 2^%d", uint64(l)+10, b+10)
	}
	if n := le.Uint32(c.super[sbClustersPerGroup:]); n != sb.blocksPerGroup {
		bad("%d clusters a group, but %d blocks", n, sb.blocksPerGroup)
	}
	if l := c.super[sbGroupsPerFlex]; l > 31 {
		bad("2^%d groups in a flexible group", l)
	}
	if sb.reserved > sb.blocks/2 {
		bad("%d of %d blocks are reserved", sb.reserved, sb.blocks)
	}
	per := uint32(sb.blockSize / sb.inodeSize)
	if most := min(uint64(per)*uint64(sb.blocksPerGroup-4), uint64(1<<16-per)); sb.inodesPerGroup < per || uint64(sb.inodesPerGroup) > most {
		bad("%d inodes a group, should be %d to %d", sb.inodesPerGroup, per, most)
	}
	if n := le.Uint16(c.super[sbDescSize:]); n > 1024 || n&(n-1) != 0 {
		bad("group descriptors of %d bytes", n)
	}
	if room := sb.inodeSize - goodOldInodeSize; room > 0 {
		for _, n := range []uint16{sb.minExtraIsize, sb.wantExtraIsize} {
			if n != 0 && (n < 4 || int(n) > room || n%4 != 0) {
				bad("%d bytes wanted in the extra part of inodes", n)
			}
		}
	}
	for _, off := range []int{sbUserQuota, sbGroupQuota, sbProjectQuota} {
		ino := le.Uint32(c.super[off:])
		if ino > sb.inodes || ino == 1 || ino == rootIno || ino >= 5 && ino <= 10 {
			bad("inode %d is said to hold quotas", ino)
		}
	}
	if sb.lastOrphan != 0 {
		c.global(CodeOrphanList, "inode %d is the first of those that wait for being released", sb.lastOrphan)
	}
}

// checkSuperFeatures checks which features go together.
func (c *checker) checkSuperFeatures() {
	sb := c.sb
	both := func(a, b string) { c.global(CodeFeatures, "%s and %s exclude each other", a, b) }
	needs := func(a, b string) { c.global(CodeFeatures, "%s makes no sense without %s", a, b) }
	if sb.metadataCsum() && sb.hasROCompat(roCompatGDTCsum) {
		both("metadata_csum", "uninit_bg")
	}
	if !sb.metadataCsum() && sb.hasIncompat(incompatCsumSeed) {
		needs("metadata_csum_seed", "metadata_csum")
	}
	if sb.hasIncompat(incompat64Bit) && !sb.hasIncompat(incompatExtents) {
		needs("64bit", "extent")
	}
	if sb.hasCompat(compatResizeInode) && sb.hasIncompat(incompatMetaBG) {
		both("resize_inode", "meta_bg")
	}
	if sb.hasIncompat(incompatMetaBG) && sb.firstMetaBG > sb.descBlocks() {
		c.global(CodeSuperblock, "the first block of descriptors with meta_bg is %d of %d", sb.firstMetaBG, sb.descBlocks())
	}
	if !sb.hasCompat(compatResizeInode) && sb.reservedGDT != 0 {
		c.global(CodeFeatures, "%d blocks are reserved for growing, without resize_inode", sb.reservedGDT)
	}
	if sb.hasCompat(compatOrphanFile) && !sb.hasCompat(compatHasJournal) {
		needs("orphan_file", "has_journal")
	}
	if !sb.hasCompat(compatOrphanFile) && sb.hasROCompat(roCompatOrphanPresent) {
		needs("orphan_present", "orphan_file")
	}
}
