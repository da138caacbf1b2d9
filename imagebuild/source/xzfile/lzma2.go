package xzfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// chunks hands a block's LZMA2 data to the decoder, chunk by chunk, and makes
// sure of its structure on the way: that the chunks fill exactly the data's
// size, unpack to exactly the block's size, begin with a reset of the
// dictionary, and set properties before they need them.
//
// The end marker is not handed out. To the decoder, the chunks of one block
// after another look like one long sequence, so that a decoder and its
// dictionary, which is megabytes large, can be used again.
type chunks struct {
	r       *bufio.Reader
	off     int64  // of the next chunk in the file, for errors
	chunk   []byte // what has not been handed out of the present chunk, a part of r's buffer
	taken   int    // size of the present chunk, still to be discarded from r
	packed  int64  // bytes of LZMA2 data behind the present chunk, the end marker included
	left    int64  // unpacked bytes of the chunks behind the present one
	dict    bool   // the dictionary has been reset
	props   bool   // the properties have been set
	readErr error  // an error of the underlying reader
}

// Sizes of the parts of an LZMA2 chunk.
const (
	maxChunkHeader = 6
	maxChunk       = maxChunkHeader + 1<<16
)

// reset begins a block.
func (c *chunks) reset(r io.ReaderAt, b *Block) {
	off := b.PackedOff + int64(b.HeaderSize)
	br := c.r
	if br == nil {
		br = bufio.NewReaderSize(nil, 2*maxChunk)
	}
	br.Reset(io.NewSectionReader(r, off, b.dataSize()))
	*c = chunks{r: br, off: off, packed: b.dataSize(), left: b.Size}
}

// Read implements io.Reader for the decoder, which reads single bytes.
func (c *chunks) Read(p []byte) (int, error) {
	if len(c.chunk) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.chunk)
	c.chunk = c.chunk[n:]
	return n, nil
}

// next goes to the next chunk. At the end marker it returns io.EOF.
func (c *chunks) next() error {
	if _, err := c.r.Discard(c.taken); err != nil {
		return c.fail(err)
	}
	c.off += int64(c.taken)
	c.taken = 0
	head, err := c.r.Peek(int(min(maxChunkHeader, c.packed)))
	if err != nil {
		return c.fail(err)
	}
	if len(head) == 0 {
		return corrupt(c.off, "the LZMA2 data has no end marker")
	}
	control := head[0]
	if control == 0 {
		if c.packed != 1 || c.left != 0 {
			return corrupt(c.off, "the LZMA2 data ends %d bytes too soon, with %d bytes still to be unpacked", c.packed-1, c.left)
		}
		return io.EOF
	}
	need := 3
	switch {
	case control >= 0xc0:
		need = 6
	case control >= 0x80:
		need = 5
	}
	if len(head) < need {
		return corrupt(c.off, "an LZMA2 chunk reaches past the end of its block")
	}

	unpacked := int64(head[1])<<8 + int64(head[2]) + 1
	size := need // of header and data
	switch {
	case control == 1:
		c.dict = true
		size += int(unpacked)
	case control == 2:
		size += int(unpacked)
	case control < 0x80:
		return corrupt(c.off, "unknown LZMA2 chunk %#02x", control)
	default:
		unpacked += int64(control&0x1f) << 16
		size += int(head[3])<<8 + int(head[4]) + 1
		if control >= 0xe0 {
			c.dict = true
		}
		if control >= 0xc0 {
			if props := int(head[5]); props >= 9*5*5 || props%9+props/9%5 > 4 {
				return corrupt(c.off, "wrong LZMA2 properties %#02x", props)
			}
			c.props = true
		}
		if !c.props {
			return corrupt(c.off, "an LZMA2 chunk comes before its properties")
		}
	}
	if !c.dict {
		return corrupt(c.off, "the LZMA2 data does not begin with a new dictionary")
	}
	if int64(size) >= c.packed || unpacked > c.left {
		return corrupt(c.off, "an LZMA2 chunk reaches past the end of its block")
	}
	if c.chunk, err = c.r.Peek(size); err != nil {
		return c.fail(err)
	}
	c.taken = size
	c.packed -= int64(size)
	c.left -= unpacked
	return nil
}

// fail notes an error of the underlying reader, so that it can be told from bad data.
func (c *chunks) fail(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: it ends within the block data at byte %d", ErrTruncated, c.off)
	}
	c.chunk, c.readErr = nil, err
	return err
}

// end makes sure that everything has been handed out and the end marker comes next.
func (c *chunks) end() error {
	if n := len(c.chunk); n > 0 {
		return corrupt(c.off, "%d bytes of an LZMA2 chunk are left over", n)
	}
	if err := c.next(); err != io.EOF {
		if err == nil {
			err = corrupt(c.off, "the LZMA2 data unpacks to more than the index says")
		}
		return err
	}
	return nil
}
