package ext4

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// Offsets in the superblock of what changes only as the file system grows.
const (
	sbInodes       = 0x00
	sbBlocksLo     = 0x04
	sbReservedLo   = 0x08
	sbState        = 0x3A
	sbReservedGDT  = 0xCE
	sbFirstMetaBG  = 0x104
	sbBlocksHi     = 0x150
	sbReservedHi   = 0x154
	sbOverhead     = 0x248
	sbBackupGroups = 0x24C
)

// leastSpare is how many blocks of its own a short last group must have beside
// those of its structures. e2fsprogs leaves a smaller one out, and so does this package.
const leastSpare = 50

// grown returns the superblock of the file system with so many blocks, or a few
// less where the last group would be too short. What it says of room for
// descriptors follows the kernel's online resizer: they fill the blocks that
// mkfs reserved for them, and from there on go by the rules of meta_bg.
func (sb *superblock) grown(blocks uint64) (*superblock, error) {
	if blocks < sb.blocks {
		return nil, fmt.Errorf("it has %d bytes already, and cannot be made smaller", sb.bytes(sb.blocks))
	}
	if most := sb.mostBlocks(); blocks > most {
		return nil, fmt.Errorf("a file system of its kind can have up to %d bytes", sb.bytes(most))
	}
	if sb.hasIncompat(incompatMetaBG) && sb.firstMetaBG > sb.descBlocks() {
		return nil, corrupt("superblock", 0, 0, "meta_bg begins with block %d of the group descriptors, of %d", sb.firstMetaBG, sb.descBlocks())
	}
	n := sb.withBlocks(blocks)
	last := n.groups - 1
	if short := n.groupBlocks(last); n.groups > sb.groups && short < n.blocksPerGroup &&
		short < n.groupSuperBlocks(last)+2+n.inodeTableBlocks()+leastSpare {
		n = sb.withBlocks(n.groupStart(last))
	}
	return n, nil
}

func (sb *superblock) bytes(blocks uint64) uint64 { return blocks * uint64(sb.blockSize) }

// mostBlocks is what block and inode numbers, and the room for descriptors, allow.
func (sb *superblock) mostBlocks() uint64 {
	most := uint64(math.MaxUint32)
	if sb.hasIncompat(incompat64Bit) {
		most = 1 << 48
	}
	groups := math.MaxUint32 / sb.inodesPerGroup
	if sb.revision == 0 { // which has no meta_bg
		groups = min(groups, sb.descBlocks()*sb.descsPerBlock())
	}
	return min(most, sb.groupStart(groups))
}

// withBlocks returns the superblock with so many blocks, and all that follows from it.
func (sb *superblock) withBlocks(blocks uint64) *superblock {
	n := *sb
	n.blocks = blocks
	n.groups = uint32(n.groupsFor(blocks))
	n.inodes = n.groups * n.inodesPerGroup
	hi, lo := bits.Mul64(min(sb.reserved, sb.blocks), blocks)
	n.reserved, _ = bits.Div64(hi, lo, sb.blocks)

	switch more := n.descBlocks() - sb.descBlocks(); {
	case n.hasIncompat(incompatMetaBG) || more == 0:
	case more <= n.reservedGDT:
		n.reservedGDT -= more
	default:
		n.firstMetaBG = sb.descBlocks() + sb.reservedGDT
		n.reservedGDT = 0
		n.compat &^= compatResizeInode
		n.incompat |= incompatMetaBG
	}
	if n.hasCompat(compatSparseSuper2) && n.groups > sb.groups {
		n.moveBackups(sb)
	}
	return &n
}

// moveBackups moves the second of sparse_super2's backups to the last group, as
// resize2fs does. Where descriptors lie behind it that go by meta_bg, and would
// have to move, too, it stays.
func (sb *superblock) moveBackups(old *superblock) {
	if old.groups == 1 {
		sb.backupBGs[0] = 1
	}
	second := old.backupBGs[1]
	switch {
	case second == 0 && (old.groups > 2 || sb.groups < 3):
	case second != 0 && old.hasIncompat(incompatMetaBG) && second/old.descsPerBlock() >= old.firstMetaBG && old.groupSuperBlocks(second) > 1:
	default:
		sb.backupBGs[1] = sb.groups - 1
	}
}

// backups lists the groups that begin with copies, but for the first.
func (sb *superblock) backups() []uint32 {
	var list []uint32
	for g := uint32(1); g < sb.groups; g++ {
		if sb.hasSuper(g) {
			list = append(list, g)
		}
	}
	return list
}

// putGrown writes what differs between old and sb to the superblock's bytes d.
// The count of blocks that statfs takes off becomes unknown: the kernel
// computes it when it mounts.
func (sb *superblock) putGrown(d []byte, old *superblock) {
	le := binary.LittleEndian
	le.PutUint32(d[sbInodes:], sb.inodes)
	le.PutUint32(d[sbBlocksLo:], uint32(sb.blocks))
	le.PutUint32(d[sbReservedLo:], uint32(sb.reserved))
	if sb.hasIncompat(incompat64Bit) {
		le.PutUint32(d[sbBlocksHi:], uint32(sb.blocks>>32))
		le.PutUint32(d[sbReservedHi:], uint32(sb.reserved>>32))
	}
	if sb.revision == 0 {
		return
	}
	le.PutUint32(d[sbOverhead:], 0)
	if sb.hasIncompat(incompatMetaBG) && !old.hasIncompat(incompatMetaBG) {
		le.PutUint32(d[sbCompat:], sb.compat)
		le.PutUint32(d[sbIncompat:], sb.incompat)
		le.PutUint32(d[sbFirstMetaBG:], sb.firstMetaBG)
	}
	le.PutUint16(d[sbReservedGDT:], uint16(sb.reservedGDT))
	if sb.hasCompat(compatSparseSuper2) {
		le.PutUint32(d[sbBackupGroups:], sb.backupBGs[0])
		le.PutUint32(d[sbBackupGroups+4:], sb.backupBGs[1])
	}
}
