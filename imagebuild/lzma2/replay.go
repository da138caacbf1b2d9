package lzma2

import (
	"fmt"
	"io"
	"slices"
)

// Span is a range of a block's unpacked bytes.
type Span struct{ From, To int }

// Part is a part of an edited block, in order: the chunks for what all users of the
// block share, or a hole, for which each of them has chunks of its own, made by
// [Packer.Pack].
type Part struct {
	Span
	Hole   bool
	Chunks []byte // no end marker; nil for a hole

	from, to int // of Chunks in what the encoder has written
}

// Edit is what becomes of a block.
type Edit struct {
	// Old are the block's bytes as they were packed, and New as they are to be:
	// as many. Old is written to, with the bytes that it has.
	Old, New []byte
	// Changed are where Old and New may differ. Holes are where New will differ
	// from user to user: nothing of what is shared depends on the bytes there. Both
	// are sorted and disjoint; they may overlap each other.
	Changed, Holes []Span
}

// Packer packs and edits blocks. It keeps its tables, of up to 36 MiB, for the next
// one. It is not safe for use by several goroutines at once; the zero value is ready.
type Packer struct {
	dec Decoder
	enc encoder
	par parser
	in  Chunks
}

// Pack returns the chunks for data[from:], of which nothing points back before from,
// without an end marker. They may stand anywhere in a block whose unpacked bytes
// there are those of data, or begin it, if they are to be the first. If data does not
// begin where the block does, it begins at a multiple of 16 bytes of it, and unless
// they are the first, at least one byte before from.
func (p *Packer) Pack(data []byte, from int, first bool) []byte {
	p.enc.clear()
	p.enc.begin(data, from, defaultProps, first)
	p.par.parse(&p.enc, from, len(data))
	return slices.Clone(p.enc.finish())
}

// PackParts packs a block that is data, but for the holes in it, as Replay edits one.
func (p *Packer) PackParts(data []byte, holes []Span) []Part {
	p.dec.Reset()
	p.enc.clear()
	r := &replay{Packer: p, Edit: Edit{New: data}, spans: spans(len(data), []Span{{0, len(data)}}, holes)}
	r.goLive(0, nil)
	return r.done()
}

// Replay edits a block whose chunks packed reads. Parts together cover the block.
//
// Chunks are valid until the Packer is used again. Those before the first change are
// kept as they are. From there on, what was packed as literals and matches is encoded
// as the same literals and matches, unless a match points to what has changed.
func (p *Packer) Replay(packed io.Reader, e Edit) ([]Part, error) {
	if len(e.Old) != len(e.New) {
		return nil, fmt.Errorf("edit a block of %d bytes into one of %d", len(e.Old), len(e.New))
	}
	r := &replay{Packer: p, Edit: e, spans: spans(len(e.New), e.Changed, e.Holes)}
	p.dec.Reset()
	p.dec.record = true
	p.enc.clear()
	p.in.Reset(packed)
	if err := r.run(&p.in); err != nil {
		return nil, err
	}
	return r.done(), nil
}

type kind int

const (
	clean kind = iota
	changed
	hole
)

type span struct {
	Span
	kind kind
}

