package ext4

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// Info describes a file system as a whole.
type Info struct {
	Label     string
	UUID      string   // 8-4-4-4-12 hex digits
	Features  []string // as dumpe2fs names them
	BlockSize int      // bytes

	// Blocks counts the whole file system; Reserved of the free ones are kept for root.
	Blocks, FreeBlocks, Reserved uint64
	Inodes, FreeInodes           uint32
	InodeSize                    int // bytes
	Groups                       uint32

	Made, Written time.Time // by mkfs, and last
	// Clean is true if the file system was unmounted cleanly: nothing is to be
	// recovered from the journal, no errors were recorded, no orphans are left.
	Clean bool
	// State says in words what is not clean.
	State []string
}

// Info returns what the superblock says now.
func (f *FS) Info() Info {
	f.mu.Lock()
	defer f.mu.Unlock()
	sb := f.sb
	i := Info{
		UUID:     fmt.Sprintf("%x-%x-%x-%x-%x", sb.uuid[:4], sb.uuid[4:6], sb.uuid[6:8], sb.uuid[8:10], sb.uuid[10:]),
		Features: slices.Concat(compatNames().list(sb.compat), incompatNames().list(sb.incompat), roCompatNames().list(sb.roCompat)),

		BlockSize: sb.blockSize, Blocks: sb.blocks, Reserved: sb.reserved,
		Inodes: sb.inodes, InodeSize: sb.inodeSize, Groups: sb.groups,
		Made: time.Unix(sb.mkfsTime, 0).UTC(), Written: time.Unix(sb.writeTime, 0).UTC(),
	}
	if sb.state&stateValid == 0 {
		i.State = append(i.State, "not unmounted cleanly")
	}
	if sb.state&stateErrors != 0 {
		i.State = append(i.State, "the kernel recorded errors")
	}
	if sb.hasIncompat(incompatRecover) {
		i.State = append(i.State, "the journal needs recovery")
	}
	if sb.lastOrphan != 0 || sb.hasROCompat(roCompatOrphanPresent) {
		i.State = append(i.State, "orphaned inodes")
	}
	i.Clean = len(i.State) == 0
	if f.closed {
		return i
	}
	if d, err := f.super(); err == nil {
		i.Label = cString(d[sbLabel : sbLabel+sbLabelLen])
		i.FreeBlocks = f.freeBlocks(d)
		i.FreeInodes = binary.LittleEndian.Uint32(d[sbFreeInodes:])
	}
	return i
}

// freeBlocks reads the count of free blocks from the superblock's bytes.
func (f *FS) freeBlocks(super []byte) uint64 {
	n := uint64(binary.LittleEndian.Uint32(super[sbFreeBlocksLo:]))
	if f.sb.hasIncompat(incompat64Bit) {
		n |= uint64(binary.LittleEndian.Uint32(super[sbFreeBlocksHi:])) << 32
	}
	return n
}

// Label returns the file system's label, up to 16 bytes, or "".
func (f *FS) Label() string { return f.Info().Label }
