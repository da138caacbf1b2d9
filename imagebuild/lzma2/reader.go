package lzma2

import (
	"errors"
	"io"
)

// Chunks reads chunks one by one. It takes 64 KiB, and asks its reader for small
// pieces.
type Chunks struct {
	r    io.Reader
	buf  [maxChunkHeader + maxChunkData + slack]byte
	n    int // bytes of buf that were read and not yet used
	size int64
}

// Reset begins to read from r. It must be called before the first Next.
func (r *Chunks) Reset(in io.Reader) { r.r, r.n, r.size = in, 0, 0 }

// Size returns how many bytes have been read, in headers, data and the end marker.
func (r *Chunks) Size() int64 { return r.size }

// Next returns the next chunk, its header, and its data as [Decoder.Decode] takes it,
// all valid until the next call. At the end marker the chunk is nil.
func (r *Chunks) Next() (c *Chunk, header, data []byte, err error) {
	if err := r.read(1); err != nil {
		return nil, nil, nil, err
	}
	if r.buf[0] == controlEnd {
		r.n = 0
		return nil, nil, nil, nil
	}
	size := headerSize(r.buf[0])
	if err := r.read(size); err != nil {
		return nil, nil, nil, err
	}
	if c, err = parseHeader(r.buf[:size]); err != nil {
		return nil, nil, nil, err
	}
	end := size + c.packed
	if err := r.read(end); err != nil {
		return nil, nil, nil, err
	}
	r.n = 0
	return c, r.buf[:size], r.buf[size : end+slack], nil
}

// read sees to it that there are n bytes in buf.
func (r *Chunks) read(n int) error {
	k, err := io.ReadFull(r.r, r.buf[r.n:n])
	r.n += k
	r.size += int64(k)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt("it ends without an end marker")
	}
	return err
}
