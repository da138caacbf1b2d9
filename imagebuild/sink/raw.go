package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/piimg/piimg/imagebuild/hostfile"
	"github.com/piimg/piimg/imagebuild/layer"
)

// blockSize is the unit in which runs of zeros become holes. It is the block
// size of the common file systems: smaller holes would not save anything.
const blockSize = 4096

// Raw is the [Format] of images as they are, with holes where they are zero.
type Raw struct {
	// Base, if it is not nil, is a file of the base image as it is. Where the file
	// system lets files share what they hold, images begin as clones of it, and
	// only what differs is written. All bytes are read and hashed nevertheless.
	Base *os.File
}

// Name implements [Format].
func (Raw) Name() string { return "img" }

// Clones reports whether images in the folder of path begin as clones of the base, so
// that they take no room but for what differs. It makes a file there, and removes it.
func (f Raw) Clones(path string) bool {
	if f.Base == nil {
		return false
	}
	d, err := createDraft(path, 0)
	if err != nil {
		return false
	}
	defer d.Abort()
	return hostfile.Clone(d.file, f.Base) == nil
}

// rawChanges is what all nodes have changed in a stretch of the base.
type rawChanges []layer.Extent

// Pack implements [Format]: there is nothing to pack.
func (Raw) Pack(_ context.Context, s Stretch) (Packed, error) {
	return rawChanges(slices.Clone(s.Changed)), nil
}

// Create implements [Format].
func (f Raw) Create(path string, size int64) (Sink, error) { return createRaw(path, size, f.Base) }

// raw writes one image as it is.
type raw struct {
	*draft
	buf    []byte // for what is the node's own
	cloned bool   // the file holds the base image
}

// createRaw begins an image of size bytes that will be published at path.
func createRaw(path string, size int64, base *os.File) (*raw, error) {
	d, err := createDraft(path, size)
	if err != nil {
		return nil, err
	}
	r := &raw{draft: d, buf: make([]byte, 64<<10)}
	hostfile.MakeSparse(d.file)
	if base != nil {
		r.cloned = hostfile.Clone(d.file, base) == nil
	}
	if !r.cloned {
		err = d.file.Truncate(0)
	}
	if err = errors.Join(err, d.file.Truncate(size)); err != nil {
		d.Abort()
		return nil, d.failed(err)
	}
	return r, nil
}

// Take implements [Sink].
func (r *raw) Take(in *Region) error {
	if err := in.each(r.buf, r.write, r.zeros); err != nil || !r.cloned {
		return err
	}
	changed, ok := in.Packed.(rawChanges)
	if !ok {
		return fmt.Errorf("%s: the region at %d was not packed for it", r.final, in.Off)
	}
	for _, extents := range [][]layer.Extent{changed, in.Own} {
		for _, e := range extents {
			for off := e.Off; off < e.Off+e.Len; off += int64(len(r.buf)) {
				p := r.buf[:min(int64(len(r.buf)), e.Off+e.Len-off)]
				if err := in.Read(p, off); err != nil {
					return err
				}
				if _, err := r.file.WriteAt(p, off); err != nil {
					return r.failed(err)
				}
			}
		}
	}
	return nil
}

// write takes the image's next bytes.
func (r *raw) write(p []byte) error {
	if err := r.take(int64(len(p))); err != nil {
		return err
	}
	r.hash.Write(p)
	start := r.off
	r.off += int64(len(p))
	if r.cloned {
		return nil // Take writes what differs
	}
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
	return nil
}

// zeros says that the image's next n bytes are zero.
func (r *raw) zeros(n int64) error {
	if err := r.take(n); err != nil {
		return err
	}
	r.off += n
	hashZeros(r.hash, n)
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
	res, err := r.finish(nil)
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
