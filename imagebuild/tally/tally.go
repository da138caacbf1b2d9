// Package tally counts up the images of a build while they are written: the
// SHA-256 of each as it is without packing, and its block map.
//
// What all nodes have of a cell of the block map is hashed once, by
// [Shared.Take]. A node's [Tally] hashes again only the cells in which its own
// bytes lie, or in which other blocks are free than in all others.
package tally

import (
	"crypto/sha256"
	"hash"
	"sync"

	"github.com/piimg/piimg/imagebuild/bmap"
	"github.com/piimg/piimg/imagebuild/sink"
)

// Shared is what the tallies of a build have in common.
type Shared struct {
	size  int64
	free  *bmap.Free
	cells []cell
	// spare holds *scratch: what a call of Take needs, and no Tally keeps.
	spare sync.Pool
}

// cell is a cell of the block map as all nodes have it.
type cell struct {
	known  bool // Take has come by, with the whole of it
	ranges []bmap.Range
	zero   bmap.Bits // which blocks are zero
}

// bufSize is how many of a node's own bytes are looked at at a time.
const bufSize = 64 << 10

type scratch struct {
	cutter bmap.Cutter
	buf    [bufSize]byte
}

// NewShared returns what the tallies of images of size bytes share. Free are the
// blocks that are free in what all nodes share; it is kept.
func NewShared(size int64, free *bmap.Free) *Shared {
	return &Shared{
		size: size, free: free, cells: make([]cell, bmap.Cells(size)),
		spare: sync.Pool{New: func() any { return new(scratch) }},
	}
}

// Take takes n bytes of what all nodes have at off, of which data holds the bytes;
// nil stands for zeros. It may be called by several goroutines at once, for
// different parts of the image. What it is not called for, every Tally hashes itself.
func (s *Shared) Take(off, n int64, data []byte) {
	work := s.spare.Get().(*scratch)
	defer s.spare.Put(work)
	for i := bmap.Cells(off); i < len(s.cells); i++ {
		start := int64(i) * bmap.CellSize
		end := min(start+bmap.CellSize, s.size)
		if end > off+n {
			return // of a cell that lies in two regions, neither is the whole
		}
		c := &work.cutter
		c.Reset(i, s.size, s.free.Cell(i))
		if data == nil {
			c.Zeros(end - start)
		} else {
			c.Write(data[start-off : end-off])
		}
		ranges, zero := c.Ranges()
		s.cells[i] = cell{known: true, ranges: ranges, zero: zero}
	}
}

// Tally counts up one node's image. It is used by one goroutine at a time.
type Tally struct {
	shared *Shared
	// free are the free blocks of the cells in which they are others than in Shared.
	free map[int]bmap.Bits
	own  map[int][]bmap.Range // the ranges of the cells that are not as in Shared
	hash hash.Hash            // nil: not wanted
	open *bmap.Cutter         // at work on a cell of which only the beginning has come, or nil
}

// Node begins the tally of a node's image, in which other blocks may be free. Free
// is not kept.
func (s *Shared) Node(free *bmap.Free) *Tally {
	t := &Tally{shared: s, free: map[int]bmap.Bits{}, own: map[int][]bmap.Range{}, hash: sha256.New()}
	for i := range s.cells {
		if f := free.Cell(i); f != s.free.Cell(i) {
			t.free[i] = f
		}
	}
	return t
}

// MapOnly leaves out the SHA-256, for images that are written without packing: whoever
// writes them makes it anyway. It is to be called before the first Take.
func (t *Tally) MapOnly() { t.hash = nil }

// Take takes the image's next region. Shared must have taken what all nodes have of
// it before.
func (t *Tally) Take(r *sink.Region) error {
	work := t.shared.spare.Get().(*scratch)
	defer t.shared.spare.Put(work)
	if t.hash != nil {
		if err := r.Hash(t.hash, work.buf[:]); err != nil {
			return err
		}
	}
	own, end := r.Own, r.Off+r.Len
	for off := r.Off; off < end; {
		i := int(off / bmap.CellSize)
		from := int64(i) * bmap.CellSize
		to := min(from+bmap.CellSize, t.shared.size)
		for len(own) > 0 && own[0].Off+own[0].Len <= off {
			own = own[1:]
		}
		touched := len(own) > 0 && own[0].Off < to
		if off != from || to > end || touched || !t.as(i) {
			if err := t.cut(work, r, i, off, min(to, end)); err != nil {
				return err
			}
		}
		off = min(to, end)
	}
	return nil
}

// cut makes the ranges of cell i itself, from the region's bytes from off to end.
func (t *Tally) cut(work *scratch, r *sink.Region, i int, off, end int64) error {
	c := t.open
	if c == nil {
		c = &work.cutter
		c.Reset(i, t.shared.size, t.freeCell(i))
	}
	for off < end {
		p := work.buf[:min(bufSize, end-off)]
		if err := r.Read(p, off); err != nil {
			return err
		}
		c.Write(p)
		off += int64(len(p))
	}
	if c.Left() == 0 {
		t.own[i], _ = c.Ranges()
		t.open = nil
		return nil
	}
	if t.open == nil {
		rest := *c
		t.open, work.cutter = &rest, bmap.Cutter{}
	}
	return nil
}

// freeCell returns the blocks that are free in a cell of this node's image.
func (t *Tally) freeCell(i int) bmap.Bits {
	if f, ok := t.free[i]; ok {
		return f
	}
	return t.shared.free.Cell(i)
}

// as reports whether the ranges of a cell in which the node has no bytes of its own
// are those that Shared has.
func (t *Tally) as(i int) bool {
	c := &t.shared.cells[i]
	f, others := t.free[i]
	return c.known && (!others || c.zero.And(f) == c.zero.And(t.shared.free.Cell(i)))
}

// SHA256 returns the SHA-256 of an image of which all regions were taken, unless
// there was to be a map only: then ok is false.
func (t *Tally) SHA256() (sum [sha256.Size]byte, ok bool) {
	if t.hash != nil {
		t.hash.Sum(sum[:0])
	}
	return sum, t.hash != nil
}

// Map returns the block map of an image of which all regions were taken.
func (t *Tally) Map() *bmap.Map {
	m := &bmap.Map{Size: t.shared.size, BlockSize: bmap.BlockSize}
	for i, c := range t.shared.cells {
		if own, ok := t.own[i]; ok {
			m.Ranges = append(m.Ranges, own...)
		} else {
			m.Ranges = append(m.Ranges, c.ranges...)
		}
	}
	return m
}
