package sink

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/lzma2"
	"github.com/piimg/piimg/imagebuild/source/xzfile"
)

// XZ is the [Format] of images packed as .xz, spliced from a base image packed so.
//
// A block of the base that nothing changes is copied as it is. One that the nodes
// share changes in is edited once ([lzma2.Packer.Replay]). Where nodes differ, which
// is nearly the same places for all of them, the edited block has holes, and of each
// node only what fills them is packed: LZMA2 is a list of chunks, and those behind a
// hole do without it. The block's check is combined from those of its parts.
type XZ struct {
	base    *xzfile.File
	check   xzfile.Check
	hot     []layer.Extent
	packers sync.Pool // of *lzma2.Packer
	bufs    buffers
	zeros   zeroBlock
}

var _ Format = (*XZ)(nil)

// ErrNoSplice means that a base image cannot be spliced from: its blocks carry checks
// that cannot be verified, or different ones.
var ErrNoSplice = errors.New("no .xz file to splice from")

// NewXZ returns the format for images made from base. Hot are the places where nodes
// differ from each other: sorted, disjoint, in offsets of the image. A node that also
// differs elsewhere is packed correctly, but not quickly. Hot decides which bytes come
// out, and so must depend on nothing but what the images are made from.
//
// Stretches must be base's blocks, with those that enlarge the image behind them.
func NewXZ(base *xzfile.File, hot []layer.Extent) (*XZ, error) {
	x := &XZ{base: base, check: xzfile.CheckCRC64, hot: hot}
	for i := range base.Blocks {
		if c := base.Blocks[i].Check; i == 0 {
			x.check = c
		} else if c != x.check {
			return nil, fmt.Errorf("%w: its blocks have the checks %s and %s", ErrNoSplice, x.check, c)
		}
	}
	if !x.check.Verifiable() {
		return nil, fmt.Errorf("%w: its blocks have the check %s", ErrNoSplice, x.check)
	}
	if b := base.Filtered(); b != nil {
		return nil, fmt.Errorf("%w: its blocks use the filters %s", ErrNoSplice, b.Filters)
	}
	x.packers.New = func() any { return new(lzma2.Packer) }
	return x, nil
}

// Name implements [Format].
func (*XZ) Name() string { return "img.xz" }

// xzStretch is a stretch that all nodes share, packed.
type xzStretch struct {
	Stretch
	format *XZ
	block  *xzfile.Block // of the base; nil behind its end
	asIs   bool          // whether all nodes have the block as it stands in the base
	holes  []layer.Extent
	parts  []xzPart // unless asIs
	// packer holds the chunks of parts.
	packer *lzma2.Packer
}

// xzPart is a part of a block, with the check of what it unpacks to: of a hole, none.
type xzPart struct {
	lzma2.Part
	sum []byte
}

// Pack implements [Format].
func (x *XZ) Pack(ctx context.Context, s Stretch) (Packed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := &xzStretch{Stretch: s, format: x, holes: layer.Within(x.hot, s.Off, s.Len)}
	if i := x.base.Find(s.Off); i >= 0 {
		out.block = &x.base.Blocks[i]
		if out.block.Off != s.Off || out.block.Size != s.Len {
			return nil, fmt.Errorf("a stretch of %d bytes at %d is no block of the base image", s.Len, s.Off)
		}
	}
	if out.block != nil && len(s.Changed) == 0 && len(out.holes) == 0 {
		out.asIs = true
		return out, nil
	}
	var err error
	out.parts, out.packer, err = x.edit(out, out.holes, s.Base)
	return out, err
}

// Release implements [Releaser].
func (s *xzStretch) Release() {
	if s.packer != nil {
		s.format.packers.Put(s.packer)
	}
	s.parts, s.packer = nil, nil
}

// edit packs a stretch but for its holes. Old are the base's bytes, to which they are
// written once more. The packer, which may be nil, holds what the parts consist of.
func (x *XZ) edit(s *xzStretch, holes []layer.Extent, old []byte) ([]xzPart, *lzma2.Packer, error) {
	if s.Data == nil && len(holes) == 0 {
		return x.zeros.pack(x, s.Len), nil, nil
	}
	p := x.packers.Get().(*lzma2.Packer)
	data := s.Data
	if data == nil {
		data = make([]byte, s.Len)
	}
	var parts []lzma2.Part
	if s.block == nil {
		parts = p.PackParts(data, spansOf(holes, s.Off))
	} else {
		if old == nil {
			old = make([]byte, s.Len)
		}
		var err error
		parts, err = p.Replay(x.base.Data(s.block), lzma2.Edit{
			Old: old, New: data, Changed: spansOf(s.Changed, s.Off), Holes: spansOf(holes, s.Off),
		})
		if err != nil {
			x.packers.Put(p)
			return nil, nil, fmt.Errorf("failed to edit the block at byte %d of the base image: %w", s.block.PackedOff, err)
		}
	}
	return x.sums(parts, data), p, nil
}

// sums adds the checks of what parts unpack to.
func (x *XZ) sums(parts []lzma2.Part, data []byte) []xzPart {
	out := make([]xzPart, len(parts))
	for i, part := range parts {
		out[i].Part = part
		if !part.Hole && x.check.Combines() {
			out[i].sum = x.check.Sum(data[part.From:part.To])
		}
	}
	return out
}

