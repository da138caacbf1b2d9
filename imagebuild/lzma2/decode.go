package lzma2

import "encoding/binary"

// Decoder decodes the chunks of one block after another, into a buffer that holds
// the whole block. It takes 28 KiB. The zero value is ready for the first chunk.
type Decoder struct {
	m         model
	dict      bool // the data has been reset: a block begins with that
	hasProps  bool
	needReset bool // the next compressed chunk has to begin with a new model
	start     int  // where in the buffer the data was reset
	symbols   []symbol
	record    bool
}

// symbol is a decision of who packed some data: n bytes that are literals, if dist
// is 0, or else a copy of those dist bytes before.
type symbol struct {
	dist, n uint32
}

// Reset prepares for the first chunk of a block.
func (d *Decoder) Reset() {
	d.dict, d.hasProps, d.needReset, d.start = false, false, false, 0
}

// Decode decodes a chunk, with its data as [Chunks.Next] returned it, into dst from
// pos on. dst[:pos] are the data of the chunks before.
func (d *Decoder) Decode(dst []byte, pos int, c Chunk, in []byte) error {
	d.symbols = d.symbols[:0]
	if c.Unpacked > len(dst)-pos {
		return corrupt("a chunk unpacks to %d bytes, where %d are left", c.Unpacked, len(dst)-pos)
	}
	if len(in) < c.packed+slack {
		return corrupt("a chunk is cut off")
	}
	if c.dictReset() {
		d.dict, d.hasProps, d.start = true, false, pos
	}
	if !d.dict {
		return corrupt("it does not begin with a new dictionary")
	}
	if !c.lzma() {
		copy(dst[pos:], in[:c.packed])
		d.needReset = true
		return nil
	}
	if c.control >= controlProps {
		if !d.m.setProps(c.props) {
			return corrupt("wrong properties %#02x", c.props)
		}
		d.hasProps = true
	}
	if !d.hasProps {
		return corrupt("a chunk comes before its properties")
	}
	if c.control >= controlState {
		d.m.reset()
	}
	d.needReset = false
	return d.lzma(dst[:pos+c.Unpacked], pos, in, c.packed)
}

// toward0 with a probability makes it, in v - (v + toward0)>>moveBits, that of a bit
// that was 0: xz's way to do it without a branch.
const toward0 = 1<<32 + 1<<moveBits - 1 - 1<<probBits

// either decodes a bit without a branch: what the bits of a symbol are cannot be
// foreseen, and processors lose more time on a branch that they take for another than
// on the few operations of both. It returns the probability, range and code behind the
// bit, and a mask of all ones for a bit that is 0, else 0. It is small enough to be
// inlined, on which the speed depends.
func either(p uint16, rng, code uint32) (_ uint16, _, _, mask uint32) {
	v := uint32(p)
	bound := (rng >> probBits) * v
	rest := uint64(code) - uint64(bound)
	mask = uint32(rest >> 32)
	rng -= bound
	return uint16(v - uint32(int32(v+mask&toward0)>>moveBits)), rng ^ (rng^bound)&mask, uint32(rest) + mask&bound, mask
}

// tree decodes a symbol of log2(len(probs)) bits, the highest first.
func tree(probs []uint16, rng, code uint32, in []byte, ip int) (uint32, uint32, uint32, int) {
	sym := uint32(1)
	for int(sym) < len(probs) {
		p := &probs[sym]
		var mask uint32
		*p, rng, code, mask = either(*p, rng, code)
		sym = sym<<1 + 1 + mask
		if rng < topValue {
			rng <<= 8
			code = code<<8 | uint32(in[ip])
			ip++
		}
	}
	return sym - uint32(len(probs)), rng, code, ip
}

// reverseTree decodes n bits, the lowest first. Probs has a power of 2 of them, and at
// least 1<<n.
func reverseTree(probs []uint16, n, rng, code uint32, in []byte, ip int) (uint32, uint32, uint32, int) {
	sym, out := uint32(1), uint32(0)
	for i := range n {
		p := &probs[int(sym)&(len(probs)-1)]
		var mask uint32
		*p, rng, code, mask = either(*p, rng, code)
		sym = sym<<1 + 1 + mask
		out += (1 + mask) << (i & 31)
		if rng < topValue {
			rng <<= 8
			code = code<<8 | uint32(in[ip])
			ip++
		}
	}
	return out, rng, code, ip
}

