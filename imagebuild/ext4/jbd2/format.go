package jbd2

import "encoding/binary"

const magic = 0xC03B3998

// Kinds of blocks, at offset 4 of a block's header.
const (
	kindDescriptor   = 1
	kindCommit       = 2
	kindSuperblockV1 = 3
	kindSuperblockV2 = 4
	kindRevoke       = 5
)

// Features of a journal.
const (
	compatChecksum = 0x1 // checksum v1: a commit block's is for the whole transaction

	incompatRevoke      = 0x1
	incompat64Bit       = 0x2
	incompatAsyncCommit = 0x4
	incompatCsumV2      = 0x8
	incompatCsumV3      = 0x10
	incompatFastCommit  = 0x20

	knownIncompat = incompatRevoke | incompat64Bit | incompatAsyncCommit | incompatCsumV2 | incompatCsumV3 | incompatFastCommit
)

// Offsets in the superblock. Those from sbCompat on mean something in version 2 only.
const (
	sbBlockSize    = 0x0C
	sbMaxLen       = 0x10
	sbFirst        = 0x14
	sbSequence     = 0x18
	sbStart        = 0x1C
	sbErrno        = 0x20
	sbCompat       = 0x24
	sbIncompat     = 0x28
	sbROCompat     = 0x2C
	sbUUID         = 0x30
	sbChecksumType = 0x50
	sbFastBlocks   = 0x54
	sbChecksum     = 0xFC
	superblockSize = 1024
)

// Other sizes and offsets.
const (
	headerSize = 12 // magic number, kind, number of the transaction
	tailSize   = 4  // the checksum that ends descriptor and revoke blocks, with checksums v2 and v3
	uuidSize   = 16

	revokeCount = 12 // bytes in use, the 16 of the header included
	revokeFirst = 16

	commitChecksumType = 12
	commitChecksumSize = 13
	commitChecksum     = 16
	commitSeconds      = 48

	checksumCRC32  = 1
	checksumCRC32C = 4

	defaultFastBlocks = 256
	minBlocks         = 1024

	// A fast commit begins with a head: tag 9, length 8 (both little-endian),
	// features, and the number of the transaction that it continues.
	fastHeadTag  = 9
	fastHeadSize = 8
)

// Flags of a tag.
const (
	flagEscaped  = 1 // the block began with the magic number, which was made zero
	flagSameUUID = 2 // no UUID follows
	flagLast     = 8
)

// header is how every block begins that is not a copy of one of the file system's.
type header struct {
	kind, sequence uint32
}

func parseHeader(p []byte) (header, bool) {
	be := binary.BigEndian
	return header{be.Uint32(p[4:]), be.Uint32(p[8:])}, be.Uint32(p) == magic
}

// tag is one entry of a descriptor block.
type tag struct {
	target   uint64
	flags    uint16
	checksum uint32
}

// tagSize is the length of a tag without its UUID.
func (j *Journal) tagSize() int {
	if j.hasIncompat(incompatCsumV3) {
		return 16
	}
	n := 8
	if j.hasIncompat(incompatCsumV2) {
		n += 2
	}
	if j.hasIncompat(incompat64Bit) {
		n += 4
	}
	return n
}

// tags reads the entries of a descriptor block.
func (j *Journal) tags(p []byte) []tag {
	be := binary.BigEndian
	size, end := j.tagSize(), len(p)
	if j.blockChecksums() {
		end -= tailSize
	}
	var out []tag
	for at := headerSize; at+size <= end; {
		e := p[at:]
		t := tag{target: uint64(be.Uint32(e)), flags: be.Uint16(e[6:]), checksum: uint32(be.Uint16(e[4:]))}
		if j.hasIncompat(incompat64Bit) {
			t.target |= uint64(be.Uint32(e[8:])) << 32
		}
		if j.hasIncompat(incompatCsumV3) {
			t.checksum = be.Uint32(e[12:])
		}
		out = append(out, t)
		at += size
		if t.flags&flagSameUUID == 0 {
			at += uuidSize
		}
		if t.flags&flagLast != 0 {
			break
		}
	}
	return out
}

// revoked calls fn for each block that the revoke block p, number block of the journal, lists.
func (j *Journal) revoked(block uint32, p []byte, fn func(target uint64)) error {
	be := binary.BigEndian
	end, room, size := int64(be.Uint32(p[revokeCount:])), int64(len(p)), int64(4)
	if j.blockChecksums() {
		room -= tailSize
	}
	if end > room {
		return corrupt(block, "revoke records of %d bytes in a block of %d", end, len(p))
	}
	if j.hasIncompat(incompat64Bit) {
		size = 8
	}
	for at := int64(revokeFirst); at+size <= end; at += size {
		if size == 8 {
			fn(be.Uint64(p[at:]))
		} else {
			fn(uint64(be.Uint32(p[at:])))
		}
	}
	return nil
}
