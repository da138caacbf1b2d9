package ext4

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
)

const (
	page = 4096
	// maxWhole is the size up to which contents are compared in full; of larger
	// ones, which are nearly all holes, what is beside them.
	maxWhole = 8 << 20
)

// sparse is the content of a file in memory: the pages that were written, and a size.
type sparse struct {
	size  int64
	pages map[int64][]byte
}

func (s *sparse) writeAt(p []byte, off int64) {
	if s.pages == nil {
		s.pages = map[int64][]byte{}
	}
	s.size = max(s.size, off+int64(len(p)))
	for len(p) > 0 {
		q := s.pages[off/page]
		if q == nil {
			q = make([]byte, page)
			s.pages[off/page] = q
		}
		n := copy(q[off%page:], p)
		p, off = p[n:], off+int64(n)
	}
}

func (s *sparse) truncate(size int64) {
	for i, q := range s.pages {
		switch from := size - i*page; {
		case from <= 0:
			delete(s.pages, i)
		case from < page:
			clear(q[from:])
		}
	}
	s.size = size
}

// readAt fills p, which must not reach past the end.
func (s *sparse) readAt(p []byte, off int64) {
	for len(p) > 0 {
		n := min(int(page-off%page), len(p))
		if q := s.pages[off/page]; q != nil {
			copy(p[:n], q[off%page:])
		} else {
			clear(p[:n])
		}
		p, off = p[n:], off+int64(n)
	}
}

// compare says where r, size bytes long, differs.
func (s *sparse) compare(r io.ReaderAt, size int64) error {
	if size != s.size {
		return fmt.Errorf("%d bytes, want %d", size, s.size)
	}
	step := int64(64 << 10)
	var at []int64
	if s.size <= maxWhole {
		for off := int64(0); off < s.size; off += step {
			at = append(at, off)
		}
	} else {
		step = 3 * page
		for _, i := range slices.Sorted(maps.Keys(s.pages)) {
			at = append(at, max(0, i-1)*page)
		}
		at = append(at, 0, s.size/2, s.size-1)
	}
	got, want := make([]byte, step), make([]byte, step)
	for _, off := range at {
		n := min(step, s.size-off)
		if _, err := r.ReadAt(got[:n], off); err != nil {
			return fmt.Errorf("read %d bytes at %d: %w", n, off, err)
		}
		if s.readAt(want[:n], off); !bytes.Equal(got[:n], want[:n]) {
			i := 0
			for got[i] == want[i] {
				i++
			}
			return fmt.Errorf("byte %d of %d is %#02x, want %#02x", off+int64(i), s.size, got[i], want[i])
		}
	}
	return nil
}
