package source

import (
	"bytes"
	"context"
	"io"
	"os"
)

const (
	// zeroRun is the granularity at which zero bytes are looked for.
	zeroRun = 64 << 10
	// chunkSize is how much is read at once, and the largest chunk with data
	// that Scan delivers.
	chunkSize = 1 << 20
)

// rawContent is an image that stands as it is in a file, or in a part of one.
type rawContent struct {
	f    *os.File // not closed by rawContent
	off  int64    // of the image in f
	size int64
}

func (c *rawContent) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.f.ReadAt(p, c.off+off)
	if err == io.EOF && n < len(p) {
		err = io.ErrUnexpectedEOF // the file has become shorter
	}
	return n, err
}

func (c *rawContent) Close() error { return nil }

func (c *rawContent) scan(ctx context.Context, fn func(Chunk) error) error {
	buf := make([]byte, chunkSize)
	for pos := int64(0); pos < c.size; {
		data, end, err := c.nextData(pos)
		if err != nil {
			return err
		}
		if data > pos {
			if err := fn(Chunk{Off: pos, Len: data - pos}); err != nil {
				return err
			}
			pos = data
		}
		for pos < end {
			if err := ctx.Err(); err != nil {
				return err
			}
			// Whole chunks, aligned, so that runs of zeros are found whole.
			p := buf[:min(end, (pos/chunkSize+1)*chunkSize)-pos]
			if _, err := c.ReadAt(p, pos); err != nil {
				return err
			}
			if err := deliver(pos, p, fn); err != nil {
				return err
			}
			pos += int64(len(p))
		}
	}
	return nil
}

// nextData returns where data begins at or after pos, and where it ends. Before
// it, there is a hole. If there is no more data, both are the image's size.
func (c *rawContent) nextData(pos int64) (data, end int64, err error) {
	data, end, err = seekData(c.f, c.off+pos)
	if err != nil {
		return 0, 0, err
	}
	clip := func(off int64) int64 { return min(max(off-c.off, pos), c.size) }
	return clip(data), clip(end), nil
}

// deliver calls fn with the chunks of data, which stands at off in the image:
// runs of zeros without data, the rest in pieces of at most chunkSize.
func deliver(off int64, data []byte, fn func(Chunk) error) error {
	for len(data) > 0 {
		n := pieceLen(off, data)
		zero := isZero(data[:n])
		for n < len(data) {
			k := pieceLen(off+int64(n), data[n:])
			if isZero(data[n:n+k]) != zero || !zero && n+k > chunkSize {
				break
			}
			n += k
		}
		c := Chunk{Off: off, Len: int64(n)}
		if !zero {
			c.Data = data[:n:n]
		}
		if err := fn(c); err != nil {
			return err
		}
		off += int64(n)
		data = data[n:]
	}
	return nil
}

// pieceLen returns the length of the piece at off: up to the next multiple of zeroRun.
func pieceLen(off int64, data []byte) int {
	return int(min(zeroRun-off%zeroRun, int64(len(data))))
}

// isZero says whether p has zero bytes only. Comparing p with itself, shifted
// by one, is the fastest way: it is done by the runtime's assembly.
func isZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}
