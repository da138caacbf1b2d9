package xzfile

import (
	"encoding/binary"
	"math/bits"
)

// The filters for machine code replace the addresses in calls and jumps, which are
// relative to the instruction, by absolute ones, since calls of one function from
// many places then look alike. What is taken for such an instruction is defined by
// nothing but liblzma (src/liblzma/simple), with which these functions agree.

// each undoes a filter of instructions of n bytes that stand at multiples of n.
func each(n int, undo func(pc uint32, p []byte)) converter {
	return func(pos uint32, p []byte) int {
		i := 0
		for ; i+n <= len(p); i += n {
			undo(pos+uint32(i), p[i:i+n])
		}
		return i
	}
}

// Orders of bytes.
var (
	le = binary.LittleEndian
	be = binary.BigEndian
)

// undoPowerPC undoes bl: opcode 18, no absolute address, with link.
func undoPowerPC(pc uint32, p []byte) {
	if v := be.Uint32(p); v&0xfc000003 == 0x48000001 {
		be.PutUint32(p, 0x48000001|(v-pc)&0x03fffffc)
	}
}

// undoARM undoes BL without a condition. Addresses count from two instructions on.
func undoARM(pc uint32, p []byte) {
	if v := le.Uint32(p); v>>24 == 0xeb {
		le.PutUint32(p, 0xeb000000|((v<<2-pc-8)>>2)&0x00ffffff)
	}
}

// undoSPARC undoes call, of those whose address has 23 bits with their sign.
func undoSPARC(pc uint32, p []byte) {
	const opcode, negative = 0x40000000, 0x3fc00000
	v := be.Uint32(p)
	if v>>22 != opcode>>22 && v>>22 != (opcode|negative)>>22 {
		return
	}
	addr := v - pc>>2
	v = opcode | addr&0x003fffff
	if addr&0x00400000 != 0 {
		v |= negative
	}
	be.PutUint32(p, v)
}

// undoARM64 undoes BL, and ADRP of addresses less than 512 MiB away.
func undoARM64(pc uint32, p []byte) {
	v := le.Uint32(p)
	switch {
	case v>>26 == 0x25:
		le.PutUint32(p, 0x94000000|(v-pc>>2)&0x03ffffff)
	case v&0x9f000000 == 0x90000000:
		page := v>>29&3 | v>>3&0x1ffffc
		if (page+0x20000)&0x1c0000 != 0 {
			return
		}
		page -= pc >> 12
		v = v&0x9000001f | page&3<<29 | page&0x3fffc<<3
		if page&0x20000 != 0 {
			v |= 0x00e00000 // its sign
		}
		le.PutUint32(p, v)
	}
}

// undoARMThumb undoes BL, which is a pair of instructions of two bytes. Addresses
// count from behind it.
func undoARMThumb(pos uint32, p []byte) int {
	i := 0
	for ; i+4 <= len(p); i += 2 {
		high, low := uint32(le.Uint16(p[i:])), uint32(le.Uint16(p[i+2:]))
		if high>>11 != 0x1e || low>>11 != 0x1f {
			continue
		}
		addr := ((high&0x7ff<<11|low&0x7ff)<<1 - (pos + uint32(i) + 4)) >> 1
		le.PutUint16(p[i:], uint16(0x1e<<11|addr>>11&0x7ff))
		le.PutUint16(p[i+2:], uint16(0x1f<<11|addr&0x7ff))
		i += 2
	}
	return i
}

// undoIA64 undoes br.call in a bundle of three instructions of 41 bits.
func undoIA64(pc uint32, p []byte) {
	// Which of the three slots are branches, by the bundle's template.
	branches := [32]byte{16: 4, 17: 4, 18: 6, 19: 6, 22: 7, 23: 7, 24: 4, 25: 4, 28: 4, 29: 4}[p[0]&0x1f]
	for slot := range 3 {
		if branches>>slot&1 == 0 {
			continue
		}
		bit := 5 + 41*slot
		q := p[bit/8:][:6]
		shift := bit % 8
		word := uint64(le.Uint32(q)) | uint64(le.Uint16(q[4:]))<<32
		v := word >> shift
		if v>>37&0xf != 5 || v>>9&7 != 0 {
			continue
		}
		const low, high = 0xfffff << 13, 1 << 36 // where the address is
		addr := uint32(v>>13&0xfffff|v>>36&1<<20) - pc>>4
		v = v&^(low|high) | uint64(addr&0xfffff)<<13 | uint64(addr>>20&1)<<36
		word = word&(1<<shift-1) | v<<shift
		le.PutUint32(q, uint32(word))
		le.PutUint16(q[4:], uint16(word>>32))
	}
}

// x86 undoes CALL and JMP with addresses of 32 bits, which count from behind the
// instruction. Instructions may begin at any byte; those that may be part of an
// earlier one are treated with care.
type x86 struct {
	// Bit k-1 is set if the byte k places back might have begun an instruction,
	// and was left as it was: at all, and with an address that is plausible.
	opcodes, plausible byte
}

func (x *x86) undo(pos uint32, p []byte) int {
	i := 0
	for i+5 <= len(p) {
		opcode := p[i]&0xfe == 0xe8
		plausible := opcode && isSign(p[i+4])
		if !plausible || x.plausible != 0 || bits.OnesCount8(x.opcodes) > 1 {
			x.opcodes = x.opcodes << 1 & 7
			x.plausible = x.plausible << 1 & 7
			if opcode {
				x.opcodes |= 1
			}
			if plausible {
				x.plausible |= 1
			}
			i++
			continue
		}
		pc := pos + uint32(i) + 5
		addr := le.Uint32(p[i+1:]) - pc
		if x.opcodes != 0 {
			// The last byte of what the earlier one would begin is in the address. It
			// was no sign, and the encoder saw to it that it is none now.
			rest := 32 - 8*bits.Len8(x.opcodes)
			if isSign(byte(addr >> (rest - 8))) {
				addr = addr ^ (1<<rest - 1) - pc
			}
		}
		addr &= 0x01ffffff
		if addr&0x01000000 != 0 {
			addr |= 0xff000000
		}
		le.PutUint32(p[i+1:], addr)
		x.opcodes, x.plausible = 0, 0
		i += 5
	}
	return i
}

// isSign says whether b is the highest byte of a small number, positive or negative.
func isSign(b byte) bool { return b == 0 || b == 0xff }
