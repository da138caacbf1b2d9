// Package bmap makes, reads and checks block maps: the .bmap files by which
// bmaptool(1) writes only those blocks of an image to a card that mean something,
// and checks each of them as it does. The format is version 2.0 of bmap-tools (its
// documentation is in BmapCreate.py): XML that lists ranges of blocks, each with
// the SHA-256 of its bytes, and a SHA-256 of the file itself.
//
// Whoever flashes by a block map leaves on the card what was there before in every
// block that is not listed. So a block is left out only if it is zero and nobody
// relies on that: a [Free] set says of which blocks that is so. A zero block that a
// file owns is listed like any other.
//
// Ranges end at the boundaries of cells of [CellSize] bytes. The digests of a cell
// therefore depend on nothing outside it, and are made once for all images that
// share it: that is the business of package tally, which builds on [Cutter].
package bmap

import (
	"crypto/sha256"
	"fmt"
	"math"
)

// BlockSize is the size in bytes of the blocks in which this package's maps count.
const BlockSize = 4096

// Map is a block map.
type Map struct {
	Size      int64 // of the image, in bytes
	BlockSize int64 // in bytes
	// Ranges are the blocks that are to be written, sorted and disjoint.
	Ranges []Range
}

// Range is a run of consecutive blocks.
type Range struct {
	First, Last int64             // blocks, Last included
	SHA256      [sha256.Size]byte // of their bytes
}

// Blocks returns how many blocks an image of size bytes has; the last one may be short.
func Blocks(size, blockSize int64) int64 {
	n := size / blockSize
	if size%blockSize > 0 {
		n++
	}
	return n
}

// Mapped returns how many blocks the map lists.
func (m *Map) Mapped() (n int64) {
	for _, r := range m.Ranges {
		n += r.Last - r.First + 1
	}
	return n
}

// maxBlockSize bounds what a reader of a map has to hold of an image.
const maxBlockSize = 16 << 20

// check returns an error unless the map could be one of an image.
func (m *Map) check() error {
	switch {
	case m.Size <= 0 || m.Size > math.MaxInt64-maxBlockSize:
		return fmt.Errorf("an image of %d bytes", m.Size)
	case m.BlockSize <= 0 || m.BlockSize > maxBlockSize:
		return fmt.Errorf("blocks of %d bytes", m.BlockSize)
	}
	blocks, next := Blocks(m.Size, m.BlockSize), int64(0)
	for _, r := range m.Ranges {
		if r.First < next || r.Last < r.First || r.Last >= blocks {
			return fmt.Errorf("the range %d-%d is out of order, or not within %d blocks", r.First, r.Last, blocks)
		}
		next = r.Last + 1
	}
	return nil
}
