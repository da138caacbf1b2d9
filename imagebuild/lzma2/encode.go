package lzma2

import "math/bits"

// defaultProps are lc=3, lp=0, pb=2: xz's own, unless it is told others.
const defaultProps = (2*5+0)*9 + 3

// encoder writes the chunks of a block, or of a part of one, whose data is in a flat
// buffer. It decides nothing: who uses it says which bytes are literals and which
// are matches.
type encoder struct {
	rc    rangeEncoder
	m     model
	data  []byte // the whole block
	pos   int    // what was encoded ends here
	chunk int    // where the present chunk begins in data
	head  int    // and in rc.out
	open  bool   // there is a present chunk, and it is compressed
	reset int    // what the next compressed chunk must begin with
}

// What a compressed chunk begins with, in the order of its first byte.
const (
	resetNothing = iota
	resetState
	resetProps
	resetDict
)

// begin starts at offset pos of data, which is a block's. The chunks that it writes
// may stand behind any others of that block, or begin it, if they are to be the first.
func (e *encoder) begin(data []byte, pos int, props byte, first bool) {
	e.data, e.pos = data, pos
	e.m.setProps(props)
	e.reset = resetProps
	if first {
		e.reset = resetDict
	}
}

// clear forgets the chunks that were written.
func (e *encoder) clear() { e.rc.out, e.open = e.rc.out[:0], false }

// keep appends a chunk that was there before.
func (e *encoder) keep(header, data []byte) {
	e.rc.out = append(append(e.rc.out, header...), data...)
}

// goOn goes on at offset pos of data, behind chunks that were kept, with all that a
// decoder knows that has decoded them. Props are used if it has met none.
func (e *encoder) goOn(data []byte, pos int, d *Decoder, props byte) {
	e.data, e.pos = data, pos
	e.m = d.m
	if !d.hasProps {
		e.m.setProps(props)
	}
	switch {
	case !d.dict:
		e.reset = resetDict
	case !d.hasProps:
		e.reset = resetProps
	case d.needReset:
		e.reset = resetState
	default:
		e.reset = resetNothing
	}
}

// finish ends the present chunk and returns all chunks that were written since they
// were cleared, without an end marker. They are valid until more are.
func (e *encoder) finish() []byte {
	e.closeChunk()
	return e.rc.out
}

// openChunk begins a compressed chunk, unless there is one with room for a symbol.
func (e *encoder) openChunk() {
	const longestSymbol = 20
	if e.open {
		packed := len(e.rc.out) - e.head - maxChunkHeader + e.rc.pending()
		if packed <= maxChunkData-longestSymbol && e.pos-e.chunk <= maxChunkUnpacks-maxMatch {
			return
		}
		e.closeChunk()
	}
	e.chunk, e.head, e.open = e.pos, len(e.rc.out), true
	e.rc.out = append(e.rc.out, make([]byte, maxChunkHeader)...)
	if e.reset >= resetState {
		e.m.reset()
	}
	e.rc.begin()
}

// closeChunk ends the present chunk. If its data packs to no less, it is written
// as it is.
func (e *encoder) closeChunk() {
	if !e.open {
		return
	}
	e.open = false
	e.rc.end()
	begin := e.head + maxChunkHeader
	packed, unpacked := len(e.rc.out)-begin, e.pos-e.chunk
	if packed >= unpacked {
		e.rc.out = e.rc.out[:e.head]
		e.writeRaw(e.data[e.chunk:e.pos])
		return
	}
	h := e.rc.out[e.head:begin]
	n, p := unpacked-1, packed-1
	h[0] = byte(controlLZMA + e.reset<<5 + n>>16)
	h[1], h[2], h[3], h[4], h[5] = byte(n>>8), byte(n), byte(p>>8), byte(p), e.m.props()
	if e.reset < resetProps { // the header has no properties
		copy(e.rc.out[begin-1:], e.rc.out[begin:])
		e.rc.out = e.rc.out[:len(e.rc.out)-1]
	}
	e.reset = resetNothing
}

// writeRaw appends chunks that are not compressed.
func (e *encoder) writeRaw(p []byte) {
	for len(p) > 0 {
		n := min(len(p), maxChunkData)
		control := byte(controlRaw)
		switch e.reset {
		case resetDict:
			control, e.reset = controlRawReset, resetProps
		case resetNothing:
			e.reset = resetState
		}
		e.rc.out = append(e.rc.out, control, byte((n-1)>>8), byte(n-1))
		e.rc.out = append(e.rc.out, p[:n]...)
		p = p[n:]
	}
}

// raw writes the next n bytes of the data without compressing them.
func (e *encoder) raw(n int) {
	e.closeChunk()
	e.writeRaw(e.data[e.pos : e.pos+n])
	e.pos += n
}

func (e *encoder) posState() uint32 { return uint32(e.pos) & (1<<e.m.pb - 1) & (posStatesMax - 1) }

// literals encodes the next n bytes of the data as they are.
func (e *encoder) literals(n int) {
	for range n {
		e.literal()
	}
}

