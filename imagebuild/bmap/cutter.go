package bmap

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

// zeroBlock is never written to.
var zeroBlock [BlockSize]byte

// Cutter makes the ranges of one cell at a time from the cell's bytes, which come to
// it in order and in pieces of any length. The zero Cutter is to be reset first.
type Cutter struct {
	first int64 // block of the image
	left  int64 // bytes of the cell that are still to come
	free  Bits
	// zero are the blocks that are zero, of those that are complete.
	zero Bits
	at   int // the block that comes next
	// part holds the beginning of a block whose end has not come.
	part   []byte
	run    hash.Hash
	from   int // where the open run begins; -1 without one
	ranges []Range
}

// Reset begins the cell with that number, of an image of size bytes.
func (c *Cutter) Reset(cell int, size int64, free Bits) {
	off := int64(cell) * CellSize
	run := c.run
	if run == nil {
		run = sha256.New()
	}
	run.Reset()
	*c = Cutter{first: off / BlockSize, left: min(CellSize, size-off), free: free, part: c.part[:0], run: run, from: -1}
}

// Left returns how many bytes of the cell are still to come.
func (c *Cutter) Left() int64 { return c.left }

// Write takes the next bytes of the cell: at most those that are left.
func (c *Cutter) Write(p []byte) {
	c.left -= int64(len(p))
	if len(c.part) > 0 {
		n := min(BlockSize-len(c.part), len(p))
		c.part = append(c.part, p[:n]...)
		if p = p[n:]; len(c.part) < BlockSize && c.left > 0 {
			return
		}
		c.block(c.part)
		c.part = c.part[:0]
	}
	for ; len(p) >= BlockSize; p = p[BlockSize:] {
		c.block(p[:BlockSize])
	}
	switch {
	case len(p) == 0:
	case c.left == 0:
		c.block(p) // the end of the image
	default:
		c.part = append(c.part, p...)
	}
}

// Zeros takes n zeros as the next bytes of the cell.
func (c *Cutter) Zeros(n int64) {
	for n > 0 {
		k := min(n, BlockSize)
		c.Write(zeroBlock[:k])
		n -= k
	}
}

// block takes a whole block; only the image's last may be short.
func (c *Cutter) block(p []byte) {
	i := c.at
	c.at++
	if bytes.Equal(p, zeroBlock[:len(p)]) {
		c.zero.set(i)
		if c.free.has(i) {
			c.end(i)
			return
		}
	}
	if c.from < 0 {
		c.from = i
	}
	c.run.Write(p)
}

// end ends the open run before block i.
func (c *Cutter) end(i int) {
	if c.from < 0 {
		return
	}
	r := Range{First: c.first + int64(c.from), Last: c.first + int64(i) - 1}
	c.run.Sum(r.SHA256[:0])
	c.run.Reset()
	c.from = -1
	c.ranges = append(c.ranges, r)
}

// Ranges returns the ranges of the cell once all of it has come, and which of its
// blocks are zero.
func (c *Cutter) Ranges() (ranges []Range, zero Bits) {
	c.end(c.at)
	return c.ranges, c.zero
}
