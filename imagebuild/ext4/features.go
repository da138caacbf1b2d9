package ext4

import (
	"fmt"
	"math/bits"
)

// Compatible features: software that does not know them may write.
const (
	compatHasJournal   = 0x4
	compatExtAttr      = 0x8
	compatResizeInode  = 0x10
	compatDirIndex     = 0x20
	compatSparseSuper2 = 0x200
	compatStableInodes = 0x800
	compatOrphanFile   = 0x1000
)

// Incompatible features: software that does not know them may not even read.
const (
	incompatCompression = 0x1
	incompatFiletype    = 0x2
	incompatRecover     = 0x4
	incompatJournalDev  = 0x8
	incompatMetaBG      = 0x10
	incompatExtents     = 0x40
	incompat64Bit       = 0x80
	incompatMMP         = 0x100
	incompatFlexBG      = 0x200
	incompatEAInode     = 0x400
	incompatDirdata     = 0x1000
	incompatCsumSeed    = 0x2000
	incompatLargeDir    = 0x4000
	incompatInlineData  = 0x8000
	incompatEncrypt     = 0x10000
	incompatCasefold    = 0x20000
)

// Read-only compatible features: software that does not know them may read.
const (
	roCompatSparseSuper   = 0x1
	roCompatLargeFile     = 0x2
	roCompatBtreeDir      = 0x4
	roCompatHugeFile      = 0x8
	roCompatGDTCsum       = 0x10
	roCompatDirNlink      = 0x20
	roCompatExtraIsize    = 0x40
	roCompatQuota         = 0x100
	roCompatBigalloc      = 0x200
	roCompatMetadataCsum  = 0x400
	roCompatReadonly      = 0x1000
	roCompatProject       = 0x2000
	roCompatSharedBlocks  = 0x4000
	roCompatVerity        = 0x8000
	roCompatOrphanPresent = 0x10000
)

// What can be read, and what can be written. Compatible features never stand in the way.
const (
	readIncompat = incompatFiletype | incompatRecover | incompatMetaBG | incompatExtents | incompat64Bit |
		incompatMMP | incompatFlexBG | incompatEAInode | incompatCsumSeed | incompatLargeDir |
		incompatInlineData | incompatEncrypt | incompatCasefold
	writeIncompat = incompatFiletype | incompatRecover | incompatMetaBG | incompatExtents | incompat64Bit |
		incompatFlexBG | incompatEAInode | incompatCsumSeed | incompatLargeDir
	writeROCompat = roCompatSparseSuper | roCompatLargeFile | roCompatBtreeDir | roCompatHugeFile | roCompatGDTCsum |
		roCompatDirNlink | roCompatExtraIsize | roCompatMetadataCsum | roCompatOrphanPresent
)

// featureSet is one of the superblock's three feature words, with the names
// of its bits as dumpe2fs prints them.
type featureSet struct {
	word  string
	names map[uint32]string
}

func compatNames() featureSet {
	return featureSet{"compat", map[uint32]string{
		0x1: "dir_prealloc", 0x2: "imagic_inodes", 0x4: "has_journal", 0x8: "ext_attr", 0x10: "resize_inode",
		0x20: "dir_index", 0x40: "lazy_bg", 0x100: "snapshot_bitmap", 0x200: "sparse_super2", 0x400: "fast_commit",
		0x800: "stable_inodes", 0x1000: "orphan_file",
	}}
}

func incompatNames() featureSet {
	return featureSet{"incompat", map[uint32]string{
		0x1: "compression", 0x2: "filetype", 0x4: "needs_recovery", 0x8: "journal_dev", 0x10: "meta_bg", 0x40: "extent",
		0x80: "64bit", 0x100: "mmp", 0x200: "flex_bg", 0x400: "ea_inode", 0x1000: "dirdata", 0x2000: "metadata_csum_seed",
		0x4000: "large_dir", 0x8000: "inline_data", 0x10000: "encrypt", 0x20000: "casefold",
	}}
}

func roCompatNames() featureSet {
	return featureSet{"ro_compat", map[uint32]string{
		0x1: "sparse_super", 0x2: "large_file", 0x4: "btree_dir", 0x8: "huge_file", 0x10: "uninit_bg", 0x20: "dir_nlink",
		0x40: "extra_isize", 0x80: "snapshot", 0x100: "quota", 0x200: "bigalloc", 0x400: "metadata_csum", 0x800: "replica",
		0x1000: "read-only", 0x2000: "project", 0x4000: "shared_blocks", 0x8000: "verity", 0x10000: "orphan_present",
	}}
}

// list names the bits that are set, in their order; one without a name shows its number.
func (f featureSet) list(set uint32) []string {
	var names []string
	for set != 0 {
		bit := uint32(1) << bits.TrailingZeros32(set)
		set &^= bit
		if n, ok := f.names[bit]; ok {
			names = append(names, n)
		} else {
			names = append(names, fmt.Sprintf("unknown %s feature %#x", f.word, bit))
		}
	}
	return names
}

// checkReadable refuses what cannot even be read.
func (sb *superblock) checkReadable() error {
	if unknown := incompatNames().list(sb.incompat &^ readIncompat); len(unknown) > 0 {
		return &UnsupportedError{Features: unknown}
	}
	return nil
}

// checkWritable refuses what can be read but not written, before the first
// write. A journal to be replayed, and orphans, are left to FS.recover.
func (sb *superblock) checkWritable() error {
	if sb.state&stateErrors != 0 {
		return &UnsupportedError{
			Features: []string{"errors recorded by the kernel"}, Writing: true, Remedy: "run e2fsck -fy on it first",
		}
	}
	if sb.state&stateValid == 0 {
		return &UnsupportedError{
			Features: []string{"no mark of a clean unmount"}, Writing: true, Remedy: "run e2fsck -fy on it first",
		}
	}
	unknown := append(incompatNames().list(sb.incompat&^writeIncompat), roCompatNames().list(sb.roCompat&^writeROCompat)...)
	if sb.journalDev != 0 && sb.compat&compatHasJournal != 0 {
		unknown = append(unknown, "an external journal")
	}
	if sb.creatorOS == osHurd {
		unknown = append(unknown, "inodes of GNU/Hurd")
	}
	if len(unknown) > 0 {
		return &UnsupportedError{Features: unknown, Writing: true}
	}
	return nil
}
