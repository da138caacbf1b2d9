// Package layer keeps changes to an image apart from the image.
//
// A [Layer] shows the first bytes of a base, which is only ever read, with
// changes laid over it. [Layer.Fork] lays an empty layer over another one, which
// is frozen from then on: what many images share is written once, in a layer
// that all of them are forks of, and every fork holds only what is its own.
//
// Changes are kept by the page of [PageSize] bytes. A page counts as changed
// only while its bytes differ from what is below: a write of what is there
// already leaves no trace, and a page that is written back to what is below
// ceases to be a change at once. So [Layer.Extents] says exactly which pages
// differ, however clumsily a file system was written.
//
// Changed pages are held in memory up to a limit that a layer and all its forks
// share, and beyond it in a temporary file. Small reads of the base are served from a
// small cache of larger blocks, since a base that is packed may have to unpack
// much for each of them.
//
// A Layer is a [backend.Storage] of go-diskfs, so that go-diskfs's partition
// tables and file systems read and write it. All methods may be called from
// several goroutines at a time; who writes to a layer while another reads it
// gets pages that are wholly old or wholly new.
package layer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/diskfs/go-diskfs/backend"
)

// PageSize is the unit in which changes are kept, in bytes.
const PageSize = 4096

// groupPages is how many pages share an entry of the index: the bits of a word.
const groupPages = 64

// ErrFrozen is returned for a write to a layer that has been forked.
var ErrFrozen = errors.New("layer has forks and cannot be written any more")

var _ backend.Storage = (*Layer)(nil)

// Layer is a set of changed pages over a base or over another layer. Create one
// with [New] or [Layer.Fork], and close it when it is no longer needed.
type Layer struct {
	size  int64
	below reader
	// parent is the layer below, or nil in the bottom layer.
	parent *Layer
	pages  *store

	frozen atomic.Bool
	closed atomic.Bool
	// refs counts the layer itself, until it is closed, and its open forks.
	refs atomic.Int32

	mu     sync.RWMutex // guards groups, and the bytes of the layer's pages
	groups map[int64]*group

	posMu sync.Mutex
	pos   int64 // of Read and Seek
}

// reader is what a layer lies on. readAt fills p; the range is within the size.
type reader interface {
	readAt(p []byte, off int64) error
}

// group is a run of groupPages pages in the index.
type group struct {
	mask  uint64 // which of them are changed
	slots [groupPages]uint32
}

type config struct {
	limit int64
	dir   string
	cache int64
}

// Option is a choice for [New]; it holds for all forks, too.
type Option func(*config)

// MemoryLimit sets how many bytes of changed pages a layer and all its forks
// together hold in memory, before they go to a temporary file; 32 MiB unless set.
func MemoryLimit(bytes int64) Option { return func(c *config) { c.limit = bytes } }

// TempDir sets the folder of the temporary file, which is made when it is first
// needed; [os.TempDir] unless set.
func TempDir(dir string) Option { return func(c *config) { c.dir = dir } }

// CacheSize sets how many bytes of the base are cached; 8 MiB unless set, and
// none if it is 0.
func CacheSize(bytes int64) Option { return func(c *config) { c.cache = bytes } }

// New returns an empty layer over base, whose first size bytes it shows. Base
// must not change, and stays the caller's to close.
func New(base io.ReaderAt, size int64, opts ...Option) *Layer {
	c := config{limit: 32 << 20, cache: 8 << 20}
	for _, o := range opts {
		o(&c)
	}
	l := &Layer{size: size, groups: map[int64]*group{}}
	l.below = newBase(base, size, c.cache)
	l.pages = newStore(c.limit, c.dir)
	l.refs.Store(1)
	return l
}

// Fork returns an empty layer over l. From then on l is frozen: writes to it
// fail with [ErrFrozen]. Forks may outlive the l they were made from: what they
// need of it is kept until they are closed.
func (l *Layer) Fork() *Layer {
	l.mu.Lock() // so that no write is under way once l is frozen
	l.frozen.Store(true)
	l.mu.Unlock()
	l.refs.Add(1)
	f := &Layer{size: l.size, below: l, parent: l, pages: l.pages, groups: map[int64]*group{}}
	f.refs.Store(1)
	return f
}

// Size returns the size of the image in bytes.
func (l *Layer) Size() int64 { return l.size }

// Close frees the layer's pages, unless open forks still need them, and removes
// the temporary file with the last layer of its tree. It does not close the base.
func (l *Layer) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	return l.release()
}

func (l *Layer) release() error {
	if l.refs.Add(-1) > 0 {
		return nil
	}
	l.mu.Lock()
	for _, g := range l.groups {
		for m := g.mask; m != 0; m &= m - 1 {
			l.pages.free(g.slots[bits.TrailingZeros64(m)])
		}
	}
	l.groups = nil
	l.mu.Unlock()
	if l.parent == nil {
		return l.pages.close()
	}
	return l.parent.release()
}

