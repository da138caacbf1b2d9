package xzfile

import (
	"context"
	"errors"
	"hash"
	"io"
	"slices"

	"github.com/ulikunitz/xz/lzma"
)

// stepSize is how much is decoded between two looks at the context: some tens
// of milliseconds' work.
const stepSize = 256 << 10

// sequential unpacks single blocks in pieces, with memory for their dictionary only.
// It keeps that and its buffers for the next block. The zero value is ready for use.
type sequential struct {
	src  chunks
	lz   *lzma.Reader2
	dict int64     // capacity of lz's dictionary
	out  io.Reader // what lz decodes, with the other filters undone

	b    *Block
	hash hash.Hash
	left int64 // unpacked bytes of b that have not been read
}

// begin starts on block i.
func (d *sequential) begin(f *File, i int) error {
	b := &f.Blocks[i]
	if !b.Decodable() {
		return b.undecodable(i)
	}
	d.b, d.left, d.hash = b, b.Size, b.Check.newHash()
	d.src.reset(f.r, b)
	if b.Size == 0 {
		return nil // a new Reader2 would look for a chunk
	}
	if dict := b.dictCap(); d.lz == nil || d.dict != dict {
		d.lz = nil // so that two dictionaries are never held at once
		var err error
		if d.lz, err = (lzma.Reader2Config{DictCap: int(dict)}).NewReader2(&d.src); err != nil {
			return d.failed(err)
		}
		d.dict = dict
	}
	d.out = d.lz
	if !b.Plain() {
		d.out = io.LimitReader(d.out, b.Size) // lz goes on to the next block
	}
	for _, f := range slices.Backward(b.chain[:]) {
		if f != (filter{}) {
			d.out = newFilterReader(d.out, f)
		}
	}
	return nil
}

// read fills p, which is no longer than what is left of the block.
func (d *sequential) read(p []byte) (int, error) {
	n, err := io.ReadFull(d.out, p)
	if err != nil {
		return n, d.failed(err)
	}
	d.left -= int64(n)
	if d.hash != nil {
		d.hash.Write(p)
	}
	return n, nil
}

// failed gives up the LZMA decoder, whose state is undefined after an error,
// and returns what the error means.
func (d *sequential) failed(err error) error {
	d.lz = nil
	switch {
	case d.src.readErr != nil:
		return d.src.readErr
	case errors.Is(err, ErrCorrupt):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return corrupt(d.src.off, "the LZMA2 data ends too soon")
	}
	return corrupt(d.src.off, "%v", err)
}

// end verifies what stands behind the data of a block that has been read in full.
func (d *sequential) end(f *File) error {
	if err := d.src.end(); err != nil {
		return d.failed(err)
	}
	return d.b.verify(f.r, d.hash)
}

// NewReader returns a reader of the whole unpacked file, in order. Its Read
// returns ctx's error once ctx is done. Memory is bounded by File.MaxDict, not
// by the size of blocks; so bytes are returned before the check of their block
// is known. Only what was read before io.EOF, with no other error, is verified.
func (f *File) NewReader(ctx context.Context) io.Reader {
	return &reader{ctx: ctx, f: f, next: 0}
}

type reader struct {
	ctx  context.Context
	f    *File
	d    sequential
	next int  // block to begin when the present one is through
	open bool // there is a present block
	err  error
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil {
		switch {
		case r.ctx.Err() != nil:
			r.err = r.ctx.Err()
		case r.open && r.d.left > 0:
			var n int
			n, r.err = r.d.read(p[:min(int64(len(p)), stepSize, r.d.left)])
			return n, r.err
		case r.open:
			r.err = r.d.end(r.f)
			r.open = false
		case r.next == len(r.f.Blocks):
			r.err = io.EOF
		default:
			r.err = r.d.begin(r.f, r.next)
			r.open = true
			r.next++
		}
	}
	return 0, r.err
}
