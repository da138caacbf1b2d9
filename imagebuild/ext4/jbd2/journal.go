package jbd2

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// ReadFunc fills p with block n of a journal, which p is as long as.
type ReadFunc func(n uint32, p []byte) error

// Journal is a journal whose superblock was found good.
type Journal struct {
	read      ReadFunc
	blockSize int
	super     []byte // the superblock, as it was read

	incompat uint32
	sums     bool   // checksum v1
	first    uint32 // the ring is [first, end)
	end      uint32
	start    uint32 // where the oldest transaction is, 0 if there is none
	sequence uint32 // its number
	seed     uint32 // of checksums v2 and v3
	fast     uint32 // the area for fast commits is [fast, fastEnd), fast is 0 if there is none
	fastEnd  uint32
}

// Open reads the superblock of a journal of the given number of blocks. What is
// wrong with the journal is a [CorruptError], what this package cannot do an
// [UnsupportedError]; errors of read are handed on.
func Open(read ReadFunc, blockSize int, blocks uint32) (*Journal, error) {
	if blockSize < superblockSize || blocks == 0 {
		return nil, corrupt(0, "%d blocks of %d bytes are too few for a journal", blocks, blockSize)
	}
	p := make([]byte, blockSize)
	if err := read(0, p); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	u32 := func(off int) uint32 { return be.Uint32(p[off:]) }
	j := &Journal{
		read: read, blockSize: blockSize, super: p[:superblockSize],
		first: u32(sbFirst), end: u32(sbMaxLen), start: u32(sbStart), sequence: u32(sbSequence),
	}
	h, ok := parseHeader(p)
	if !ok {
		return nil, corrupt(0, "it does not begin with a journal's superblock")
	}
	switch h.kind {
	case kindSuperblockV1:
	case kindSuperblockV2:
		if err := j.parseFeatures(); err != nil {
			return nil, err
		}
	default:
		return nil, corrupt(0, "kind of superblock is %d", h.kind)
	}
	if n := u32(sbBlockSize); n != uint32(blockSize) {
		return nil, corrupt(0, "blocks of %d bytes in a file system whose blocks have %d", n, blockSize)
	}
	if j.end > blocks {
		return nil, corrupt(0, "it has %d blocks, but only %d are there", j.end, blocks)
	}
	if err := j.placeFastCommits(); err != nil {
		return nil, err
	}
	if j.first == 0 || j.first >= j.end {
		return nil, corrupt(0, "the log begins at block %d of %d", j.first, j.end)
	}
	if j.start != 0 && (j.start < j.first || j.start >= j.end) {
		return nil, corrupt(0, "the oldest transaction is at block %d, the log is at %d to %d", j.start, j.first, j.end-1)
	}
	return j, nil
}

// parseFeatures checks what a superblock of version 2 has beyond one of version 1.
func (j *Journal) parseFeatures() error {
	p, be := j.super, binary.BigEndian
	j.incompat = be.Uint32(p[sbIncompat:])
	j.sums = be.Uint32(p[sbCompat:])&compatChecksum != 0
	var unknown []string
	if x := j.incompat &^ knownIncompat; x != 0 {
		unknown = append(unknown, fmt.Sprintf("unknown incompat features %#x", x))
	}
	if x := be.Uint32(p[sbROCompat:]); x != 0 {
		unknown = append(unknown, fmt.Sprintf("unknown ro_compat features %#x", x))
	}
	if unknown != nil {
		return &UnsupportedError{Features: unknown}
	}
	switch {
	case j.hasIncompat(incompatCsumV2) && j.hasIncompat(incompatCsumV3):
		return corrupt(0, "checksums v2 and v3 at once")
	case !j.blockChecksums():
		return nil
	case j.sums:
		return corrupt(0, "checksums v1 and v2 or v3 at once")
	case p[sbChecksumType] != checksumCRC32C:
		return &UnsupportedError{Features: []string{"a checksum type other than crc32c"}}
	}
	if got, want := be.Uint32(p[sbChecksum:]), without(^uint32(0), p, sbChecksum); got != want {
		return corrupt(0, "checksum is %#08x, should be %#08x", got, want)
	}
	j.seed = crc32c(^uint32(0), p[sbUUID:sbUUID+uuidSize])
	return nil
}

// placeFastCommits takes the area for fast commits off the end of the ring.
func (j *Journal) placeFastCommits() error {
	if !j.hasIncompat(incompatFastCommit) {
		return nil
	}
	n := binary.BigEndian.Uint32(j.super[sbFastBlocks:])
	if n == 0 {
		n = defaultFastBlocks
	}
	if j.end < minBlocks || j.end-minBlocks < n {
		return corrupt(0, "%d of its %d blocks are for fast commits", n, j.end)
	}
	j.fast, j.fastEnd = j.end-n, j.end
	j.end = j.fast
	return nil
}

func (j *Journal) hasIncompat(f uint32) bool { return j.incompat&f != 0 }

// blockChecksums says whether blocks have checksums of their own (v2, v3).
func (j *Journal) blockChecksums() bool { return j.hasIncompat(incompatCsumV2 | incompatCsumV3) }

// sumsTransactions says whether a commit block has a checksum of its transaction (v1).
func (j *Journal) sumsTransactions() bool { return j.sums }

// Empty says that no transaction waits to be replayed.
func (j *Journal) Empty() bool { return j.start == 0 }

// Errno is the error for which the file system was given up, or 0: a negative
// number of Linux's.
func (j *Journal) Errno() int32 { return int32(binary.BigEndian.Uint32(j.super[sbErrno:])) }

// emptied is the superblock of the journal once all of it was replayed, up to
// but without transaction next. One number is left out, as the kernel does, so
// that nothing that is in the ring can be taken for what comes.
func (j *Journal) emptied(next uint32) []byte {
	p, be := bytes.Clone(j.super), binary.BigEndian
	be.PutUint32(p[sbStart:], 0)
	be.PutUint32(p[sbSequence:], next+1)
	if j.blockChecksums() {
		be.PutUint32(p[sbChecksum:], without(^uint32(0), p, sbChecksum))
	}
	return p
}
