package lzma2

import "encoding/binary"

// Parameters of the search for matches: about those of xz -3.
const (
	hashBits  = 16
	maxDepth  = 24      // candidates that are looked at
	niceMatch = 64      // a match of so many bytes is good enough
	maxWindow = 4 << 20 // bytes back
)

// parser decides what becomes a match, greedily with a look at the next byte, as
// LZMA's fast mode does. It keeps its tables for the next data.
type parser struct {
	head  []int32 // by hash: the last position with it, less start, plus 1
	chain []int32 // by position in the window: the one before with the same hash
	data  []byte
	start int // no match points back before it
	mask  int // of chain
}

// match is a match that was found.
type match struct{ dist, n int }

// parse encodes data[e.pos:end] with matches that point back no farther than start.
func (p *parser) parse(e *Encoder, start, end int) {
	p.prepare(e.data[:end], start, end-start)
	for pos := start; pos < e.pos; pos++ { // so that it can be pointed to
		p.insert(pos)
	}
	var next match
	have := false
	for e.pos < end {
		e.openChunk() // which may forget the last distances
		m := next
		if !have {
			m = p.find(e.pos)
		}
		have = false
		rep := p.longestRep(e)
		if rep.n >= minMatch && (rep.n+1 >= m.n || rep.n+2 >= m.n && m.dist > 1<<9 || rep.n+3 >= m.n && m.dist > 1<<15) {
			m = rep
		} else if m.n >= minMatch && m.n < niceMatch && e.pos+1 < end {
			// A literal and a better match behind it may be better still.
			p.insert(e.pos)
			next, have = p.find(e.pos+1), true
			if next.n > m.n+1 || next.n == m.n+1 && next.dist>>7 <= m.dist || next.n == m.n && next.dist < m.dist>>7 {
				p.literal(e)
				continue
			}
			p.skip(e.pos+1, e.pos+m.n)
			e.match(uint32(m.dist), m.n)
			have = false
			continue
		}
		p.insert(e.pos)
		if m.n < minMatch || m.n == minMatch && m.dist > 0x80 && m != rep {
			p.literal(e)
			continue
		}
		p.skip(e.pos+1, e.pos+m.n)
		e.match(uint32(m.dist), m.n)
	}
}

// literal encodes one byte, by the last distance if that gives it.
func (p *parser) literal(e *Encoder) {
	if at := e.pos - int(e.m.rep[0]); at >= p.start && e.data[at] == e.data[e.pos] {
		e.single(e.m.rep[0])
		return
	}
	e.literal()
}

func (p *parser) prepare(data []byte, start, n int) {
	p.data, p.start = data, start
	window := 1 << 12
	for window < n && window < maxWindow {
		window <<= 1
	}
	if len(p.chain) < window {
		p.chain = make([]int32, window)
	}
	p.mask = window - 1
	if p.head == nil {
		p.head = make([]int32, 1<<hashBits)
	} else {
		clear(p.head)
	}
}

func (p *parser) hash(pos int) uint32 {
	return binary.LittleEndian.Uint32(p.data[pos:]) * 2654435761 >> (32 - hashBits)
}

func (p *parser) insert(pos int) {
	if pos+4 > len(p.data) {
		return
	}
	h := p.hash(pos)
	p.chain[(pos-p.start)&p.mask] = p.head[h]
	p.head[h] = int32(pos - p.start + 1)
}

// skip inserts positions that a match covers.
func (p *parser) skip(from, to int) {
	for ; from < to; from++ {
		p.insert(from)
	}
}

// find returns the longest match at pos, of at least 4 bytes.
func (p *parser) find(pos int) match {
	var best match
	if pos+4 > len(p.data) {
		return best
	}
	limit := min(len(p.data)-pos, maxMatch)
	at := int(p.head[p.hash(pos)]) - 1
	rel := pos - p.start
	for range maxDepth {
		if at < 0 || rel-at > p.mask || at >= rel {
			break
		}
		from := p.start + at
		if best.n == 0 || p.data[from+best.n] == p.data[pos+best.n] {
			if n := same(p.data[from:], p.data[pos:pos+limit]); n > best.n && n >= 4 {
				best = match{pos - from, n}
				if n >= niceMatch || n == limit {
					break
				}
			}
		}
		at = int(p.chain[at&p.mask]) - 1
	}
	return best
}

// longestRep returns the longest match by one of the last distances.
func (p *parser) longestRep(e *Encoder) match {
	var best match
	limit := min(len(p.data)-e.pos, maxMatch)
	for _, d := range e.m.rep {
		if from := e.pos - int(d); from >= p.start {
			if n := same(p.data[from:], p.data[e.pos:e.pos+limit]); n > best.n {
				best = match{int(d), n}
			}
		}
	}
	return best
}

// same returns how many bytes at the beginning of a and b are equal; a is at least
// as long as b.
func same(a, b []byte) int {
	n := 0
	for ; n+8 <= len(b); n += 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			for x&0xff == 0 {
				x >>= 8
				n++
			}
			return n
		}
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
