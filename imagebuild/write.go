package imagebuild

import (
	"context"

	"github.com/piimg/piimg/imagebuild/hostfile"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/sink"
	"github.com/piimg/piimg/imagebuild/source"
	"github.com/piimg/piimg/imagebuild/tally"
)

// regionSize is how much of an image that has no blocks of its own is worked on at
// a time, in bytes.
const regionSize = 4 << 20

// passMemory is what the regions at work may take, in bytes, of the 256 MiB that a
// build of an image with blocks of 24 MiB is to do with. A region that is edited and
// packed takes three and a half times its size: what the base has, what nodes share,
// and the packer's tables.
const passMemory = 168 << 20

// workers returns how many regions of up to size bytes are worked on at once.
func workers(jobs int, size int64) int {
	return min(jobs, int(max(1, passMemory*2/(7*max(1, size)))))
}

// output is one node's image on its way to its sink.
type output struct {
	layer *layer.Layer
	sink  sink.Sink
	tally *tally.Tally
	// records are of the edits that not all nodes share.
	records []plan.Record
	own     []layer.Extent // of the layer
}

// take passes a stretch that all nodes share on, with the node's changes.
func (o *output) take(s sink.Stretch, packed sink.Packed) error {
	r := sink.Region{
		Off: s.Off, Len: s.Len, Data: s.Data, Packed: packed,
		Own: layer.Within(o.own, s.Off, s.Len), Patch: o.layer.Patch,
	}
	if err := o.tally.Take(&r); err != nil {
		return err
	}
	return o.sink.Take(&r)
}

// pass is the one way through the base image that feeds all outputs.
type pass struct {
	image   *source.Image
	shared  *layer.Layer // over the image; what all nodes have
	format  sink.Format
	tallies *tally.Shared
	outputs []*output
	jobs    int
}

// run feeds every output. The shared layer is read and packed in several places of
// the image at once; what comes of it goes to the outputs in order.
func (p *pass) run(ctx context.Context, progress func(done, total int64)) error {
	changed := p.shared.Changed()
	for _, o := range p.outputs {
		o.own = o.layer.Extents()
	}
	type packed struct {
		sink.Stretch
		packed sink.Packed
		buf    *buffers
	}
	regions := cutRegions(p.image, p.shared.Size())
	size := largest(regions)
	workers := workers(p.jobs, size)
	spare := newSpare(workers+1, size)
	defer spare.free()
	p.image.DropCache() // of what was read to plan and to edit
	produce := func(ctx context.Context, i int) (out packed, err error) {
		if out.buf, err = spare.get(ctx); err != nil {
			return out, err
		}
		if out.Stretch, err = p.read(ctx, regions[i], layer.Within(changed, regions[i].Off, regions[i].Len), out.buf); err == nil {
			p.tallies.Take(out.Off, out.Len, out.Data)
			out.packed, err = p.format.Pack(ctx, out.Stretch)
		}
		return out, err
	}
	consume := func(in packed) error {
		err := parallel(p.jobs, len(p.outputs), func(_, i int) error {
			return p.outputs[i].take(in.Stretch, in.packed)
		})
		if r, ok := in.packed.(sink.Releaser); ok {
			r.Release()
		}
		spare.put(in.buf)
		if err == nil {
			progress(in.Off+in.Len, p.shared.Size())
		}
		return err
	}
	return inOrder(ctx, len(regions), workers, produce, consume)
}

// read reads what all nodes have in a region, and what the base has there.
func (p *pass) read(ctx context.Context, r layer.Extent, changed []layer.Extent, b *buffers) (sink.Stretch, error) {
	s := sink.Stretch{Off: r.Off, Len: r.Len, Changed: changed}
	if inBase := min(r.Len, p.image.Size()-r.Off); inBase > 0 {
		base := b.base(r.Len)
		zero, err := p.image.ReadOnce(ctx, base[:inBase], r.Off)
		if err != nil {
			return s, err
		}
		if !zero {
			clear(base[inBase:])
			s.Base = base
		}
	}
	s.Data = s.Base
	if len(changed) > 0 {
		s.Data = b.shared(r.Len)
		if s.Base == nil {
			clear(s.Data)
		} else {
			copy(s.Data, s.Base)
		}
		return s, p.shared.Patch(r.Off, s.Data)
	}
	return s, nil
}

// cutRegions cuts an image of size bytes into regions: at the ends of the base's
// blocks, if it has any, so that each of them is decoded as a whole; and what
// enlarged it as finely.
func cutRegions(image *source.Image, size int64) []layer.Extent {
	var out []layer.Extent
	step, done := int64(regionSize), int64(0)
	if x := image.XZ(); x != nil {
		for _, b := range x.Blocks {
			if b.Size > 0 {
				out = append(out, layer.Extent{Off: b.Off, Len: b.Size})
			}
		}
		step, done = max(step, x.MaxBlock), x.Size
	}
	for ; done < size; done += step {
		out = append(out, layer.Extent{Off: done, Len: min(step, size-done)})
	}
	return out
}

// largest returns the size of the largest region.
func largest(regions []layer.Extent) (size int64) {
	for _, r := range regions {
		size = max(size, r.Len)
	}
	return size
}

// buffers is the memory for one region at a time.
type buffers struct {
	size int
	a, b []byte
}

func (b *buffers) base(n int64) []byte {
	if b.a == nil {
		b.a = hostfile.NewBuffer(b.size)
	}
	return b.a[:n]
}

func (b *buffers) shared(n int64) []byte {
	if b.b == nil {
		b.b = hostfile.NewBuffer(b.size)
	}
	return b.b[:n]
}

// spare holds the buffers for as many regions as there are at work.
type spare struct {
	all  []*buffers
	idle chan *buffers
}

func newSpare(n int, size int64) *spare {
	s := &spare{idle: make(chan *buffers, n)}
	for range n {
		b := &buffers{size: int(size)}
		s.all = append(s.all, b)
		s.idle <- b
	}
	return s
}

// get waits for buffers that are not in use: after an error there may never be any,
// since what has failed does not give its own back.
func (s *spare) get(ctx context.Context) (*buffers, error) {
	select {
	case b := <-s.idle:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// put takes buffers back. Few regions have changes that nodes share: what they take is
// freed.
func (s *spare) put(b *buffers) {
	if b.b != nil {
		hostfile.FreeBuffer(b.b)
		b.b = nil
	}
	s.idle <- b
}

// free frees all buffers, of which none may be in use any more.
func (s *spare) free() {
	for _, b := range s.all {
		if b.a != nil {
			hostfile.FreeBuffer(b.a)
		}
		if b.b != nil {
			hostfile.FreeBuffer(b.b)
		}
	}
}