// spans cuts n bytes into spans of one kind each. A hole is one whether it was
// changed or not.
func spans(n int, changes, holes []Span) []span {
	cuts := []int{0, n}
	for _, s := range slices.Concat(changes, holes) {
		cuts = append(cuts, min(s.From, n), min(s.To, n))
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	within := func(list *[]Span, at int) bool {
		for len(*list) > 0 && (*list)[0].To <= at {
			*list = (*list)[1:]
		}
		return len(*list) > 0 && (*list)[0].From <= at
	}
	var out []span
	for i := range len(cuts) - 1 {
		s := span{Span{cuts[i], cuts[i+1]}, clean}
		inHole, inChange := within(&holes, s.From), within(&changes, s.From)
		switch {
		case inHole:
			s.kind = hole
		case inChange:
			s.kind = changed
		}
		if last := len(out) - 1; last >= 0 && out[last].kind == s.kind {
			out[last].To = s.To
			continue
		}
		out = append(out, s)
	}
	return out
}

// replay is the edit of one block.
type replay struct {
	*Packer
	Edit
	spans   []span // spans[at] is where what was encoded ends
	at      int
	pos     int  // of what was encoded; holes are skipped
	live    bool // chunks are encoded anew
	parts   []Part
	begun   int // where the present part begins
	mark    int // and its chunks, in what was written
	props   byte
	restart bool // the old chunks forget their data here and there
}

func (r *replay) run(in *Chunks) error {
	first := len(r.New)
	for _, s := range r.spans {
		if s.kind != clean {
			first = s.From
			break
		}
	}
	done := 0 // of the old data
	for {
		c, header, data, err := in.Next()
		if err != nil {
			return err
		}
		if c == nil {
			break
		}
		if c.dictReset() && done > 0 {
			r.restart = true
		}
		end := done + c.Unpacked
		if !r.live && end > first || r.restart && !r.live {
			r.goLive(done, c)
		}
		if err := r.dec.Decode(r.Old, done, *c, data); err != nil {
			return err
		}
		switch {
		case !r.live:
			r.enc.keep(header, data[:c.packed])
			r.pos = end
		case r.restart:
			r.parse(end)
		case !c.lzma():
			r.raw(done, c.Unpacked)
		default:
			r.symbols(done)
		}
		done = end
	}
	if done != len(r.Old) {
		return corrupt("the block unpacks to %d bytes instead of %d", done, len(r.Old))
	}
	if !r.live {
		r.goLive(done, nil)
	}
	return nil
}

// done ends the last part and returns all of them.
func (r *replay) done() []Part {
	if r.begun < len(r.New) {
		r.cut(len(r.New))
	}
	out := r.enc.finish()
	for i := range r.parts {
		if p := &r.parts[i]; !p.Hole {
			p.Chunks = out[p.from:p.to:p.to]
		}
	}
	return r.parts
}

// goLive begins to encode, behind chunks that were kept; c is the next old one.
func (r *replay) goLive(pos int, c *Chunk) {
	r.live, r.props = true, defaultProps
	if r.dec.hasProps {
		r.props = r.dec.m.props()
	} else if c != nil && c.control >= controlProps && new(model).setProps(c.props) {
		r.props = c.props
	}
	r.enc.goOn(r.New, pos, &r.dec, r.props)
	r.pos = pos
	for r.at < len(r.spans)-1 && r.spans[r.at].To <= pos {
		r.at++
	}
	r.enter()
}

// enter does what is to be done where a span begins: all of it, if it is not clean.
func (r *replay) enter() {
	for r.at < len(r.spans) && r.pos == r.spans[r.at].From {
		s := r.spans[r.at]
		switch s.kind {
		case clean:
			return
		case changed:
			r.par.parse(&r.enc, s.From, s.To)
		case hole:
			if r.begun < s.From {
				r.cut(s.From)
			}
			r.parts = append(r.parts, Part{Span: s.Span, Hole: true})
			r.begun = s.To
			r.enc.begin(r.New, s.To, r.props, s.To == 0)
			if s.To < len(r.New) && !(r.at+1 < len(r.spans) && r.spans[r.at+1].kind == hole) {
				r.pos = s.To
				r.fresh()
				continue
			}
		}
		r.pos = s.To
		r.at++
	}
}

// fresh begins the part behind a hole with a byte that is not compressed, so that
// the model of the literal behind it depends on nothing in the hole.
func (r *replay) fresh() {
	r.enc.raw(1)
	r.pos++
	r.at++
	if s := &r.spans[r.at]; s.From < r.pos {
		if s.From = r.pos; s.From == s.To {
			r.at++
		}
	}
}

// cut ends the present part.
func (r *replay) cut(end int) {
	to := len(r.enc.finish())
	r.parts = append(r.parts, Part{Span: Span{r.begun, end}, from: r.mark, to: to})
	r.begun, r.mark = end, to
}

// symbols encodes the decisions of the chunk at offset from once more.
func (r *replay) symbols(from int) {
	for _, s := range r.dec.symbols {
		to := from + int(s.n)
		for p := max(from, r.pos); p < to; p = max(p, r.pos) {
			p = r.symbol(p, to, s.dist)
		}
		from = to
	}
}

// symbol encodes a part of one decision, New[p:to], up to the end of the span that p
// is in, and returns where that is.
func (r *replay) symbol(p, to int, dist uint32) int {
	end := min(to, r.spans[r.at].To)
	n := r.holds(p, end-p, int(dist))
	switch {
	case n == 1:
		r.enc.single(dist)
	case n > 1:
		r.enc.match(dist, n)
	}
	r.enc.literals(end - p - n)
	r.advance(end)
	return end
}

// advance goes on to end, and beyond if something else has to be done there.
func (r *replay) advance(end int) {
	r.pos = end
	if end == r.spans[r.at].To {
		r.at++
		r.enter()
	}
}

// holds returns how much of a match of the old data can be encoded as one of the
// new: of n bytes at p, none of which changed.
func (r *replay) holds(p, n, dist int) int {
	from := p - dist
	if dist == 0 {
		return 0
	}
	if from >= r.spans[r.at].From {
		return n
	}
	i, _ := slices.BinarySearchFunc(r.spans[:r.at], from, func(s span, at int) int {
		switch {
		case s.To <= at:
			return -1
		case s.From > at:
			return 1
		}
		return 0
	})
	for ; i <= r.at && r.spans[i].From < from+n; i++ {
		if r.spans[i].kind == hole {
			return 0
		}
	}
	if same(r.New[from:], r.New[p:p+n]) < n {
		return 0
	}
	if i <= r.at && r.spans[i].kind == hole && r.spans[i].From == from+n {
		// The model of a literal behind the match depends on the byte that the match
		// would go on with, which must not be one of a hole.
		return n - 1
	}
	return n
}

// raw encodes a chunk of the old data that was not compressed: as it is where it is
// clean.
func (r *replay) raw(from, n int) {
	to := from + n
	for p := max(from, r.pos); p < to; p = max(p, r.pos) {
		end := min(to, r.spans[r.at].To)
		r.enc.raw(end - p)
		r.advance(end)
		p = end
	}
}

// parse encodes up to end without any decisions to go by.
func (r *replay) parse(end int) {
	for r.pos < end {
		to := min(end, r.spans[r.at].To)
		r.par.parse(&r.enc, r.pos, to)
		r.advance(to)
	}
}
