package lzma2

import (
	"encoding/binary"
	"math/bits"
)

// Parameters of the search for matches.
const (
	maxDepth    = 24  // candidates that are looked at
	niceMatch   = 128 // a match of so many bytes is good enough
	minHashBits = 10
	maxHashBits = 20
	hash3Bits   = 16
	maxDist3    = 1 << 12 // a match of 3 bytes is not worth telling a longer distance
)

// MaxDistance is how far back matches point that are found here, in bytes: the size
// of the dictionary that it takes to unpack them.
const MaxDistance = 8 << 20

// match is a match that was found.
type match struct {
	dist, n int
	rep     bool // by one of the last distances
}

// finder finds earlier bytes that are the same: by hash chains of four bytes, and
// the last place with the same three. It keeps its tables for the next data.
type finder struct {
	head  []int32 // by hash: the last position with it, less start, plus 1
	chain []int32 // by position in the window: the one before with the same hash
	head3 []int32 // by hash of three bytes
	data  []byte
	start int // no match points back before it
	mask  int // of chain
	shift int // of hashes: head is only as large as the data makes it useful
}

func (f *finder) reset(data []byte, start int) {
	n := len(data) - start
	f.data, f.start = data, start
	window := 1 << 12
	for window < n && window < MaxDistance {
		window <<= 1
	}
	if len(f.chain) < window {
		f.chain = make([]int32, window)
	}
	f.mask = window - 1
	hashBits := min(max(bits.Len(uint(n)), minHashBits), maxHashBits)
	f.shift = 32 - hashBits
	f.head = cleared(f.head, 1<<hashBits)
	f.head3 = cleared(f.head3, 1<<hash3Bits)
}

// cleared returns n zeros, in the place of p if that is large enough.
func cleared(p []int32, n int) []int32 {
	if len(p) < n {
		return make([]int32, n)
	}
	clear(p[:n])
	return p
}

func (f *finder) hashes(pos int) (h4, h3 uint32) {
	v := binary.LittleEndian.Uint32(f.data[pos:])
	return v * 2654435761 >> f.shift, v << 8 * 2654435761 >> (32 - hash3Bits)
}

// insert lets later matches point to pos.
func (f *finder) insert(pos int) {
	if pos+4 > len(f.data) {
		return
	}
	h4, h3 := f.hashes(pos)
	rel := pos - f.start
	f.chain[rel&f.mask] = f.head[h4]
	f.head[h4], f.head3[h3] = int32(rel+1), int32(rel+1)
}

// skip inserts positions that a match covers.
func (f *finder) skip(from, to int) {
	for ; from < to; from++ {
		f.insert(from)
	}
}

// find appends the matches at pos to list, longer ones behind shorter ones, which are
// nearer; and inserts pos.
func (f *finder) find(list []match, pos int) []match {
	if pos+4 > len(f.data) {
		return list
	}
	h4, h3 := f.hashes(pos)
	rel := pos - f.start
	at, at3 := int(f.head[h4])-1, int(f.head3[h3])-1
	f.chain[rel&f.mask] = int32(at + 1)
	f.head[h4], f.head3[h3] = int32(rel+1), int32(rel+1)

	limit := min(len(f.data)-pos, maxMatch)
	here := f.data[pos : pos+limit]
	best := 0
	if at3 >= 0 && at3 != at && rel-at3 <= maxDist3 {
		if n := same(f.data[f.start+at3:], here); n >= 3 {
			list, best = append(list, match{dist: rel - at3, n: n}), n
		}
	}
	for range maxDepth {
		if at < 0 || rel-at > f.mask || best == limit {
			break
		}
		from := f.data[f.start+at:]
		if from[best] == here[best] {
			if n := same(from, here); n > max(best, 2) {
				list, best = append(list, match{dist: rel - at, n: n}), n
				if n >= niceMatch {
					break
				}
			}
		}
		at = int(f.chain[at&f.mask]) - 1
	}
	return list
}

// same returns how many bytes at the beginning of a and b are equal; a is at least
// as long as b.
func same(a, b []byte) int {
	n := 0
	for ; n+8 <= len(b); n += 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
