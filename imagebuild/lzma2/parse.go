package lzma2

// parser decides what becomes a match, greedily with a look at the next byte. The
// rules are those of liblzma's fast mode (lzma_encoder_optimum_fast.c).
type parser struct {
	finder
	now, next []match // what was found at the present byte, and at the one behind it
}

// parse encodes e.data[e.pos:end] with matches that point back no farther than start.
func (p *parser) parse(e *encoder, start, end int) {
	p.reset(e.data[:end], start)
	for pos := start; pos < e.pos; pos++ { // so that it can be pointed to
		p.insert(pos)
	}
	have := false // next holds what there is at e.pos
	for e.pos < end {
		e.openChunk() // which may forget the last distances
		if have {
			p.now, p.next = p.next, p.now
		} else {
			p.now = p.find(p.now[:0], e.pos)
		}
		m := p.choose(e)
		if m.n >= minMatch && m.n < niceMatch && !m.rep && e.pos+2 < end {
			p.next, have = p.find(p.next[:0], e.pos+1), true
			if p.better(e, m) {
				p.literal(e)
				continue
			}
			p.skip(e.pos+2, e.pos+m.n)
		} else {
			p.skip(e.pos+1, e.pos+m.n)
		}
		have = false
		if m.n < minMatch {
			p.literal(e)
		} else {
			e.match(uint32(m.dist), m.n)
		}
	}
}

// choose returns what is best to be encoded at e.pos, as far as can be told from
// what was found there; less than minMatch bytes mean a literal.
func (p *parser) choose(e *encoder) match {
	rep := p.longestRep(e)
	if rep.n >= niceMatch {
		return rep
	}
	var m match
	list := p.now
	if len(list) > 0 {
		m = list[len(list)-1]
		if m.n >= niceMatch {
			return m
		}
		for i := len(list) - 2; i >= 0 && m.n == list[i].n+1 && muchFarther(list[i].dist, m.dist); i-- {
			m = list[i]
		}
		if m.n == minMatch && m.dist > 0x80 {
			m = match{}
		}
	}
	if rep.n >= minMatch && (rep.n+1 >= m.n || rep.n+2 >= m.n && m.dist > 1<<9 || rep.n+3 >= m.n && m.dist > 1<<15) {
		return rep
	}
	return m
}

// better reports whether a literal, and what was found behind it, is better than m.
func (p *parser) better(e *encoder, m match) bool {
	if len(p.next) > 0 {
		n := p.next[len(p.next)-1]
		switch {
		case n.n >= m.n && n.dist < m.dist,
			n.n == m.n+1 && !muchFarther(m.dist, n.dist),
			n.n > m.n+1,
			n.n+1 >= m.n && m.n >= 3 && muchFarther(n.dist, m.dist):
			return true
		}
	}
	limit := max(minMatch, m.n-1)
	pos := e.pos + 1
	if pos+limit > len(p.data) {
		return false
	}
	for _, d := range e.m.rep {
		if from := pos - int(d); from >= p.start && same(p.data[from:], p.data[pos:pos+limit]) == limit {
			return true
		}
	}
	return false
}

// muchFarther reports whether it takes many more bits to tell far than near.
func muchFarther(near, far int) bool { return far>>7 > near }

// literal encodes one byte, by the last distance if that gives it.
func (p *parser) literal(e *encoder) {
	if at := e.pos - int(e.m.rep[0]); at >= p.start && e.data[at] == e.data[e.pos] {
		e.single(e.m.rep[0])
		return
	}
	e.literal()
}

// longestRep returns the longest match by one of the last distances.
func (p *parser) longestRep(e *encoder) match {
	best := match{rep: true}
	limit := min(len(p.data)-e.pos, maxMatch)
	for _, d := range e.m.rep {
		if from := e.pos - int(d); from >= p.start {
			if n := same(p.data[from:], p.data[e.pos:e.pos+limit]); n > best.n {
				best.dist, best.n = int(d), n
			}
		}
	}
	return best
}
