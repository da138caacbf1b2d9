package source

import (
	"bytes"
	"io"
	"sync"

	"github.com/piimg/piimg/imagebuild/source/xzfile"
)

// zeroBlocks knows which blocks of an .xz file are all zeros.
//
// Images have many such blocks, and packed they are all alike: same header,
// same data, same check. Once one of them has been decoded and verified, others
// whose packed bytes are the same are known to unpack to the same, without
// being decoded.
type zeroBlocks struct {
	r io.ReaderAt // the packed file
	x *xzfile.File

	mu     sync.Mutex
	zero   []bool // by block
	models []zeroModel
}

// zeroModel is a block of zeros that has been decoded.
type zeroModel struct {
	size   int64 // unpacked
	packed []byte
}

// Limits on models: zeros pack into less than a thousandth of their size, and a
// file has one or two kinds of blocks of zeros.
const (
	maxZeroPacked = 64 << 10
	maxZeroModels = 4
)

// is says whether block i is known to be all zeros.
func (z *zeroBlocks) is(i int) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.zero[i] {
		return true
	}
	b := &z.x.Blocks[i]
	for _, m := range z.models {
		if b.Size == m.size && b.PackedSize() == int64(len(m.packed)) {
			p := make([]byte, len(m.packed))
			if _, err := z.r.ReadAt(p, b.PackedOff); err == nil && bytes.Equal(p, m.packed) {
				z.zero[i] = true
				return true
			}
		}
	}
	return false
}

// learn is told what block i unpacks to, and says whether that is all zeros.
func (z *zeroBlocks) learn(i int, data []byte) bool {
	b := &z.x.Blocks[i]
	if b.PackedSize() > maxZeroPacked || !isZero(data) {
		return false
	}
	p := make([]byte, b.PackedSize())
	_, err := z.r.ReadAt(p, b.PackedOff)
	z.mu.Lock()
	defer z.mu.Unlock()
	z.zero[i] = true
	for _, m := range z.models {
		if m.size == b.Size && bytes.Equal(m.packed, p) {
			return true
		}
	}
	if err == nil && len(z.models) < maxZeroModels {
		z.models = append(z.models, zeroModel{b.Size, p})
	}
	return true
}
