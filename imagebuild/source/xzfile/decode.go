package xzfile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/piimg/piimg/imagebuild/lzma2"
)

// A Decoder unpacks single blocks. It keeps its buffers, some 200 KiB, for the next
// block. The zero value is ready for use; it is not safe for use by several goroutines
// at once.
type Decoder struct {
	lz  lzma2.Decoder
	in  lzma2.Chunks
	buf *bufio.Reader
}

// Decode unpacks block i of f into dst, which must be as long as the block is
// unpacked, and verifies it. The block must be [Block.Plain]. After an error the content of dst is undefined.
func (d *Decoder) Decode(ctx context.Context, f *File, i int, dst []byte) error {
	b := &f.Blocks[i]
	if int64(len(dst)) != b.Size {
		return fmt.Errorf("decode block %d of %d bytes into a buffer of %d", i, b.Size, len(dst))
	}
	if !b.Plain() {
		return b.undecodable(i)
	}
	sum := b.Check.newHash()
	if err := d.data(ctx, f, b, dst, sum); err != nil {
		return err
	}
	return b.verify(f.r, sum)
}

// undecodable is the error for block i, which has other filters than LZMA2.
func (b *Block) undecodable(i int) error {
	return fmt.Errorf("%w: block %d at byte %d uses the filters %s, which can't be undone here", ErrUnsupported, i, b.PackedOff, b.Filters)
}

// data decodes a block's LZMA2 data.
func (d *Decoder) data(ctx context.Context, f *File, b *Block, dst []byte, sum hash.Hash) error {
	if d.buf == nil {
		d.buf = bufio.NewReaderSize(nil, 128<<10)
	}
	start := b.PackedOff + int64(b.HeaderSize)
	d.buf.Reset(f.Data(b))
	d.in.Reset(d.buf)
	d.lz.Reset()
	for pos := 0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		off := start + d.in.Size() // of the chunk, for errors
		c, _, data, err := d.in.Next()
		if err == nil && c == nil {
			switch {
			case d.in.Size() != b.dataSize():
				return corrupt(off, "the LZMA2 data ends %d bytes too soon", b.dataSize()-d.in.Size())
			case pos != len(dst):
				return corrupt(off, "the LZMA2 data unpacks to %d bytes instead of %d", pos, len(dst))
			}
			return nil
		}
		if err == nil {
			err = d.lz.Decode(dst, pos, *c, data)
		}
		switch {
		case err == nil:
		case errors.Is(err, lzma2.ErrCorrupt):
			if f.short(b) {
				return fmt.Errorf("%w: it ends within the block data at byte %d", ErrTruncated, off)
			}
			return corrupt(off, "%v", err)
		default:
			return err
		}
		if sum != nil {
			sum.Write(dst[pos : pos+c.Unpacked])
		}
		pos += c.Unpacked
	}
}

// Data returns the LZMA2 data of a block, as it stands in the file.
func (f *File) Data(b *Block) *io.SectionReader {
	return io.NewSectionReader(f.r, b.PackedOff+int64(b.HeaderSize), b.dataSize())
}

// Raw fills p with a block as it stands in the file, from its byte off on: of its
// b.PackedSize() bytes of header, data, padding and check.
func (f *File) Raw(b *Block, p []byte, off int64) error { return readAt(f.r, p, b.PackedOff+off) }

// short reports whether the file has become too short for a block since it was opened.
func (f *File) short(b *Block) bool {
	_, err := f.r.ReadAt(make([]byte, 1), b.PackedOff+b.PackedSize()-1)
	return errors.Is(err, io.EOF)
}

// verify makes sure of what stands behind the data of a block, whose hash sum is that
// of the data as it was unpacked; nil if its check cannot be verified.
func (b *Block) verify(r io.ReaderAt, sum hash.Hash) error {
	tail := make([]byte, b.PackedSize()-int64(b.HeaderSize)-b.dataSize())
	off := b.PackedOff + int64(b.HeaderSize) + b.dataSize()
	if err := readAt(r, tail, off); err != nil {
		return err
	}
	pad := len(tail) - b.Check.Size()
	if !allZero(tail[:pad]) {
		return corrupt(off, "the block's padding is not zero")
	}
	if sum != nil && !bytes.Equal(sum.Sum(nil), tail[pad:]) {
		return corrupt(b.PackedOff, "the %s check of the block is wrong", b.Check)
	}
	return nil
}
