package sink

import (
	"slices"
	"sync"
)

// buffers are byte slices for those sinks of a format that are at work. A hundred
// images are open at once, and would take a hundred times as much if each kept its own.
type buffers struct{ pool sync.Pool }

// get returns n bytes with any content; put gives them back.
func (b *buffers) get(n int) *[]byte {
	p, ok := b.pool.Get().(*[]byte)
	if !ok {
		p = new([]byte)
	}
	*p = slices.Grow((*p)[:0], n)[:n]
	return p
}

func (b *buffers) put(p *[]byte) { b.pool.Put(p) }
