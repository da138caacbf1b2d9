package lzma2

import (
	"errors"
	"io"
)

// chunkReader reads chunks one by one.
type chunkReader struct {
	r   io.Reader
	buf [MaxChunkHeader + MaxChunkData + Slack]byte
	n   int // bytes of buf that were read and not yet used
}

func newChunkReader(r io.Reader) *chunkReader { return &chunkReader{r: r} }

// next returns the next chunk, its header, and its data with Slack bytes behind it,
// all valid until the next call. At the end marker the chunk is nil.
func (r *chunkReader) next() (c *Chunk, header, data []byte, err error) {
	if err := r.read(1); err != nil {
		return nil, nil, nil, err
	}
	if r.buf[0] == controlEnd {
		return nil, nil, nil, nil
	}
	want := 3
	switch {
	case r.buf[0] >= controlProps:
		want = 6
	case r.buf[0] >= controlLZMA:
		want = 5
	}
	if err := r.read(want); err != nil {
		return nil, nil, nil, err
	}
	chunk, _, err := ParseChunk(r.buf[:want])
	if err != nil {
		return nil, nil, nil, err
	}
	if err := r.read(want + chunk.Packed); err != nil {
		return nil, nil, nil, err
	}
	r.n = 0
	return &chunk, r.buf[:want], r.buf[want : want+chunk.Packed+Slack], nil
}

// read sees to it that there are n bytes in buf.
func (r *chunkReader) read(n int) error {
	k, err := io.ReadFull(r.r, r.buf[r.n:n])
	r.n += k
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt("it ends without an end marker")
	}
	return err
}
