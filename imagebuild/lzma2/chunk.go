package lzma2

import (
	"errors"
	"fmt"
)

// ErrCorrupt is wrapped by all errors about LZMA2 data.
var ErrCorrupt = errors.New("damaged LZMA2 data")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// Chunk is a chunk of LZMA2 data.
type Chunk struct {
	Unpacked int // bytes that it unpacks to

	control byte // its first byte
	packed  int  // bytes of its data
	props   byte // lc, lp and pb, if control says that they are set
}

// Kinds of chunks, by their first byte. Compressed ones have the upper bits of
// their unpacked size in the lower five bits.
const (
	controlEnd       = 0x00
	controlRawReset  = 0x01 // not compressed, after forgetting the data
	controlRaw       = 0x02 // not compressed
	controlLZMA      = 0x80 // the model goes on
	controlState     = 0xa0 // a new model with the same properties
	controlProps     = 0xc0 // a new model with new properties
	controlDictReset = 0xe0 // and nothing points back any more
)

// headerSize returns how many bytes the header of a chunk has that begins with
// control.
func headerSize(control byte) int {
	switch {
	case control >= controlProps:
		return 6
	case control >= controlLZMA:
		return 5
	}
	return 3
}

// parseHeader parses the header of a chunk, of the length that [headerSize] says. The
// end marker is none.
func parseHeader(p []byte) (*Chunk, error) {
	c := &Chunk{control: p[0]}
	if c.control > controlRaw && !c.lzma() {
		return nil, corrupt("unknown chunk %#02x", c.control)
	}
	c.Unpacked = int(p[1])<<8 + int(p[2]) + 1
	c.packed = c.Unpacked
	if c.lzma() {
		c.Unpacked += int(c.control&0x1f) << 16
		c.packed = int(p[3])<<8 + int(p[4]) + 1
	}
	if c.control >= controlProps {
		c.props = p[5]
	}
	return c, nil
}

// lzma reports whether the chunk is compressed.
func (c *Chunk) lzma() bool { return c.control >= controlLZMA }

// dictReset reports whether nothing in or behind the chunk points back before it.
func (c *Chunk) dictReset() bool {
	return c.control == controlRawReset || c.control >= controlDictReset
}
