package sink

import (
	"bytes"
	"context"
	"fmt"

	"github.com/piimg/piimg/imagebuild/hostfile"
)

// blockSize is the unit in which runs of zeros become holes. It is the block
// size of the common file systems: smaller holes would not save anything.
const blockSize = 4096

// zeroRun feeds the hash where the image is zero, without a buffer of its own
// for every sink.
var zeroRun [1 << 20]byte

// Raw is the [Format] of images as they are, with holes where they are zero.
type Raw struct{}

// Name implements [Format].
func (Raw) Name() string { return "img" }

// Pack implements [Format]: there is nothing to pack.
func (Raw) Pack(context.Context, Stretch) (Packed, error) { return nil, nil }

// Create implements [Format].
func (Raw) Create(path string, size int64) (Sink, error) { return createRaw(path, size) }

// raw writes one image as it is.
type raw struct {
	*draft
	size int64  // of the image
	off  int64  // how much of it was taken
	buf  []byte // for what is the node's own
}

// createRaw begins an image of size bytes that will be published at path.
func createRaw(path string, size int64) (*raw, error) {
	d, err := createDraft(path)
	if err != nil {
		return nil, err
	}
	r := &raw{draft: d, size: size, buf: make([]byte, 64<<10)}
	hostfile.MakeSparse(d.file)
	if err := d.file.Truncate(size); err != nil {
		d.Abort()
		return nil, d.failed(err)
	}
	return r, nil
}

// Take implements [Sink].
func (r *raw) Take(in *Region) error { return in.Each(r.buf, r.write, r.zeros) }

// write takes the image's next bytes.
func (r *raw) write(p []byte) error {
	if err := r.take(int64(len(p))); err != nil {
		return err
	}
	r.hash.Write(p)
	start := r.off
	for done := 0; done < len(p); {
		skip := leadingZeros(p[done:], start+int64(done))
		done += skip
		n := untilZeros(p[done:], start+int64(done))
		if n > 0 {
			if _, err := r.file.WriteAt(p[done:done+n], start+int64(done)); err != nil {
				return r.failed(err)
			}
		}
		done += n
	}
	r.off += int64(len(p))
	return nil
}

// zeros says that the image's next n bytes are zero.
func (r *raw) zeros(n int64) error {
	if err := r.take(n); err != nil {
		return err
	}
	r.off += n
	for n > 0 {
		k := min(n, int64(len(zeroRun)))
		r.hash.Write(zeroRun[:k])
		n -= k
	}
	return nil
}

func (r *raw) take(n int64) error {
	if r.state != writing {
		return fmt.Errorf("%s: written to after its end", r.final)
	}
	if n > r.size-r.off {
		return fmt.Errorf("%s: more bytes than the image's %d", r.final, r.size)
	}
	return nil
}

// Finish implements [Sink].
func (r *raw) Finish() (Result, error) {
	if r.off != r.size {
		return Result{}, fmt.Errorf("%s: ended after %d of %d bytes", r.final, r.off, r.size)
	}
	res, err := r.finish()
	res.Size = r.size
	return res, err
}

// leadingZeros returns how many of p's first bytes can stay a hole; off is where
// p begins in the file. Holes begin and end at block boundaries, or where p does:
// the file was truncated, so what is not written is zero.
func leadingZeros(p []byte, off int64) int {
	n := 0
	for n < len(p) {
		k := toBoundary(off+int64(n), len(p)-n)
		if !bytes.Equal(p[n:n+k], zeroRun[:k]) {
			break
		}
		n += k
	}
	return n
}

// untilZeros returns how many of p's first bytes come before the next block of zeros.
func untilZeros(p []byte, off int64) int {
	n := 0
	for n < len(p) {
		k := toBoundary(off+int64(n), len(p)-n)
		if bytes.Equal(p[n:n+k], zeroRun[:k]) {
			break
		}
		n += k
	}
	return n
}

// toBoundary returns how many bytes there are from off to the next block
// boundary, at most limit.
func toBoundary(off int64, limit int) int {
	return min(blockSize-int(off%blockSize), limit)
}
