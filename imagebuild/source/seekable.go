package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sort"

	"github.com/klauspost/compress/zstd"
)

// Of the seek table that zstd's contrib/seekable_format defines: a skippable frame
// at the end of the file, with an entry for each frame before it and a footer.
const (
	seekTableMagic  = 0x184D2A5E // of the skippable frame
	seekFooterMagic = 0x8F92EAB1
	seekHeadSize    = 8 // magic, size of the rest
	seekFooterSize  = 9 // number of entries, flags, magic
	seekChecksums   = 0x80
	seekReserved    = 0x7c
)

// Limits on what is read by a seek table: other files are unpacked.
const (
	maxFrames = 1 << 20
	maxFrame  = 8 << 20 // bytes, unpacked
	// How many unpacked frames are kept for ReadAt at least, and at most.
	minFrameBuffers, maxFrameBuffers = 4, 64
)

// zstdFrame is a frame of a .zst file with a seek table.
type zstdFrame struct {
	packedOff, off int64 // in the file, in the image
	packed, size   int64
}

// seekTable returns the frames of a .zst file that has a seek table, and else nil.
// What it says is not to be believed before the frames are decoded.
func seekTable(r io.ReaderAt, size int64) ([]zstdFrame, error) {
	le := binary.LittleEndian
	var foot [seekFooterSize]byte
	if size < seekHeadSize+seekFooterSize {
		return nil, nil
	}
	if _, err := r.ReadAt(foot[:], size-seekFooterSize); err != nil {
		return nil, err
	}
	n, flags := int64(le.Uint32(foot[:])), foot[4]
	if le.Uint32(foot[5:]) != seekFooterMagic || flags&seekReserved != 0 || n > maxFrames {
		return nil, nil
	}
	entry := int64(8)
	if flags&seekChecksums != 0 {
		entry = 12
	}
	table := make([]byte, seekHeadSize+n*entry)
	at := size - seekFooterSize - int64(len(table))
	if at < 0 {
		return nil, nil
	}
	if _, err := r.ReadAt(table, at); err != nil {
		return nil, err
	}
	if le.Uint32(table) != seekTableMagic || int64(le.Uint32(table[4:])) != n*entry+seekFooterSize {
		return nil, nil
	}
	frames := make([]zstdFrame, n)
	var end zstdFrame
	for i := range frames {
		e := table[seekHeadSize+int64(i)*entry:]
		f := &frames[i]
		*f = zstdFrame{end.packedOff, end.off, int64(le.Uint32(e)), int64(le.Uint32(e[4:]))}
		if f.size == 0 || f.size > maxFrame || f.packed > 2*maxFrame {
			return nil, nil
		}
		end.packedOff, end.off = f.packedOff+f.packed, f.off+f.size
	}
	if end.packedOff != at || n == 0 {
		return nil, nil
	}
	return frames, nil
}

// zstdContent reads a .zst file by its seek table.
type zstdContent struct {
	f      *os.File
	frames []zstdFrame
	size   int64
	dec    *zstd.Decoder
	cache  *blockCache
}

func newZstdContent(f *os.File, frames []zstdFrame, o *Options) (*zstdContent, error) {
	last := frames[len(frames)-1]
	c := &zstdContent{f: f, frames: frames, size: last.off + last.size}
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var largest int64
	for _, f := range frames {
		largest = max(largest, f.size)
	}
	mem := o.Memory
	if mem <= 0 {
		mem = DefaultMemory
	}
	buffers := min(max(mem/2/max(largest, 1), minFrameBuffers), maxFrameBuffers)
	var err error
	c.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(workers), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	c.cache = newBlockCache(int(buffers), int(largest), func(i int) int64 { return frames[i].size }, c.load)
	return c, nil
}

// load decodes frame i into buf, which is as long as the frame is unpacked.
func (c *zstdContent) load(ctx context.Context, i int, buf []byte, _ bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f := &c.frames[i]
	packed := make([]byte, f.packed)
	if _, err := c.f.ReadAt(packed, f.packedOff); err != nil {
		return err
	}
	out, err := c.dec.DecodeAll(packed, buf[:0:len(buf)])
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		err = fmt.Errorf("it unpacks to more than %d bytes", len(buf))
	case err == nil && len(out) != len(buf):
		err = fmt.Errorf("it unpacks to %d bytes instead of %d", len(out), len(buf))
	}
	if err != nil {
		return explain(fmt.Errorf("frame %d at byte %d: %w", i, f.packedOff, err))
	}
	return nil
}

// find returns the frame that holds byte off.
func (c *zstdContent) find(off int64) int {
	return sort.Search(len(c.frames), func(i int) bool { return c.frames[i].off > off }) - 1
}

func (c *zstdContent) ReadAt(p []byte, off int64) (int, error) {
	return c.read(context.Background(), p, off, false)
}

func (c *zstdContent) readOnce(ctx context.Context, p []byte, off int64) (bool, error) {
	_, err := c.read(ctx, p, off, true)
	return err == nil && isZero(p), err
}

func (c *zstdContent) read(ctx context.Context, p []byte, off int64, once bool) (int, error) {
	done := 0
	for i := c.find(off); done < len(p); i++ {
		if i >= len(c.frames) {
			return done, io.EOF
		}
		f := &c.frames[i]
		at := off + int64(done) - f.off
		n := int(min(f.size-at, int64(len(p)-done)))
		if dst := p[done : done+n]; once && int64(n) == f.size {
			if err := c.load(ctx, i, dst, true); err != nil {
				return done, err
			}
		} else {
			b, err := c.cache.acquire(ctx, i, once)
			if err != nil {
				return done, err
			}
			copy(dst, b.data[at:])
			c.cache.release(b)
		}
		done += n
	}
	return done, nil
}

func (c *zstdContent) scan(ctx context.Context, fn func(Chunk) error) error {
	buf := make([]byte, c.cache.max) // none of the cache's, which fn may need for ReadAt
	for i, f := range c.frames {
		if err := c.load(ctx, i, buf[:f.size], true); err != nil {
			return err
		}
		if err := deliver(f.off, buf[:f.size], fn); err != nil {
			return err
		}
	}
	return nil
}

func (c *zstdContent) Close() error {
	c.cache.close()
	c.dec.Close()
	return nil
}

// openZstd reads a .zst file by its seek table, as piimg's own files have one, and
// unpacks others.
func (m *Image) openZstd(ctx context.Context) error {
	frames, err := seekTable(m.file, m.packing.PackedSize)
	if err != nil {
		return err
	}
	if frames == nil {
		return m.unpacked(ctx, zstdUnpacker)
	}
	c, err := newZstdContent(m.file, frames, &m.opts)
	if err != nil {
		return err
	}
	m.content, m.size = c, c.size
	m.packing.Detail = fmt.Sprintf("%d frames, with a seek table", len(frames))
	return nil
}
