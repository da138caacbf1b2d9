package xzfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/ulikunitz/xz/lzma"
)

// stepSize is how much is decoded between two looks at the context: some tens
// of milliseconds' work.
const stepSize = 256 << 10

// A Decoder unpacks single blocks. It keeps its dictionary and buffers for the
// next block: File.MaxDict bytes and some 200 KiB. The zero value is ready for
// use; it is not safe for use by several goroutines at once.
type Decoder struct {
	src  chunks
	lz   *lzma.Reader2
	dict int64     // capacity of lz's dictionary
	out  io.Reader // what lz decodes, with the other filters undone

	b    *Block
	hash hash.Hash
	left int64 // unpacked bytes of b that have not been read
}

// Decode unpacks block i of f into dst, which must be as long as the block is
// unpacked, and verifies it. After an error the content of dst is undefined.
func (d *Decoder) Decode(ctx context.Context, f *File, i int, dst []byte) error {
	if int64(len(dst)) != f.Blocks[i].Size {
		return fmt.Errorf("decode block %d of %d bytes into a buffer of %d", i, f.Blocks[i].Size, len(dst))
	}
	if err := d.begin(f, i); err != nil {
		return err
	}
	for len(dst) > 0 {
		if err := ctx.Err(); err != nil {
			d.lz = nil // it is in the middle of a block
			return err
		}
		n := min(len(dst), stepSize)
		if _, err := d.read(dst[:n]); err != nil {
			return err
		}
		dst = dst[n:]
	}
	return d.end(f)
}

// begin starts on block i.
func (d *Decoder) begin(f *File, i int) error {
	b := &f.Blocks[i]
	if !b.Decodable() {
		return fmt.Errorf("%w: block %d at byte %d uses the filters %s, which can't be undone", ErrUnsupported, i, b.PackedOff, b.Filters)
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
func (d *Decoder) read(p []byte) (int, error) {
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
func (d *Decoder) failed(err error) error {
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
func (d *Decoder) end(f *File) error {
	b := d.b
	if err := d.src.end(); err != nil {
		return d.failed(err)
	}
	tail := make([]byte, b.PackedSize()-int64(b.HeaderSize)-b.dataSize())
	off := b.PackedOff + int64(b.HeaderSize) + b.dataSize()
	if err := readAt(f.r, tail, off); err != nil {
		return err
	}
	pad := len(tail) - b.Check.Size()
	if !allZero(tail[:pad]) {
		return corrupt(off, "the block's padding is not zero")
	}
	if d.hash != nil && !bytes.Equal(d.hash.Sum(nil), tail[pad:]) {
		return corrupt(b.PackedOff, "the %s check of the block is wrong", b.Check)
	}
	return nil
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
	d    Decoder
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