// bit decodes one bit.
func bit(p *uint16, rng, code uint32, in []byte, ip int) (uint32, uint32, uint32, int) {
	v := uint32(*p)
	bound := (rng >> probBits) * v
	var b uint32
	if code < bound {
		rng = bound
		*p = uint16(v + (1<<probBits-v)>>moveBits)
	} else {
		rng -= bound
		code -= bound
		*p = uint16(v - v>>moveBits)
		b = 1
	}
	if rng < topValue {
		rng <<= 8
		code = code<<8 | uint32(in[ip])
		ip++
	}
	return b, rng, code, ip
}

// length decodes the length of a match.
func (l *lenModel) length(posState, rng, code uint32, in []byte, ip int) (uint32, uint32, uint32, int) {
	var b, n uint32
	if b, rng, code, ip = bit(&l.choice, rng, code, in, ip); b == 0 {
		n, rng, code, ip = tree(l.low[posState&15][:], rng, code, in, ip)
		return n + minMatch, rng, code, ip
	}
	if b, rng, code, ip = bit(&l.choice2, rng, code, in, ip); b == 0 {
		n, rng, code, ip = tree(l.mid[posState&15][:], rng, code, in, ip)
		return n + minMatch + lowSymbols, rng, code, ip
	}
	n, rng, code, ip = tree(l.high[:], rng, code, in, ip)
	return n + minMatch + 2*lowSymbols, rng, code, ip
}

// distance decodes the distance, less 1, of a match of n bytes.
func (m *model) distance(n, rng, code uint32, in []byte, ip int) (uint32, uint32, uint32, int) {
	var slot uint32
	slot, rng, code, ip = tree(m.posSlot[lenState(n)&3][:], rng, code, in, ip)
	if slot < startPosModel {
		return slot, rng, code, ip
	}
	low := slot>>1 - 1
	dist := (2 | slot&1) << low
	if slot < endPosModel {
		base := dist - slot
		var bits uint32
		bits, rng, code, ip = reverseTree(m.posSpecial[base:base+32], low, rng, code, in, ip)
		return dist + bits, rng, code, ip
	}
	for i := low; i > alignBits; i-- {
		rng >>= 1
		code -= rng
		t := -(code >> 31) // all ones if the bit is 0
		code += rng & t
		dist += (t + 1) << (i - 1)
		if rng < topValue {
			rng <<= 8
			code = code<<8 | uint32(in[ip])
			ip++
		}
	}
	var bits uint32
	bits, rng, code, ip = reverseTree(m.posAlign[:], alignBits, rng, code, in, ip)
	return dist + bits, rng, code, ip
}

