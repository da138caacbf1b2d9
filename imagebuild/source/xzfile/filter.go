package xzfile

import (
	"encoding/binary"
	"io"
)

// filter is a filter that stands before LZMA2 in a block's chain. None of them
// changes the size of the data. The zero value is none.
type filter struct {
	id  byte
	arg uint32 // distance of delta, else the position that the data is said to begin at
}

// maxFilters is the most that can stand before LZMA2.
const maxFilters = 3

// parseFilter returns the filter with an ID and its properties. Known says that
// there is such a filter here, and valid that the properties are.
func parseFilter(id int64, props []byte) (f filter, known, valid bool) {
	if id == filterDelta {
		if len(props) != 1 {
			return f, true, false
		}
		return filter{filterDelta, uint32(props[0]) + 1}, true, true
	}
	align := uint32(0)
	switch id {
	case filterX86:
		align = 1
	case filterARMThumb, filterRISCV:
		align = 2
	case filterPowerPC, filterARM, filterSPARC, filterARM64:
		align = 4
	case filterIA64:
		align = 16
	default:
		return f, false, false
	}
	f.id = byte(id)
	switch len(props) {
	case 0:
		return f, true, true
	case 4:
		f.arg = binary.LittleEndian.Uint32(props)
		return f, true, f.arg%align == 0
	}
	return f, true, false
}

// A converter undoes a filter, in place. P is the next of the data; it stands at
// pos, which is where the data is said to begin and what has been undone since.
// It returns how many bytes of p it is through with: the rest, of which it may
// have to see more, comes again, unless there is no more, and then stays as it is.
type converter func(pos uint32, p []byte) int

// converter returns what undoes the filter in one block.
func (f filter) converter() converter {
	switch f.id {
	case filterDelta:
		return delta(int(f.arg))
	case filterX86:
		return new(x86).undo
	case filterPowerPC:
		return each(4, undoPowerPC)
	case filterIA64:
		return each(16, undoIA64)
	case filterARM:
		return each(4, undoARM)
	case filterARMThumb:
		return undoARMThumb
	case filterSPARC:
		return each(4, undoSPARC)
	case filterARM64:
		return each(4, undoARM64)
	}
	return undoRISCV
}

// delta undoes the filter that stores each byte as the difference from the one
// that stands distance bytes before it.
func delta(distance int) converter {
	var history [256]byte // the last byte at each position modulo distance
	at := 0
	return func(_ uint32, p []byte) int {
		for i := range p {
			history[at] += p[i]
			p[i] = history[at]
			if at++; at == distance {
				at = 0
			}
		}
		return len(p)
	}
}

// filterBuffer is how much a filterReader undoes at a time, in bytes.
const filterBuffer = 32 << 10

// filterReader undoes a filter.
type filterReader struct {
	src   io.Reader
	undo  converter
	pos   uint32
	buf   []byte
	given int // bytes of buf that Read has returned
	done  int // that have been undone
	full  int // that hold data
	err   error
}

func newFilterReader(src io.Reader, f filter) *filterReader {
	r := &filterReader{src: src, undo: f.converter(), buf: make([]byte, filterBuffer)}
	if f.id != filterDelta {
		r.pos = f.arg
	}
	return r
}

func (r *filterReader) Read(p []byte) (int, error) {
	for r.given == r.done && r.err == nil {
		r.full = copy(r.buf, r.buf[r.done:r.full])
		var n int
		n, r.err = r.src.Read(r.buf[r.full:])
		r.full += n
		r.done = r.undo(r.pos, r.buf[:r.full])
		r.pos += uint32(r.done)
		if r.err == io.EOF {
			r.done = r.full
		}
		r.given = 0
	}
	n := copy(p, r.buf[r.given:r.done])
	r.given += n
	if n == 0 && len(p) > 0 {
		return 0, r.err
	}
	return n, nil
}
