package ext4

import (
	"encoding/binary"
	"math/bits"
)

// pageBits is how many members of a bitset are kept together: a page exists
// only where there is one.
const pageBits = 1 << 15

// bitset is a set of block or inode numbers.
type bitset map[uint64]*[pageBits / 8]byte

func (s bitset) page(i uint64) *[pageBits / 8]byte {
	p := s[i/pageBits]
	if p == nil {
		p = new([pageBits / 8]byte)
		s[i/pageBits] = p
	}
	return p
}

func (s bitset) has(i uint64) bool {
	p := s[i/pageBits]
	return p != nil && p[i%pageBits/8]&(1<<(i%8)) != 0
}

// add adds i, and says whether it was in the set.
func (s bitset) add(i uint64) (was bool) {
	b := &s.page(i)[i%pageBits/8]
	was = *b&(1<<(i%8)) != 0
	*b |= 1 << (i % 8)
	return was
}

// addRun adds n numbers from i on, and calls twice with each that was in the
// set, as runs.
func (s bitset) addRun(i, n uint64, twice func(i, n uint64)) {
	for n > 0 {
		p := s.page(i)
		at := i % pageBits / 8
		if b := &p[at]; i%8 == 0 && n >= 8 && (*b == 0 || *b == 0xFF) {
			if *b != 0 {
				twice(i, 8)
			}
			*b = 0xFF
			i, n = i+8, n-8
			continue
		}
		if mask := byte(1) << (i % 8); p[at]&mask != 0 {
			twice(i, 1)
		} else {
			p[at] |= mask
		}
		i, n = i+1, n-1
	}
}

// runs calls fn with each stretch of members of [i, i+n).
func (s bitset) runs(i, n uint64, fn func(i, n uint64)) {
	for end := i + n; i < end; {
		p := s[i/pageBits]
		if p == nil {
			i = (i/pageBits + 1) * pageBits
			continue
		}
		if i%8 == 0 && p[i%pageBits/8] == 0 {
			i += 8
			continue
		}
		if !s.has(i) {
			i++
			continue
		}
		from := i
		for i < end && s.has(i) {
			i++
		}
		fn(from, i-from)
	}
}

// bytes fills out with the bits of the set from i on, which is a multiple of 8.
func (s bitset) bytes(i uint64, out []byte) {
	for len(out) > 0 {
		at := i % pageBits / 8
		n := min(len(out), int(pageBits/8-at))
		if p := s[i/pageBits]; p != nil {
			copy(out[:n], p[at:])
		} else {
			clear(out[:n])
		}
		i, out = i+uint64(n)*8, out[n:]
	}
}

// countBits is the number of bits that are set in p.
func countBits(p []byte) uint32 {
	n := 0
	for ; len(p) >= 8; p = p[8:] {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(p))
	}
	for _, b := range p {
		n += bits.OnesCount8(b)
	}
	return uint32(n)
}

// perInode has a number for each inode, kept in pages as a bitset is.
type perInode[T uint8 | uint16] map[uint32]*[4096]T

func (c perInode[T]) get(i uint32) T {
	if p := c[i/4096]; p != nil {
		return p[i%4096]
	}
	return 0
}

func (c perInode[T]) set(i uint32, n T) {
	p := c[i/4096]
	if p == nil {
		p = new([4096]T)
		c[i/4096] = p
	}
	p[i%4096] = n
}
