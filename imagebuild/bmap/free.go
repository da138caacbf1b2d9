package bmap

import "slices"

// CellSize is the size in bytes of the cells at whose boundaries ranges end.
const CellSize = cellBlocks * BlockSize

const cellBlocks = 256

// Bits is a set of the blocks of one cell, the first of them in the lowest bit of
// the first word.
type Bits [cellBlocks / 64]uint64

func (b *Bits) has(i int) bool { return b[i/64]>>(i%64)&1 != 0 }
func (b *Bits) set(i int)      { b[i/64] |= 1 << (i % 64) }

// And returns the blocks that are in both sets.
func (b Bits) And(o Bits) Bits {
	for i := range b {
		b[i] &= o[i]
	}
	return b
}

// Cells returns how many cells an image of size bytes has.
func Cells(size int64) int { return int((size + CellSize - 1) / CellSize) }

// Free is the set of an image's blocks on whose content nobody relies.
type Free struct{ cells []Bits }

// NewFree returns the empty set of the blocks of an image of size bytes.
func NewFree(size int64) *Free { return &Free{make([]Bits, Cells(size))} }

// Clone returns a copy of the set.
func (f *Free) Clone() *Free { return &Free{slices.Clone(f.cells)} }

// Add adds the blocks of which every byte is among the n from off on, which are
// offsets of the image. Bytes outside the image count for nothing.
func (f *Free) Add(off, n int64) {
	if off < 0 || n <= 0 {
		return
	}
	first := (off + BlockSize - 1) / BlockSize
	end := min((off+n)/BlockSize, int64(len(f.cells))*cellBlocks)
	for i := first; i < end; {
		if i%64 == 0 && end-i >= 64 {
			f.cells[i/cellBlocks][i%cellBlocks/64] = ^uint64(0)
			i += 64
			continue
		}
		f.cells[i/cellBlocks].set(int(i % cellBlocks))
		i++
	}
}

// Cell returns the blocks of a cell that are in the set.
func (f *Free) Cell(i int) Bits { return f.cells[i] }

// Has reports whether a block of the image is in the set.
func (f *Free) Has(block int64) bool { return f.cells[block/cellBlocks].has(int(block % cellBlocks)) }
