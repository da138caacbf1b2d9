package layer

import (
	"bytes"
	"fmt"
	"io/fs"

	"github.com/diskfs/go-diskfs/backend"
)

// batch is the room that a write needs: what is below, and a page in the making.
type batch struct {
	below [blockSize]byte
	page  [PageSize]byte
}

var _ backend.WritableFile = writable{}

// writable is the layer as [Layer.Writable] hands it out.
type writable struct{ *Layer }

// WriteAt writes as [io.WriterAt] says. A write that reaches past the end of the
// image fails, and changes nothing.
func (w writable) WriteAt(p []byte, off int64) (int, error) {
	l := w.Layer
	if off < 0 || int64(len(p)) > l.size-off {
		return 0, fmt.Errorf("failed to write to layer: %d bytes at offset %d do not fit into %d", len(p), off, l.size)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed.Load():
		return 0, fmt.Errorf("failed to write to layer: %w", fs.ErrClosed)
	case l.frozen.Load():
		return 0, ErrFrozen
	}
	b := l.pages.batches.Get().(*batch)
	defer l.pages.batches.Put(b)
	done := 0
	for done < len(p) {
		at := off + int64(done)
		end := (at/blockSize + 1) * blockSize
		n := int(min(int64(len(p)-done), end-at))
		written, err := l.writeBatch(b, p[done:done+n], at)
		done += written
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// writeBatch writes p, which is within a block of the base: that much is compared
// with what is below at a time.
func (l *Layer) writeBatch(b *batch, p []byte, off int64) (int, error) {
	start := off / PageSize * PageSize
	end := min((off+int64(len(p))+PageSize-1)/PageSize*PageSize, l.size)
	below := b.below[:end-start]
	if err := l.below.readAt(below, start); err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		page, in := at/PageSize, int(at%PageSize)
		old := below[page*PageSize-start:]
		old = old[:min(len(old), PageSize)]
		n := min(len(p)-done, len(old)-in)
		if err := l.writePage(b, page, old, p[done:done+n], in); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// writePage lays part over a page, whose bytes below are old.
func (l *Layer) writePage(b *batch, page int64, old, part []byte, in int) error {
	slot, own := l.slot(page)
	if !own && bytes.Equal(part, old[in:in+len(part)]) {
		return nil
	}
	data := b.page[:len(old)]
	if own {
		if err := l.pages.read(slot, data, 0); err != nil {
			return err
		}
	} else {
		copy(data, old)
	}
	copy(data[in:], part)
	if own && bytes.Equal(data, old) {
		l.drop(page, slot)
		return nil
	}
	if !own {
		var err error
		if slot, err = l.pages.alloc(); err != nil {
			return err
		}
	}
	if err := l.pages.write(slot, data); err != nil {
		if !own {
			l.pages.free(slot)
		}
		return err
	}
	if !own {
		l.keep(page, slot)
	}
	return nil
}

func (l *Layer) keep(page int64, slot uint32) {
	g := l.groups[page/groupPages]
	if g == nil {
		g = &group{}
		l.groups[page/groupPages] = g
	}
	g.mask |= 1 << (page % groupPages)
	g.slots[page%groupPages] = slot
}

func (l *Layer) drop(page int64, slot uint32) {
	g := l.groups[page/groupPages]
	g.mask &^= 1 << (page % groupPages)
	if g.mask == 0 {
		delete(l.groups, page/groupPages)
	}
	l.pages.free(slot)
}
