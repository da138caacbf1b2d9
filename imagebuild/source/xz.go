package source

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/piimg/piimg/imagebuild/source/xzfile"
)

// maxDict is the largest dictionary that is accepted for unpacking a file from
// end to end; xz -9 asks for 64 MiB.
const maxDict = 256 << 20

// memoryPlan says how the memory for reading an .xz file is used.
type memoryPlan struct {
	workers int // decoders
	buffers int // of the size of the largest block
}

// window returns how many blocks all Scans together may hold at once, being
// decoded or ready. One buffer is always left for ReadAt: who is given a chunk by
// Scan may use it.
func (p memoryPlan) window() int { return min(p.buffers-1, 2*p.workers) }

// planMemory finds the largest number of workers that fits the memory allowed.
// Not ok means that the blocks are too large even for one.
func planMemory(x *xzfile.File, o *Options) (plan memoryPlan, ok bool) {
	mem, most := o.Memory, o.Workers
	if mem <= 0 {
		mem = DefaultMemory
	}
	if most <= 0 {
		most = runtime.GOMAXPROCS(0)
	}
	if plan, ok = fitMemory(x, mem, most); !ok && o.MostMemory > mem {
		return fitMemory(x, o.MostMemory, most)
	}
	return plan, ok
}

// fitMemory finds the largest number of workers, of most, that fits mem.
func fitMemory(x *xzfile.File, mem int64, most int) (plan memoryPlan, ok bool) {
	const decoderBuffers = 512 << 10
	block := max(x.MaxBlock, 1)
	for w := most; w >= 1; w-- {
		// While w blocks are being decoded, one more is ready or being used,
		// and one is left for ReadAt.
		rest := mem - int64(w)*decoderBuffers
		if rest/block >= int64(w)+2 {
			return memoryPlan{workers: w, buffers: int(min(rest/block, int64(len(x.Blocks)+2)))}, true
		}
	}
	return memoryPlan{}, false
}

// xzContent reads an .xz file through its index.
type xzContent struct {
	x        *xzfile.File
	plan     memoryPlan
	cache    *blockCache
	decoders chan *xzfile.Decoder // those that are free; nil stands for one not made yet
	tokens   chan struct{}        // has one for each block that a Scan holds, up to the plan's window
	zeros    zeroBlocks
	spill    spill
}

func newXZContent(packed io.ReaderAt, x *xzfile.File, plan memoryPlan, o *Options) *xzContent {
	c := &xzContent{x: x, plan: plan, decoders: make(chan *xzfile.Decoder, plan.workers), tokens: make(chan struct{}, plan.window())}
	for range plan.workers {
		c.decoders <- nil
	}
	c.zeros = zeroBlocks{r: packed, x: x, zero: make([]bool, len(x.Blocks))}
	opts := *o
	c.spill.dir = func() (string, error) { return opts.cacheDir(dirUnpacked) }
	c.cache = newBlockCache(plan.buffers, int(x.MaxBlock), func(i int) int64 { return x.Blocks[i].Size }, c.load)
	return c
}

// load decodes block i into buf, or gets it from where it was put aside.
func (c *xzContent) load(ctx context.Context, i int, buf []byte, once bool) error {
	b := &c.x.Blocks[i]
	if c.spill.get(i, b.Off, buf) {
		return nil
	}
	var d *xzfile.Decoder
	select {
	case d = <-c.decoders:
	case <-ctx.Done():
		return ctx.Err()
	}
	if d == nil {
		d = new(xzfile.Decoder)
	}
	err := d.Decode(ctx, c.x, i, buf)
	c.decoders <- d
	if err != nil {
		return fmt.Errorf("block %d (%d bytes at %d of the image): %w", i, b.Size, b.Off, err)
	}
	if c.zeros.learn(i, buf) {
		return nil
	}
	if !once {
		c.spill.put(i, b.Off, buf)
	}
	return nil
}

func (c *xzContent) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for i := c.x.Find(off); done < len(p); i++ {
		if i < 0 || i >= len(c.x.Blocks) {
			return done, io.EOF
		}
		b := &c.x.Blocks[i]
		if b.Size == 0 {
			continue
		}
		at := off + int64(done) - b.Off
		n := int(min(b.Size-at, int64(len(p)-done)))
		dst := p[done : done+n]
		if c.zeros.is(i) {
			clear(dst)
		} else {
			block, err := c.cache.acquire(context.Background(), i, false)
			if err != nil {
				return done, err
			}
			copy(dst, block.data[at:])
			c.cache.release(block)
		}
		done += n
	}
	return done, nil
}

// scan decodes blocks in parallel, ahead of what fn has got. Blocks get their
// tokens in order, so that a scan that holds any holds the one that it needs
// next: several scans at once can't wait for each other.
func (c *xzContent) scan(ctx context.Context, fn func(Chunk) error) error {
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		block *cachedBlock // nil for zeros
		err   error
	}
	type job struct {
		i    int
		done chan result // holds one
	}
	jobs := make(chan job)                 // to the workers, in order
	queue := make(chan job, cap(c.tokens)) // to this goroutine, in the same order
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(jobs)
		defer close(queue)
		for i := range c.x.Blocks {
			select {
			case c.tokens <- struct{}{}:
			case <-ctx.Done():
				return
			}
			j := job{i, make(chan result, 1)}
			queue <- j // has room for as many as there are tokens
			select {
			case jobs <- j:
			case <-ctx.Done():
				j.done <- result{err: ctx.Err()}
				return
			}
		}
	})
	for range c.plan.workers {
		wg.Go(func() {
			for j := range jobs {
				var r result
				if r.err = ctx.Err(); r.err == nil && !c.zeros.is(j.i) {
					r.block, r.err = c.cache.acquire(ctx, j.i, true)
				}
				j.done <- r
			}
		})
	}

	var err error
	for j := range queue {
		r := <-j.done
		if err == nil {
			err = r.err
		}
		if b := &c.x.Blocks[j.i]; err == nil && b.Size > 0 {
			if r.block == nil {
				err = fn(Chunk{Off: b.Off, Len: b.Size})
			} else {
				err = deliver(b.Off, r.block.data, fn)
			}
		}
		if r.block != nil {
			c.cache.release(r.block)
		}
		if err != nil {
			cancel() // and go on until all blocks have been given back
		}
		<-c.tokens
	}
	if err == nil {
		err = ctx.Err()
	}
	cancel()
	wg.Wait()
	return err
}

func (c *xzContent) Close() error {
	c.cache.close()
	return c.spill.close()
}

// describeXZ says for people how an .xz file is made up.
func describeXZ(x *xzfile.File) string {
	s := "no blocks"
	switch {
	case len(x.Blocks) == 1:
		s = "1 block of " + mib(x.MaxBlock)
	case len(x.Blocks) > 1:
		s = fmt.Sprintf("%d blocks of up to %s", len(x.Blocks), mib(x.MaxBlock))
	}
	if n := len(x.Streams); n > 1 {
		s += fmt.Sprintf(" in %d streams", n)
	}
	if len(x.Streams) > 0 {
		s += ", check " + x.Streams[0].Check.String()
	}
	return s
}
