package ext4

import "math/bits"

// The hashes that a directory's index can be ordered by. The versions 3 to 5,
// which take the bytes of a name as unsigned, are never on disk: the
// superblock's flags tell.
const (
	hashLegacy  = 0
	hashHalfMD4 = 1
	hashTEA     = 2
)

// dirHash computes the hash of a name. Its lowest bit is always 0: in an index
// that bit says that the same hash goes on from the block before.
func (sb *superblock) dirHash(version byte, name []byte) uint32 {
	signed := sb.flags&flagUnsignedHash == 0
	state := [4]uint32{0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476}
	if sb.hashSeed != [4]uint32{} {
		state = sb.hashSeed
	}
	var h uint32
	switch version {
	case hashLegacy:
		h = legacyHash(name, signed)
	case hashHalfMD4:
		for p := name; len(p) > 0; p = p[min(len(p), 32):] {
			var in [8]uint32
			hashWords(p, in[:], signed)
			halfMD4(&state, &in)
		}
		h = state[1]
	default:
		for p := name; len(p) > 0; p = p[min(len(p), 16):] {
			var in [4]uint32
			hashWords(p, in[:], signed)
			tea(&state, &in)
		}
		h = state[0]
	}
	if h &^= 1; h == 0xFFFFFFFE { // reserved for the end of the directory
		h = 0xFFFFFFFC
	}
	return h
}

func hashByte(b byte, signed bool) uint32 {
	if signed {
		return uint32(int32(int8(b)))
	}
	return uint32(b)
}

// hashWords packs the beginning of p into words, filled up with its length.
func hashWords(p []byte, words []uint32, signed bool) {
	pad := uint32(len(p)) | uint32(len(p))<<8
	pad |= pad << 16
	for w := range words {
		words[w] = pad
		if part := p[min(len(p), 4*w):min(len(p), 4*w+4)]; len(part) > 0 {
			for _, b := range part {
				words[w] = hashByte(b, signed) + words[w]<<8
			}
		}
	}
}

func legacyHash(name []byte, signed bool) uint32 {
	h0, h1 := uint32(0x12A3FE2D), uint32(0x37ABE8F9)
	for _, b := range name {
		h := h1 + (h0 ^ hashByte(b, signed)*7152373)
		if h&0x80000000 != 0 {
			h -= 0x7FFFFFFF
		}
		h0, h1 = h, h0
	}
	return h0 << 1
}

// tea mixes one block of a name into the state with the Tiny Encryption Algorithm.
func tea(state, in *[4]uint32) {
	b0, b1 := state[0], state[1]
	sum := uint32(0)
	for range 16 {
		sum += 0x9E3779B9
		b0 += (b1<<4 + in[0]) ^ (b1 + sum) ^ (b1>>5 + in[1])
		b1 += (b0<<4 + in[2]) ^ (b0 + sum) ^ (b0>>5 + in[3])
	}
	state[0] += b0
	state[1] += b1
}

// halfMD4 mixes one block of a name into the state with MD4's three rounds, of eight steps each.
func halfMD4(state *[4]uint32, in *[8]uint32) {
	a, b, c, d := state[0], state[1], state[2], state[3]
	round := func(f func(x, y, z uint32) uint32, k uint32, order [8]int, shift [4]int) {
		for i := range order {
			a = bits.RotateLeft32(a+f(b, c, d)+in[order[i]]+k, shift[i%4])
			a, b, c, d = d, a, b, c
		}
	}
	round(func(x, y, z uint32) uint32 { return z ^ x&(y^z) }, 0, [8]int{0, 1, 2, 3, 4, 5, 6, 7}, [4]int{3, 7, 11, 19})
	round(func(x, y, z uint32) uint32 { return x&y + (x^y)&z }, 0x5A827999, [8]int{1, 3, 5, 7, 0, 2, 4, 6}, [4]int{3, 5, 9, 13})
	round(func(x, y, z uint32) uint32 { return x ^ y ^ z }, 0x6ED9EBA1, [8]int{3, 7, 2, 6, 1, 5, 0, 4}, [4]int{3, 9, 11, 15})
	state[0] += a
	state[1] += b
	state[2] += c
	state[3] += d
}