func (e *encoder) literal() {
	e.openChunk()
	m := &e.m
	e.rc.bit(&m.isMatch[m.state][e.posState()], 0)
	prev := uint32(0)
	if e.pos > 0 {
		prev = uint32(e.data[e.pos-1])
	}
	at := 0x300 * (uint32(e.pos)&(1<<m.lp-1)<<m.lc + prev>>(8-m.lc))
	probs := m.literal[at : at+0x300]
	sym := uint32(e.data[e.pos])
	if m.state < 7 {
		e.rc.tree(probs, 0x100, sym)
	} else {
		match := uint32(e.data[e.pos-int(m.rep[0])])
		offset := uint32(0x100)
		sym |= 0x100
		for range 8 {
			match <<= 1
			with := match & offset
			b := sym >> 7 & 1
			e.rc.bit(&probs[offset+with+sym>>8], b)
			sym <<= 1
			if b == 0 {
				offset &^= with
			} else {
				offset = with
			}
		}
	}
	m.state = afterLiteral(m.state)
	e.pos++
}

// single encodes the next byte of the data, which is the one dist bytes before: by
// that, if it is the last distance.
func (e *encoder) single(dist uint32) {
	e.openChunk()
	m := &e.m
	if m.rep[0] != dist {
		e.literal()
		return
	}
	e.rc.bit(&m.isMatch[m.state][e.posState()], 1)
	e.rc.bit(&m.isRep[m.state], 1)
	e.rc.bit(&m.isRepG0[m.state], 0)
	e.rc.bit(&m.isRep0Long[m.state][e.posState()], 0)
	m.state = afterShortRep(m.state)
	e.pos++
}

// match encodes the next n bytes of the data, minMatch to maxMatch, as those dist
// bytes before.
func (e *encoder) match(dist uint32, n int) {
	e.openChunk()
	m := &e.m
	posState := e.posState()
	e.rc.bit(&m.isMatch[m.state][posState], 1)
	rep := 0
	for rep < len(m.rep) && m.rep[rep] != dist {
		rep++
	}
	if rep == len(m.rep) {
		e.rc.bit(&m.isRep[m.state], 0)
		e.length(&m.matchLen, posState, uint32(n))
		e.distance(dist-1, uint32(n))
		m.rep = [4]uint32{dist, m.rep[0], m.rep[1], m.rep[2]}
		m.state = afterMatch(m.state)
		e.pos += n
		return
	}
	e.rc.bit(&m.isRep[m.state], 1)
	if rep == 0 {
		e.rc.bit(&m.isRepG0[m.state], 0)
		e.rc.bit(&m.isRep0Long[m.state][posState], 1)
	} else {
		e.rc.bit(&m.isRepG0[m.state], 1)
		if rep == 1 {
			e.rc.bit(&m.isRepG1[m.state], 0)
		} else {
			e.rc.bit(&m.isRepG1[m.state], 1)
			e.rc.bit(&m.isRepG2[m.state], uint32(rep-2))
		}
		copy(m.rep[1:rep+1], m.rep[:rep])
		m.rep[0] = dist
	}
	e.length(&m.repLen, posState, uint32(n))
	m.state = afterRep(m.state)
	e.pos += n
}

func (e *encoder) length(l *lenModel, posState, n uint32) {
	n -= minMatch
	switch {
	case n < lowSymbols:
		e.rc.bit(&l.choice, 0)
		e.rc.tree(l.low[posState][:], lowSymbols, n)
	case n < 2*lowSymbols:
		e.rc.bit(&l.choice, 1)
		e.rc.bit(&l.choice2, 0)
		e.rc.tree(l.mid[posState][:], lowSymbols, n-lowSymbols)
	default:
		e.rc.bit(&l.choice, 1)
		e.rc.bit(&l.choice2, 1)
		e.rc.tree(l.high[:], 256, n-2*lowSymbols)
	}
}

// slotOf returns the two highest bits of a distance, and how many there are below.
func slotOf(dist uint32) uint32 {
	if dist < startPosModel {
		return dist
	}
	n := uint32(bits.Len32(dist)) - 1
	return n<<1 | dist>>(n-1)&1
}

// distance encodes a distance, less 1, of a match of n bytes.
func (e *encoder) distance(dist, n uint32) {
	m := &e.m
	slot := slotOf(dist)
	e.rc.tree(m.posSlot[lenState(n)][:], posSlots, slot)
	if slot < startPosModel {
		return
	}
	low := slot>>1 - 1
	high := (2 | slot&1) << low
	if slot < endPosModel {
		base, sym := high-slot, uint32(1)
		for i := range low {
			b := dist >> i & 1
			e.rc.bit(&m.posSpecial[base+sym], b)
			sym = sym<<1 | b
		}
		return
	}
	e.rc.direct(dist&(1<<low-1)>>alignBits, low-alignBits)
	sym := uint32(1)
	for i := range uint32(alignBits) {
		b := dist >> i & 1
		e.rc.bit(&m.posAlign[sym], b)
		sym = sym<<1 | b
	}
}
