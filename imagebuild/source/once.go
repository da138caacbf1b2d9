package source

import (
	"context"
	"fmt"
	"io"
)

// ReadOnce fills p with the image's bytes from off on, as ReadAt does, for who
// reads everything just once: nothing is kept for later, and blocks of an .xz file
// that are wanted whole are decoded where they belong. Zero means that these bytes
// are all zero, which may be known without reading them: then p is as it was.
// All of p must be within the image.
func (m *Image) ReadOnce(ctx context.Context, p []byte, off int64) (zero bool, err error) {
	if off < 0 || int64(len(p)) > m.size-off {
		return false, fmt.Errorf("%s: read of %d bytes at %d of %d", m.path, len(p), off, m.size)
	}
	zero, err = m.content.readOnce(ctx, p, off)
	if err != nil {
		return false, m.fail(err)
	}
	return zero, nil
}

// DropCache frees the memory that decoded blocks take. They are decoded, or read from
// where they were put aside, when they are asked for again.
func (m *Image) DropCache() {
	if c, ok := m.content.(*xzContent); ok {
		c.cache.drop()
	}
}

func (c *rawContent) readOnce(ctx context.Context, p []byte, off int64) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if data, _, err := c.nextData(off); err != nil || data >= off+int64(len(p)) {
		return err == nil, err
	}
	if _, err := c.ReadAt(p, off); err != nil {
		return false, err
	}
	return isZero(p), nil
}

func (c *xzContent) readOnce(ctx context.Context, p []byte, off int64) (bool, error) {
	if c.allZero(off, int64(len(p))) {
		return true, nil
	}
	for i := c.x.Find(off); len(p) > 0; i++ {
		if i < 0 || i >= len(c.x.Blocks) {
			return false, io.EOF
		}
		b := &c.x.Blocks[i]
		at := off - b.Off
		n := int(min(b.Size-at, int64(len(p))))
		switch dst := p[:n]; {
		case n == 0:
		case c.zeros.is(i):
			clear(dst)
		case int64(n) == b.Size:
			if err := c.load(ctx, i, dst, true); err != nil {
				return false, err
			}
		default:
			block, err := c.cache.acquire(ctx, i, true)
			if err != nil {
				return false, err
			}
			copy(dst, block.data[at:])
			c.cache.release(block)
		}
		p, off = p[n:], off+int64(n)
	}
	return false, nil
}

// allZero reports whether all blocks with any of n bytes at off are known to be zeros.
func (c *xzContent) allZero(off, n int64) bool {
	for i := c.x.Find(off); i >= 0 && i < len(c.x.Blocks) && c.x.Blocks[i].Off < off+n; i++ {
		if c.x.Blocks[i].Size > 0 && !c.zeros.is(i) {
			return false
		}
	}
	return true
}
