package source

import (
	"container/list"
	"context"
	"errors"
	"os"
	"sync"

	"github.com/piimg/piimg/imagebuild/hostfile"
)

// blockCache holds decoded blocks in a fixed number of buffers of equal size.
// A block that several ask for at once is loaded once.
type blockCache struct {
	// load fills buf, which is as long as block i is.
	load func(ctx context.Context, i int, buf []byte, once bool) error
	size func(i int) int64 // of block i
	max  int               // size of a buffer
	n    int               // how many buffers there may be

	mu      sync.Mutex
	blocks  map[int]*cachedBlock
	lru     list.List // of *cachedBlock that nobody uses, the next to go at the front
	free    [][]byte
	made    int           // buffers made so far
	changed chan struct{} // closed and replaced when a buffer may have become free
	closed  bool
}

// cachedBlock is a block in the cache, or on its way into it.
type cachedBlock struct {
	i     int
	data  []byte
	once  bool          // wanted by Scan only, which will not come back to it
	ready chan struct{} // closed when data or err is set
	err   error
	users int
	elem  *list.Element // in lru, or nil
}

func newBlockCache(n, max int, size func(int) int64, load func(context.Context, int, []byte, bool) error) *blockCache {
	return &blockCache{
		load: load, size: size, max: max, n: n,
		blocks:  make(map[int]*cachedBlock),
		changed: make(chan struct{}),
	}
}

// acquire returns block i, which stays as it is until it is released. It waits
// while all buffers are in use. Once says that the caller reads every block,
// and only once: such blocks are the first to go.
func (c *blockCache) acquire(ctx context.Context, i int, once bool) (*cachedBlock, error) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, os.ErrClosed
		}
		if b := c.blocks[i]; b != nil {
			b.users++
			b.once = b.once && once
			if b.elem != nil {
				c.lru.Remove(b.elem)
				b.elem = nil
			}
			c.mu.Unlock()
			if err := c.wait(ctx, b); err != errRetry {
				if err != nil {
					return nil, err
				}
				return b, nil
			}
			continue
		}
		if buf := c.buffer(); buf != nil {
			b := &cachedBlock{i: i, once: once, ready: make(chan struct{}), users: 1}
			c.blocks[i] = b
			c.mu.Unlock()
			data := buf[:c.size(i)]
			err := c.load(ctx, i, data, once)
			c.mu.Lock()
			b.data, b.err = data, err
			c.mu.Unlock()
			close(b.ready)
			if err != nil {
				c.release(b)
				return nil, err
			}
			return b, nil
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// errRetry means that a block was not loaded for a reason that was another
// caller's: its context ended.
var errRetry = errors.New("retry")

// wait waits until b is loaded by whoever is at it.
func (c *blockCache) wait(ctx context.Context, b *cachedBlock) error {
	select {
	case <-b.ready:
	case <-ctx.Done():
		c.release(b)
		return ctx.Err()
	}
	err := b.err
	if err == nil {
		return nil
	}
	c.release(b)
	if ctx.Err() == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return errRetry
	}
	return err
}

// buffer returns a buffer that nobody uses, or nil. The caller holds c.mu.
func (c *blockCache) buffer() []byte {
	if n := len(c.free); n > 0 {
		buf := c.free[n-1]
		c.free = c.free[:n-1]
		return buf
	}
	if c.made < c.n {
		c.made++
		return hostfile.NewBuffer(c.max)
	}
	if e := c.lru.Front(); e != nil {
		b := c.lru.Remove(e).(*cachedBlock)
		delete(c.blocks, b.i)
		return b.data[:c.max]
	}
	return nil
}

// release gives up what acquire returned.
func (c *blockCache) release(b *cachedBlock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.users--
	if b.users > 0 {
		return
	}
	switch {
	case c.closed:
		hostfile.FreeBuffer(b.data[:c.max])
	case b.err != nil: // the next who asks tries anew
		delete(c.blocks, b.i)
		c.free = append(c.free, b.data[:c.max])
	case b.once:
		b.elem = c.lru.PushFront(b)
	default:
		b.elem = c.lru.PushBack(b)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// drop frees the buffers that are not in use, and forgets what is in them.
func (c *blockCache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.lru.Front(); e != nil; e = c.lru.Front() {
		b := c.lru.Remove(e).(*cachedBlock)
		delete(c.blocks, b.i)
		c.free = append(c.free, b.data[:c.max])
	}
	for _, buf := range c.free {
		hostfile.FreeBuffer(buf)
	}
	c.made -= len(c.free)
	c.free = nil
}

// close frees the buffers that are not in use and makes acquire fail.
func (c *blockCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, buf := range c.free {
		hostfile.FreeBuffer(buf)
	}
	for e := c.lru.Front(); e != nil; e = e.Next() {
		hostfile.FreeBuffer(e.Value.(*cachedBlock).data[:c.max])
	}
	c.free, c.blocks = nil, nil
	c.lru.Init()
}
