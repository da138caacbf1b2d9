package lzma2

// rangeEncoder turns bits and their probabilities into bytes.
type rangeEncoder struct {
	low   uint64
	rng   uint32
	cache byte
	held  int // bytes held back since a carry may still change them: cache, and 0xffs behind it
	out   []byte
}

// begin starts a chunk's data at the end of out.
func (e *rangeEncoder) begin() { e.low, e.rng, e.cache, e.held = 0, ^uint32(0), 0, 1 }

// pending returns how many bytes end would append to out.
func (e *rangeEncoder) pending() int { return e.held + 4 }

// end writes out everything.
func (e *rangeEncoder) end() {
	for range 5 {
		e.shift()
	}
}

// shift moves the highest byte of low out.
func (e *rangeEncoder) shift() {
	if e.low < 0xff<<24 || e.low > 1<<32-1 {
		carry := byte(e.low >> 32)
		e.out = append(e.out, e.cache+carry)
		for ; e.held > 1; e.held-- {
			e.out = append(e.out, 0xff+carry)
		}
		e.held = 0
		e.cache = byte(e.low >> 24)
	}
	e.held++
	e.low = e.low & 0x00ffffff << 8
}

func (e *rangeEncoder) bit(p *uint16, b uint32) {
	v := uint32(*p)
	bound := (e.rng >> probBits) * v
	if b == 0 {
		e.rng = bound
		*p = uint16(v + (1<<probBits-v)>>moveBits)
	} else {
		e.low += uint64(bound)
		e.rng -= bound
		*p = uint16(v - v>>moveBits)
	}
	if e.rng < topValue {
		e.rng <<= 8
		e.shift()
	}
}

// tree encodes a symbol below limit, a power of two, the highest bit first.
func (e *rangeEncoder) tree(probs []uint16, limit, sym uint32) {
	at := uint32(1)
	for bit := limit >> 1; bit > 0; bit >>= 1 {
		b := uint32(0)
		if sym&bit != 0 {
			b = 1
		}
		e.bit(&probs[at], b)
		at = at<<1 | b
	}
}

// direct encodes the lowest n bits of v, which are as likely 0 as 1.
func (e *rangeEncoder) direct(v, n uint32) {
	for n > 0 {
		n--
		e.rng >>= 1
		if v>>n&1 != 0 {
			e.low += uint64(e.rng)
		}
		if e.rng < topValue {
			e.rng <<= 8
			e.shift()
		}
	}
}
