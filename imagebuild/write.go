package imagebuild

import (
	"context"

	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/sink"
	"github.com/piimg/piimg/imagebuild/source"
)

// pieceSize is how much of a changed stretch a worker patches at a time, in bytes.
const pieceSize = 1 << 20

// tailSize is how much of an enlarged image's end is passed on at a time, in bytes.
const tailSize = 64 << 20

// output is one node's image on its way from the base to its sink.
type output struct {
	layer *layer.Layer
	sink  sink.Sink
}

// take passes a piece of the base on, with the node's changes.
func (o *output) take(c source.Chunk, buf []byte) error {
	for off := int64(0); off < c.Len; {
		n := min(int64(len(buf)), c.Len-off)
		if err := o.takePiece(c, off, buf[:n]); err != nil {
			return err
		}
		off += n
	}
	return nil
}

func (o *output) takePiece(c source.Chunk, off int64, buf []byte) error {
	n := int64(len(buf))
	if !o.layer.Touches(c.Off+off, n) {
		if c.Data == nil {
			return o.sink.Zeros(n)
		}
		_, err := o.sink.Write(c.Data[off : off+n])
		return err
	}
	if c.Data == nil {
		clear(buf)
	} else {
		copy(buf, c.Data[off:])
	}
	if err := o.layer.Patch(c.Off+off, buf); err != nil {
		return err
	}
	_, err := o.sink.Write(buf)
	return err
}

// writeAll feeds every output from one pass over the base, and then with the
// zeros that make an image of size bytes of it.
func writeAll(ctx context.Context, image *source.Image, size int64, outputs []*output, jobs int, progress func(done, total int64)) error {
	bufs := make([][]byte, min(jobs, len(outputs)))
	for i := range bufs {
		bufs[i] = make([]byte, pieceSize)
	}
	take := func(c source.Chunk) error {
		err := parallel(jobs, len(outputs), func(worker, i int) error {
			return outputs[i].take(c, bufs[worker])
		})
		if err != nil {
			return err
		}
		progress(c.Off+c.Len, size)
		return nil
	}
	if err := image.Scan(ctx, take); err != nil {
		return err
	}
	for off := image.Size(); off < size; off += tailSize {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := take(source.Chunk{Off: off, Len: min(tailSize, size-off)}); err != nil {
			return err
		}
	}
	return nil
}