// lzma decodes a compressed chunk of packed bytes into dst[pos:].
func (d *Decoder) lzma(dst []byte, pos int, in []byte, packed int) error {
	m := &d.m
	if packed < 5 || in[0] != 0 {
		return corrupt("a chunk's range coder does not begin with 0")
	}
	rng, code, ip := ^uint32(0), binary.BigEndian.Uint32(in[1:]), 5
	state, rep0 := m.state, m.rep[0]
	start := d.start
	posMask, lpMask := 1<<m.pb-1, 1<<m.lp-1
	lc := m.lc
	literals := uint32(0) // of the present run
	record := d.record

	for pos < len(dst) {
		if ip > packed {
			return corrupt("a chunk's data ends too soon")
		}
		posState := uint32((pos-start)&posMask) & (posStatesMax - 1)
		var b uint32
		if b, rng, code, ip = bit(&m.isMatch[state][posState], rng, code, in, ip); b == 0 {
			prev := uint32(0)
			if pos > start {
				prev = uint32(dst[pos-1])
			}
			at := 0x300 * (uint32((pos-start)&lpMask)<<lc + prev>>(8-lc))
			probs := m.literal[at : at+0x300]
			sym := uint32(1)
			if state >= 7 {
				// The byte that a repeated match would have given is probably not it:
				// its bits select the model until the first one that differs.
				match := uint32(dst[pos-int(rep0)])
				offset := uint32(0x100)
				for sym < 0x100 {
					match <<= 1
					with := match & offset
					p := &probs[offset+with+sym]
					var mask uint32
					*p, rng, code, mask = either(*p, rng, code)
					sym = sym<<1 + 1 + mask
					offset = with ^ mask&offset
					if rng < topValue {
						rng <<= 8
						code = code<<8 | uint32(in[ip])
						ip++
					}
				}
			} else {
				sym, rng, code, ip = tree(probs[:0x100], rng, code, in, ip)
			}
			dst[pos] = byte(sym)
			pos++
			state = afterLiteral(state)
			literals++
			continue
		}

		var n uint32
		if b, rng, code, ip = bit(&m.isRep[state], rng, code, in, ip); b == 0 {
			m.rep[3], m.rep[2], m.rep[1] = m.rep[2], m.rep[1], rep0
			n, rng, code, ip = m.matchLen.length(posState, rng, code, in, ip)
			var dist uint32
			dist, rng, code, ip = m.distance(n, rng, code, in, ip)
			if dist == ^uint32(0) {
				return corrupt("an end marker within a chunk")
			}
			rep0 = dist + 1
			state = afterMatch(state)
		} else {
			if b, rng, code, ip = bit(&m.isRepG0[state], rng, code, in, ip); b == 0 {
				if b, rng, code, ip = bit(&m.isRep0Long[state][posState], rng, code, in, ip); b == 0 {
					n = 1
				}
			} else {
				if b, rng, code, ip = bit(&m.isRepG1[state], rng, code, in, ip); b == 0 {
					rep0, m.rep[1] = m.rep[1], rep0
				} else {
					if b, rng, code, ip = bit(&m.isRepG2[state], rng, code, in, ip); b == 0 {
						rep0, m.rep[1], m.rep[2] = m.rep[2], rep0, m.rep[1]
					} else {
						rep0, m.rep[1], m.rep[2], m.rep[3] = m.rep[3], rep0, m.rep[1], m.rep[2]
					}
				}
			}
			if n == 1 {
				state = afterShortRep(state)
			} else {
				n, rng, code, ip = m.repLen.length(posState, rng, code, in, ip)
				state = afterRep(state)
			}
		}
		if uint64(rep0) > uint64(pos-start) {
			return corrupt("a match points back %d bytes, where there are %d", rep0, pos-start)
		}
		if int(n) > len(dst)-pos {
			return corrupt("a match reaches past the end of its chunk")
		}
		if record {
			if literals > 0 {
				d.symbols = append(d.symbols, symbol{0, literals})
			}
			d.symbols = append(d.symbols, symbol{rep0, n})
		}
		literals = 0
		copyMatch(dst, pos, int(rep0), int(n))
		pos += int(n)
	}
	if record && literals > 0 {
		d.symbols = append(d.symbols, symbol{0, literals})
	}
	m.state, m.rep[0] = state, rep0
	if ip != packed || code != 0 {
		return corrupt("a chunk's data does not end where it should")
	}
	return nil
}

// wide is how much of a match is copied in pieces of 8 bytes.
const wide = 32

// copyMatch copies n bytes from dist bytes before pos, which may overlap: then they
// repeat.
func copyMatch(dst []byte, pos, dist, n int) {
	from := pos - dist
	if dist >= 8 && n <= wide && pos+wide <= len(dst) {
		// Most matches are short. What is written behind their ends is written again.
		to, of := dst[pos:pos+wide:pos+wide], dst[from:from+wide:from+wide]
		for i := 0; i < n && i <= wide-8; i += 8 {
			binary.LittleEndian.PutUint64(to[i:i+8], binary.LittleEndian.Uint64(of[i:i+8]))
		}
		return
	}
	if dist >= n {
		copy(dst[pos:pos+n], dst[from:from+n])
		return
	}
	for done := 0; done < n; {
		// What was copied can be copied from, and is a multiple of the distance.
		done += copy(dst[pos+done:pos+n], dst[from:pos+done])
	}
}