// ReadAt reads as [io.ReaderAt] says.
func (l *Layer) ReadAt(p []byte, off int64) (int, error) {
	if l.closed.Load() {
		return 0, fmt.Errorf("failed to read from layer: %w", fs.ErrClosed)
	}
	if off < 0 {
		return 0, fmt.Errorf("failed to read from layer: negative offset %d", off)
	}
	if off >= l.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), l.size-off))
	if err := l.readAt(p[:n], off); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (l *Layer) readAt(p []byte, off int64) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for len(p) > 0 {
		page := off / PageSize
		slot, ok := l.slot(page)
		if ok {
			in := int(off % PageSize)
			n := min(len(p), PageSize-in)
			if err := l.pages.read(slot, p[:n], in); err != nil {
				return err
			}
			p, off = p[n:], off+int64(n)
			continue
		}
		// Everything up to the next page of this layer comes from below.
		end := l.next(page, (off+int64(len(p))-1)/PageSize+1) * PageSize
		n := int(min(int64(len(p)), end-off))
		if err := l.below.readAt(p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// slot returns where this layer keeps page, if it does.
func (l *Layer) slot(page int64) (uint32, bool) {
	g := l.groups[page/groupPages]
	if g == nil || g.mask&(1<<(page%groupPages)) == 0 {
		return 0, false
	}
	return g.slots[page%groupPages], true
}

// next returns the first page of this layer at or after page, or end.
func (l *Layer) next(page, end int64) int64 {
	for page < end {
		i := page / groupPages
		if g := l.groups[i]; g != nil {
			if m := g.mask >> (page % groupPages); m != 0 {
				return min(end, page+int64(bits.TrailingZeros64(m)))
			}
		}
		page = (i + 1) * groupPages
	}
	return end
}

// Extents returns what this layer changed, relative to what is below: sorted,
// disjoint, with gaps between, in whole pages except at the end of the image.
func (l *Layer) Extents() []Extent {
	masks := map[int64]uint64{}
	l.collect(masks)
	return l.extents(masks)
}

// Changed returns what this layer and those below it, down to the base, changed, in
// the form of [Layer.Extents]. A page may be among them that one layer changed and
// another changed back.
func (l *Layer) Changed() []Extent {
	masks := map[int64]uint64{}
	for below := l; below != nil; below = below.parent {
		below.collect(masks)
	}
	return l.extents(masks)
}

// collect adds the layer's own pages to masks, by group.
func (l *Layer) collect(masks map[int64]uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for k, g := range l.groups {
		masks[k] |= g.mask
	}
}

func (l *Layer) extents(masks map[int64]uint64) []Extent {
	var out []Extent
	for _, k := range slices.Sorted(maps.Keys(masks)) {
		for m := masks[k]; m != 0; {
			first := bits.TrailingZeros64(m)
			n := bits.TrailingZeros64(^(m >> first))
			off := (k*groupPages + int64(first)) * PageSize
			size := min(int64(n)*PageSize, l.size-off)
			if last := len(out) - 1; last >= 0 && out[last].Off+out[last].Len == off {
				out[last].Len += size
			} else {
				out = append(out, Extent{Off: off, Len: size})
			}
			// A shift by 64 is 0 in Go, as wanted for a group that is all changed.
			m &^= (uint64(1)<<n - 1) << first
		}
	}
	return out
}

// Touches reports whether [Layer.Patch] has anything to do for the n bytes at
// off: whether this layer or one below it, down to the base, changed a page of
// them. Of a layer that was closed it reports true, so that Patch says why not.
func (l *Layer) Touches(off, n int64) bool {
	if n <= 0 || off < 0 {
		return false
	}
	if l.closed.Load() {
		return true
	}
	first, end := off/PageSize, (off+n-1)/PageSize+1
	for ; l != nil; l = l.parent {
		l.mu.RLock()
		found := l.next(first, end) < end
		l.mu.RUnlock()
		if found {
			return true
		}
	}
	return false
}

// Patch overwrites, in p, what this layer and those below it, down to the base,
// changed. P holds the base's bytes at off, and afterwards those that
// [Layer.ReadAt] would read. It fails if the range is not within the image, if
// the layer was closed, or if the temporary file cannot be read.
func (l *Layer) Patch(off int64, p []byte) error {
	if off < 0 || int64(len(p)) > l.size-off {
		return fmt.Errorf("failed to patch %d bytes at offset %d: the image has %d", len(p), off, l.size)
	}
	if l.closed.Load() {
		return fmt.Errorf("failed to patch %d bytes at offset %d: the layer: %w", len(p), off, fs.ErrClosed)
	}
	return l.patch(off, p)
}

// patch is Patch for a layer that is open, or has open forks.
func (l *Layer) patch(off int64, p []byte) error {
	if l.parent != nil {
		if err := l.parent.patch(off, p); err != nil {
			return err
		}
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	end := off + int64(len(p))
	last := (end + PageSize - 1) / PageSize
	for page := l.next(off/PageSize, last); page < last; page = l.next(page+1, last) {
		from, to := max(off, page*PageSize), min(end, (page+1)*PageSize)
		slot, _ := l.slot(page)
		if err := l.pages.read(slot, p[from-off:to-off], int(from-page*PageSize)); err != nil {
			return err
		}
	}
	return nil
}