func spansOf(extents []layer.Extent, off int64) []lzma2.Span {
	out := make([]lzma2.Span, len(extents))
	for i, e := range extents {
		out[i] = lzma2.Span{From: int(e.Off - off), To: int(e.Off + e.Len - off)}
	}
	return out
}

// zeroBlock keeps the packed form of zeros: images grow by many blocks of them.
type zeroBlock struct {
	mu    sync.Mutex
	size  int64
	parts []xzPart
}

func (z *zeroBlock) pack(x *XZ, size int64) []xzPart {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.size != size {
		data := make([]byte, size)
		z.size, z.parts = size, x.sums(new(lzma2.Packer).PackParts(data, nil), data)
	}
	return z.parts
}

// Create implements [Format].
func (x *XZ) Create(path string, size int64) (Sink, error) {
	d, err := createDraft(path, size)
	if err != nil {
		return nil, err
	}
	s := &xz{draft: d, format: x, writer: xzfile.Writer{Check: x.check}}
	if _, err := d.Write(s.writer.Header()); err != nil {
		d.Abort()
		return nil, err
	}
	return s, nil
}

// xz writes one image.
type xz struct {
	*draft
	format *XZ
	writer xzfile.Writer
}

// Take implements [Sink].
func (s *xz) Take(r *Region) error {
	shared := r.Packed.(*xzStretch)
	if err := s.next(r); err != nil {
		return err
	}
	parts := shared.parts
	switch {
	case shared.asIs && len(r.Own) == 0:
		return s.copyBlock(shared.block)
	case !covered(r.Own, shared.holes):
		// The node differs where others don't.
		var err error
		var p *lzma2.Packer
		if parts, p, err = s.format.edit(shared, layer.Merge(0, shared.holes, r.Own), slices.Clone(shared.Base)); err != nil {
			return err
		}
		if p != nil {
			defer s.format.packers.Put(p)
		}
	}
	return s.block(r, shared, parts)
}

// copyBlock writes a block of the base as it stands there. Each node reads it anew, from
// what the system has just cached: whole blocks in memory would be as large as they pack
// badly.
func (s *xz) copyBlock(b *xzfile.Block) error {
	s.writer.Block(b.UnpaddedSize, b.Size)
	buf := s.format.bufs.get(pieceSize)
	defer s.format.bufs.put(buf)
	for done := int64(0); done < b.PackedSize(); {
		p := (*buf)[:min(pieceSize, b.PackedSize()-done)]
		if err := s.format.base.Raw(b, p, done); err != nil {
			return err
		}
		n, err := s.Write(p)
		if err != nil {
			return err
		}
		done += int64(n)
	}
	return nil
}

// block writes an edited block.
func (s *xz) block(r *Region, shared *xzStretch, parts []xzPart) error {
	x := s.format
	p := x.packers.Get().(*lzma2.Packer)
	defer x.packers.Put(p)
	pieces := make([][]byte, len(parts))
	data := int64(1) // the end marker
	var sum []byte
	for i, part := range parts {
		pieces[i] = part.Chunks
		partSum := part.sum
		if part.Hole {
			var err error
			if pieces[i], partSum, err = s.fill(p, r, part.Span); err != nil {
				return err
			}
		}
		data += int64(len(pieces[i]))
		switch n := int64(part.To - part.From); {
		case !x.check.Combines():
		case i == 0:
			sum = partSum
		default:
			sum = x.check.Combine(sum, partSum, n)
		}
	}
	if !x.check.Combines() {
		var err error
		if sum, err = s.hashAll(r); err != nil {
			return err
		}
	}
	dict := min(r.Len, lzma2.MaxDistance)
	if shared.block != nil {
		dict = max(dict, shared.block.DictSize)
	}
	head := xzfile.BlockHeader(data, r.Len, dict)
	s.writer.Block(int64(len(head))+data+int64(len(sum)), r.Len)
	pieces = append(append([][]byte{head}, pieces...), []byte{0}, s.writer.BlockTail(data, sum))
	for _, piece := range pieces {
		if _, err := s.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// fill packs what the node has in a hole.
func (s *xz) fill(p *lzma2.Packer, r *Region, hole lzma2.Span) (chunks, sum []byte, err error) {
	base := max(hole.From-1, 0) &^ 15 // as Pack wants it
	data := s.format.bufs.get(hole.To - base)
	defer s.format.bufs.put(data)
	if err := r.Read(*data, r.Off+int64(base)); err != nil {
		return nil, nil, err
	}
	if s.format.check.Combines() {
		sum = s.format.check.Sum((*data)[hole.From-base:])
	}
	return p.Pack(*data, hole.From-base, hole.From == 0), sum, nil
}

// hashAll returns the SHA-256 of a region, for blocks whose check is that.
func (s *xz) hashAll(r *Region) ([]byte, error) {
	h := sha256.New()
	err := r.Hash(h, make([]byte, 64<<10))
	return h.Sum(nil), err
}

// covered reports whether all of own is within holes.
func covered(own, holes []layer.Extent) bool {
	for _, e := range own {
		for len(holes) > 0 && holes[0].Off+holes[0].Len <= e.Off {
			holes = holes[1:]
		}
		if len(holes) == 0 || e.Off < holes[0].Off || e.Off+e.Len > holes[0].Off+holes[0].Len {
			return false
		}
	}
	return true
}

// Finish implements [Sink].
func (s *xz) Finish() (Result, error) {
	return s.finish(s.writer.End())
}
