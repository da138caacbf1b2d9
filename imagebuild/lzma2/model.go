// Package lzma2 decodes and encodes the LZMA2 data of .xz blocks, and edits it.
//
// LZMA2 is a list of chunks: at most 2 MiB unpacked and 64 KiB packed each, LZMA or
// not compressed at all, and an end marker. What a chunk's bytes mean depends on
// the chunks before it: on the data, to which matches point back, and on the model,
// which gives every bit its probability and learns from every bit. A chunk may begin
// with a new model, and with new data to which nothing points back.
//
// [Decoder] decodes chunks into one flat buffer. An encoder writes them. [Packer.Replay]
// makes the chunks for data of which only a little differs from what a block holds:
// it takes the decisions (literals, matches) of whoever packed the block and encodes
// them anew, and decides itself only where the data changed. That costs about as much
// as decoding does, a tenth of packing it again, and packs as well.
//
// The format is described in code only: XZ Embedded (linux/lib/xz), liblzma and the
// LZMA SDK, all in the public domain or under 0BSD. Names are as there.
package lzma2

const (
	states        = 12
	posStatesMax  = 1 << 4
	lenToPosStats = 4
	posSlots      = 64
	startPosModel = 4
	endPosModel   = 14
	fullDistances = 1 << (endPosModel / 2)
	alignBits     = 4
	minMatch      = 2
	// maxMatch is the longest match, in bytes.
	maxMatch = 273

	lowSymbols = 8 // of lengths, and as many in the middle
	probInit   = 1 << 10
	probBits   = 11
	moveBits   = 5
	topValue   = 1 << 24
)

// Sizes of the parts of a chunk, in bytes.
const (
	// maxChunkHeader is the longest header of a chunk.
	maxChunkHeader = 6
	// maxChunkData is the most data in a chunk, packed or not compressed.
	maxChunkData    = 1 << 16
	maxChunkUnpacks = 1 << 21
	// slack is how many bytes must be readable behind the data of a chunk that is
	// decoded: the decoder looks for the end between symbols only. The longest
	// symbol takes 20 bytes.
	slack = 32
)

// lenModel has the probabilities of lengths.
type lenModel struct {
	choice, choice2 uint16
	low, mid        [posStatesMax][lowSymbols]uint16
	high            [256]uint16
}

// model is what LZMA has learned: probabilities that the next bit is 0, in 2048ths,
// and the last four distances.
type model struct {
	state      uint32
	rep        [4]uint32 // distances, at least 1
	lc, lp, pb uint32

	isMatch    [states][posStatesMax]uint16
	isRep      [states]uint16
	isRepG0    [states]uint16
	isRepG1    [states]uint16
	isRepG2    [states]uint16
	isRep0Long [states][posStatesMax]uint16
	posSlot    [lenToPosStats][posSlots]uint16
	posSpecial [fullDistances]uint16 // those for the bits below slots startPosModel…endPosModel
	posAlign   [1 << alignBits]uint16
	matchLen   lenModel
	repLen     lenModel
	literal    [0x300 << 4]uint16 // lc+lp is at most 4
}

// setProps sets lc, lp and pb from their byte in a chunk's header.
func (m *model) setProps(b byte) bool {
	if b >= 9*5*5 {
		return false
	}
	lc, lp, pb := uint32(b%9), uint32(b/9%5), uint32(b/45)
	if lc+lp > 4 {
		return false
	}
	m.lc, m.lp, m.pb = lc, lp, pb
	return true
}

// props is the inverse of setProps.
func (m *model) props() byte { return byte((m.pb*5+m.lp)*9 + m.lc) }

// reset forgets everything that was learned; the properties stay.
func (m *model) reset() {
	m.state = 0
	m.rep = [4]uint32{1, 1, 1, 1}
	for i := range m.isMatch {
		fill(m.isMatch[i][:])
		fill(m.isRep0Long[i][:])
	}
	fill(m.isRep[:])
	fill(m.isRepG0[:])
	fill(m.isRepG1[:])
	fill(m.isRepG2[:])
	for i := range m.posSlot {
		fill(m.posSlot[i][:])
	}
	fill(m.posSpecial[:])
	fill(m.posAlign[:])
	m.matchLen.reset()
	m.repLen.reset()
	fill(m.literal[:0x300<<(m.lc+m.lp)])
}

func (l *lenModel) reset() {
	l.choice, l.choice2 = probInit, probInit
	for i := range l.low {
		fill(l.low[i][:])
		fill(l.mid[i][:])
	}
	fill(l.high[:])
}

func fill(p []uint16) {
	for i := range p {
		p[i] = probInit
	}
}

// The states that follow a state: literals are told apart by what came before them.
func afterLiteral(s uint32) uint32 {
	switch {
	case s < 4:
		return 0
	case s < 10:
		return s - 3
	}
	return s - 6
}

func afterMatch(s uint32) uint32 {
	if s < 7 {
		return 7
	}
	return 10
}

func afterRep(s uint32) uint32 {
	if s < 7 {
		return 8
	}
	return 11
}

func afterShortRep(s uint32) uint32 {
	if s < 7 {
		return 9
	}
	return 11
}

// lenState is the part of a match's length on which the model of its distance depends.
func lenState(n uint32) uint32 { return min(n-minMatch, lenToPosStats-1) }
