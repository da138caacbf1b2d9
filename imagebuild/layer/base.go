package layer

import (
	"container/list"
	"fmt"
	"io"
	"sync"
)

// blockSize is the unit in which the base is cached, in bytes.
const blockSize = 64 << 10

// base is what the bottom layer lies on: an [io.ReaderAt] with the blocks of it
// that were used last.
type base struct {
	r    io.ReaderAt
	size int64
	max  int // blocks

	mu     sync.Mutex
	blocks map[int64]*list.Element
	recent *list.List // of *block; the one used last is in front
}

type block struct {
	index int64
	data  []byte
}

func newBase(r io.ReaderAt, size, cache int64) *base {
	return &base{r: r, size: size, max: int(max(cache, 0) / blockSize), blocks: map[int64]*list.Element{}, recent: list.New()}
}

func (b *base) readAt(p []byte, off int64) error {
	for len(p) > 0 {
		index, in := off/blockSize, off%blockSize
		if data := b.cached(index); data != nil {
			n := copy(p, data[in:])
			p, off = p[n:], off+int64(n)
			continue
		}
		if whole := int64(len(p)) / blockSize * blockSize; b.max == 0 || in == 0 && whole > 0 {
			// Whoever reads in long pieces does not come back for them.
			if b.max == 0 {
				whole = int64(len(p))
			}
			return b.readThrough(p, off, whole)
		}
		data := make([]byte, min(blockSize, b.size-index*blockSize))
		if err := b.fill(data, index*blockSize); err != nil {
			return err
		}
		b.add(index, data)
		n := copy(p, data[in:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// readThrough reads the first n bytes of p past the cache, and then the rest.
func (b *base) readThrough(p []byte, off, n int64) error {
	if err := b.fill(p[:n], off); err != nil {
		return err
	}
	return b.readAt(p[n:], off+n)
}

// fill reads all of p.
func (b *base) fill(p []byte, off int64) error {
	n, err := b.r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("failed to read %d bytes at offset %d of the base image: %w", len(p), off, err)
}

func (b *base) cached(index int64) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.blocks[index]
	if e == nil {
		return nil
	}
	b.recent.MoveToFront(e)
	return e.Value.(*block).data
}

// add keeps a block. Its bytes are never written again, so that readers may go
// on with them after it has been put out.
func (b *base) add(index int64, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blocks[index] != nil {
		return // another goroutine was as fast
	}
	b.blocks[index] = b.recent.PushFront(&block{index, data})
	if b.recent.Len() > b.max {
		e := b.recent.Back()
		delete(b.blocks, b.recent.Remove(e).(*block).index)
	}
}
