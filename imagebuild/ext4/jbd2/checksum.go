package jbd2

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// crc32c continues a CRC-32C that inverts neither its seed nor its result.
func crc32c(seed uint32, p []byte) uint32 {
	return ^crc32.Update(^seed, crc32.MakeTable(crc32.Castagnoli), p)
}

// crc32BE continues the CRC-32 (polynomial 0x04C11DB7, most significant bit
// first, nothing inverted) of checksum v1. It is the usual one of each byte's
// bits turned round.
func crc32BE(seed uint32, p []byte) uint32 {
	var turned [512]byte
	c := ^bits.Reverse32(seed)
	for len(p) > 0 {
		n := min(len(p), len(turned))
		for i, b := range p[:n] {
			turned[i] = bits.Reverse8(b)
		}
		c = crc32.Update(c, crc32.IEEETable, turned[:n])
		p = p[n:]
	}
	return bits.Reverse32(^c)
}

// without continues the CRC-32C over p as if the four bytes at off were zero.
func without(seed uint32, p []byte, off int) uint32 {
	c := crc32c(seed, p[:off])
	c = crc32c(c, make([]byte, 4))
	return crc32c(c, p[off+4:])
}

// tailRight says whether the checksum is right that ends a descriptor or a revoke block.
func (j *Journal) tailRight(p []byte) bool {
	if !j.blockChecksums() {
		return true
	}
	at := len(p) - tailSize
	return binary.BigEndian.Uint32(p[at:]) == without(j.seed, p, at)
}

// commitRight says whether the checksum of a commit block is right. sum is that
// of the transaction, which is what checksum v1 is about.
func (j *Journal) commitRight(p []byte, sum uint32) bool {
	found := binary.BigEndian.Uint32(p[commitChecksum:])
	switch {
	case j.blockChecksums():
		return found == without(j.seed, p, commitChecksum)
	case j.sumsTransactions():
		kind, size := p[commitChecksumType], p[commitChecksumSize]
		return kind == checksumCRC32 && size == 4 && found == sum || kind == 0 && size == 0 && found == 0
	}
	return true
}

// dataRight says whether p is what the tag was made for, in transaction sequence.
func (j *Journal) dataRight(t tag, sequence uint32, p []byte) bool {
	if !j.blockChecksums() {
		return true
	}
	var num [4]byte
	binary.BigEndian.PutUint32(num[:], sequence)
	c := crc32c(crc32c(j.seed, num[:]), p)
	if !j.hasIncompat(incompatCsumV3) {
		c &= 0xFFFF
	}
	return t.checksum == c
}
