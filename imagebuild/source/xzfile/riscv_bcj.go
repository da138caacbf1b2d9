package xzfile

// Of RISC-V, two things are undone: JAL, and AUIPC with the instruction behind it
// that uses its result. Both are of four bytes, at even addresses.
const (
	opJAL    = 0xef // with bit 7 of rd, which x1 and x5 have
	opAUIPC  = 0x17
	opcode   = 0x7f       // mask of the opcode
	rdShift  = 7          // where rd is, of five bits
	rs1Shift = 15         // where rs1 is
	upper    = 0xfffff000 // the address of AUIPC
)

func undoRISCV(pos uint32, p []byte) int {
	i := 0
	for i+8 <= len(p) {
		q := p[i : i+8]
		switch {
		case q[0] == opJAL && q[1]&0x0d == 0: // rd is x1 or x5
			undoJAL(pos+uint32(i), q)
			i += 4
		case q[0]&opcode == opAUIPC:
			i += undoAUIPC(pos+uint32(i), q)
		default:
			i += 2
		}
	}
	return i
}

// undoJAL undoes a jump. The encoder stores bits 20 to 1 of the absolute address
// with the high ones first; the instruction has them as 20, 10:1, 11, 19:12.
func undoJAL(pc uint32, p []byte) {
	v := le.Uint32(p)
	addr := (v>>12&0xf<<16 | v>>16&0xff<<8 | v>>24) << 1
	addr -= pc
	v = v&0xfff | addr&0xff000 | addr>>11&1<<20 | addr>>1&0x3ff<<21 | addr>>20&1<<31
	le.PutUint32(p, v)
}

// undoAUIPC undoes a pair of instructions, and returns how many of its bytes are
// done. The encoder marks a pair by rd = x2 in the first, which keeps the low 20 bits
// of the second; the absolute address takes the second's place, high byte first.
// What happened to look like that mark was turned into a pair, without a change of
// address, and is turned back.
func undoAUIPC(pc uint32, p []byte) int {
	first, second := le.Uint32(p), le.Uint32(p[4:])
	if rd := first >> rdShift & 0x1f; rd != 0 && rd != 2 {
		if second&3 != 3 || second>>rs1Shift&0x1f != rd {
			return 6 // no pair; the second may be the first of one
		}
		le.PutUint32(p, opAUIPC|2<<rdShift|second<<12)
		le.PutUint32(p[4:], first&upper+second>>20)
		return 8
	}
	// The second's low 20 bits are in the high ones of the first: its two lowest
	// bits must be set, and its rs1 is what rd was, neither x0 nor x2.
	rd := first >> 27
	if first>>rdShift&0x1f != 2 || first>>12&3 != 3 || rd == 0 || rd == 2 {
		return 4
	}
	addr := be.Uint32(p[4:]) - pc
	le.PutUint32(p, opAUIPC|rd<<rdShift|(addr+0x800)&upper) // the second's part has a sign
	le.PutUint32(p[4:], first>>12|addr<<20)
	return 8
}
