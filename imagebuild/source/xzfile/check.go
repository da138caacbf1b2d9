package xzfile

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
)

// A Check is the kind of integrity check that ends every block of a stream.
type Check byte

// The checks that have been assigned. Others are reserved: their size is known,
// how to compute them is not.
const (
	CheckNone   Check = 0x00
	CheckCRC32  Check = 0x01
	CheckCRC64  Check = 0x04
	CheckSHA256 Check = 0x0a
)

// String returns the name that xz -l uses.
func (c Check) String() string {
	switch c {
	case CheckNone:
		return "None"
	case CheckCRC32:
		return "CRC32"
	case CheckCRC64:
		return "CRC64"
	case CheckSHA256:
		return "SHA-256"
	}
	return fmt.Sprintf("Unknown-%d", byte(c))
}

// Size returns the number of bytes that the check takes in the file: 0, 4, 8, 16, 32 or 64.
func (c Check) Size() int {
	if c == 0 {
		return 0
	}
	return 4 << ((c - 1) / 3)
}

// Verifiable says whether the check can be computed. Damage in blocks whose
// check is absent or unknown may go unnoticed.
func (c Check) Verifiable() bool {
	return c == CheckCRC32 || c == CheckCRC64 || c == CheckSHA256
}

// newHash returns the check's hash, or nil. Its sum has the byte order of the file.
func (c Check) newHash() hash.Hash {
	switch c {
	case CheckCRC32:
		return littleEndian{crc32.NewIEEE()}
	case CheckCRC64:
		return littleEndian{crc64.New(crc64.MakeTable(crc64.ECMA))}
	case CheckSHA256:
		return sha256.New()
	}
	return nil
}

// littleEndian turns round the sum of a hash: Go's CRCs write big-endian sums.
type littleEndian struct{ hash.Hash }

func (h littleEndian) Sum(b []byte) []byte {
	n := len(b)
	b = h.Hash.Sum(b)
	for i, j := n, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return b
}
