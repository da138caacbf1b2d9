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
	spare  []byte
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
		n := b.copyCached(p, index, in)
		if n == 0 {
			switch whole := int64(len(p)) / blockSize * blockSize; {
			case b.max == 0:
				return b.fill(p, off)
			case in == 0 && whole > 0:
				// Whoever reads in long pieces does not come back for them.
				n = int(whole)
				if err := b.fill(p[:n], off); err != nil {
					return err
				}
			default:
				data := b.buffer()[:min(blockSize, b.size-index*blockSize)]
				if err := b.fill(data, index*blockSize); err != nil {
					return err
				}
				n = copy(p, data[in:])
				b.add(index, data)
			}
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
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

// copyCached copies what there is of a block from in on, and returns how much.
func (b *base) copyCached(p []byte, index, in int64) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.blocks[index]
	if e == nil {
		return 0
	}
	b.recent.MoveToFront(e)
	return copy(p, e.Value.(*block).data[in:])
}

// buffer returns room for a block: that of the last one that was put out, if
// nobody took it since.
func (b *base) buffer() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	data := b.spare
	b.spare = nil
	if data == nil {
		data = make([]byte, blockSize)
	}
	return data[:blockSize]
}

// add keeps a block, and puts out the one that was not used for the longest time.
func (b *base) add(index int64, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blocks[index] != nil {
		b.spare = data // another goroutine was as fast
		return
	}
	b.blocks[index] = b.recent.PushFront(&block{index, data})
	if b.recent.Len() > b.max {
		old := b.recent.Remove(b.recent.Back()).(*block)
		delete(b.blocks, old.index)
		b.spare = old.data
	}
}
