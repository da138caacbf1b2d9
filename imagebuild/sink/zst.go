package sink

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// frameSize is how much of an image a frame of an .img.zst holds, in bytes: frames
// begin at its multiples, and where regions do. With less, frames pack worse (by 5 % at 256 KiB); with
// more, a page that differs between nodes costs more.
const frameSize = 1 << 20

// Zst is the [Format] of images packed as Zstandard (RFC 8878), each a list of
// frames that stand for themselves and say what they unpack to: size and checksum.
// A frame that a node does not touch is packed once for all nodes, one of zeros
// once and for all.
//
// At the end there is a seek table, after zstd's contrib/seekable_format: a
// skippable frame, which decoders pass over, and with which tools that know it
// unpack any part of the image without what comes before.
type Zst struct {
	enc   *zstd.Encoder
	zeros []byte  // a packed frame of zeros
	bufs  buffers // for frames of single nodes
}

var _ Format = (*Zst)(nil)

// NewZst returns the format. Up to jobs frames are packed at once, each of which
// takes some 10 MiB.
func NewZst(jobs int) (*Zst, error) {
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(jobs),
		// The next level packs 6 % better at a sixth of the speed.
		zstd.WithEncoderLevel(zstd.SpeedBetterCompression),
		zstd.WithWindowSize(frameSize), // frames have no more to look back on
		zstd.WithLowerEncoderMem(true),
		zstd.WithSingleSegment(true), // so that every frame states its size
		zstd.WithEncoderCRC(true),
	)
	if err != nil {
		return nil, fmt.Errorf("failed to set up zstd: %w", err)
	}
	z := &Zst{enc: enc}
	z.zeros = enc.EncodeAll(zeroRun[:frameSize], nil)
	return z, nil
}

// Name implements [Format].
func (*Zst) Name() string { return "img.zst" }

// zstStretch is a stretch that all nodes share, packed: its frames in order.
type zstStretch []zstFrame

// zstFrame is a frame of a zstStretch.
type zstFrame struct {
	off, size int64 // in the image
	packed    []byte
}

// Pack implements [Format].
func (z *Zst) Pack(ctx context.Context, s Stretch) (Packed, error) {
	var out zstStretch
	buf := z.bufs.get(0)
	defer z.bufs.put(buf)
	for off, n := s.Off, int64(0); off < s.Off+s.Len; off += n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n = min(frameSize-off%frameSize, s.Off+s.Len-off)
		var data []byte
		if s.Data != nil {
			data = s.Data[off-s.Off:][:n]
		}
		f := zstFrame{off: off, size: n, packed: z.zeros}
		if n != frameSize || !isZero(data) {
			*buf = z.appendFrame((*buf)[:0], data, n)
			f.packed = bytes.Clone(*buf) // no larger than it must be: many are held at once
		}
		out = append(out, f)
	}
	return out, nil
}

// isZero reports whether a frame's data, or what is nil in its place, is zeros.
func isZero(data []byte) bool { return data == nil || bytes.Equal(data, zeroRun[:len(data)]) }

// appendFrame packs n bytes of data, or zeros if there is none.
func (z *Zst) appendFrame(dst, data []byte, n int64) []byte {
	if isZero(data) {
		if n == frameSize {
			return append(dst, z.zeros...)
		}
		data = zeroRun[:n]
	}
	return z.enc.EncodeAll(data, dst)
}

// Create implements [Format].
func (z *Zst) Create(path string, size int64) (Sink, error) {
	d, err := createDraft(path, size)
	if err != nil {
		return nil, err
	}
	return &zst{draft: d, format: z}, nil
}

// zst writes one image.
type zst struct {
	*draft
	format *Zst
	table  []byte // an entry of the seek table for each frame
}

// Take implements [Sink].
func (s *zst) Take(r *Region) error {
	if err := s.next(r); err != nil {
		return err
	}
	own := r.Own
	for _, f := range r.Packed.(zstStretch) {
		for len(own) > 0 && own[0].Off+own[0].Len <= f.off {
			own = own[1:]
		}
		var err error
		if len(own) > 0 && own[0].Off < f.off+f.size {
			err = s.takeFrame(r, f)
		} else {
			err = s.write(f.packed, f.size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeFrame packs a frame as this node has it.
func (s *zst) takeFrame(r *Region, f zstFrame) error {
	data, packed := s.format.bufs.get(int(f.size)), s.format.bufs.get(0)
	defer s.format.bufs.put(data)
	defer s.format.bufs.put(packed)
	if err := r.Read(*data, f.off); err != nil {
		return err
	}
	*packed = s.format.appendFrame(*packed, *data, f.size)
	return s.write(*packed, f.size)
}

// write writes a frame of size unpacked bytes and adds it to the seek table.
func (s *zst) write(packed []byte, size int64) error {
	s.table = binary.LittleEndian.AppendUint32(s.table, uint32(len(packed)))
	s.table = binary.LittleEndian.AppendUint32(s.table, uint32(size))
	_, err := s.Write(packed)
	return err
}

// The constants of the seek table.
const (
	skippableMagic = 0x184D2A5E
	seekableMagic  = 0x8F92EAB1
	seekFooterSize = 9 // number of frames, a byte of flags, seekableMagic
	seekEntrySize  = 8 // packed and unpacked size
)

// Finish implements [Sink].
func (s *zst) Finish() (Result, error) {
	le := binary.LittleEndian
	frames := len(s.table) / seekEntrySize
	table := le.AppendUint32(nil, skippableMagic)
	table = le.AppendUint32(table, uint32(len(s.table)+seekFooterSize))
	table = append(table, s.table...)
	table = le.AppendUint32(table, uint32(frames))
	table = append(table, 0) // no flags: the frames have checksums of their own
	table = le.AppendUint32(table, seekableMagic)
	return s.finish(table)
}
