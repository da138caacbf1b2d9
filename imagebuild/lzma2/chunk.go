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
	Control  byte // its first byte
	Unpacked int  // bytes that it unpacks to
	Header   int  // bytes of its header
	Packed   int  // bytes of its data
	Props    byte // lc, lp and pb, if Control says that they are set
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

// ParseChunk parses the header of a chunk, of which it looks at no more than
// [MaxChunkHeader] bytes. At the end marker ok is false.
func ParseChunk(p []byte) (c Chunk, ok bool, err error) {
	short := corrupt("a chunk is cut off")
	if len(p) < 1 {
		return c, false, short
	}
	c = Chunk{Control: p[0], Header: 3}
	switch {
	case c.Control == controlEnd:
		return c, false, nil
	case c.Control > controlRaw && c.Control < controlLZMA:
		return c, false, corrupt("unknown chunk %#02x", c.Control)
	case c.Control >= controlProps:
		c.Header = 6
	case c.Control >= controlLZMA:
		c.Header = 5
	}
	if len(p) < c.Header {
		return c, false, short
	}
	c.Unpacked = int(p[1])<<8 + int(p[2]) + 1
	c.Packed = c.Unpacked
	if c.LZMA() {
		c.Unpacked += int(c.Control&0x1f) << 16
		c.Packed = int(p[3])<<8 + int(p[4]) + 1
	}
	if c.Header == 6 {
		c.Props = p[5]
	}
	return c, true, nil
}

// LZMA reports whether the chunk is compressed.
func (c *Chunk) LZMA() bool { return c.Control >= controlLZMA }

// dictReset reports whether nothing in or behind the chunk points back before it.
func (c *Chunk) dictReset() bool {
	return c.Control == controlRawReset || c.Control >= controlDictReset
}
