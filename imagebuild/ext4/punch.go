package ext4

import "io/fs"

// Extent is a stretch of a file's bytes.
type Extent struct{ Off, Len int64 }

// Extents returns the stretches of the file that hold data, in order and
// without neighbours that touch: what lies between them, and behind the last,
// are holes, which read as zeros and take no space. A copy that writes no more
// than these, and then sets the size with Truncate, is as sparse as the file.
func (f *File) Extents() (list []Extent, err error) {
	err = f.do("extents", func() error {
		if !f.in.isRegular() {
			return &UnsupportedError{Features: []string{"extents of what is no regular file"}}
		}
		list, err = f.in.extents()
		return err
	})
	return list, err
}

func (in *inode) extents() ([]Extent, error) {
	size := in.size()
	if in.has(flagInlineData) {
		if size == 0 {
			return nil, nil
		}
		return []Extent{{0, size}}, nil
	}
	m, err := in.blocks()
	if err != nil {
		return nil, err
	}
	var list []Extent
	bs := int64(in.fs.sb.blockSize)
	for r := range m.tree.all() {
		from, to := int64(r.logical)*bs, min(int64(r.end())*bs, size)
		switch last := len(list) - 1; {
		case r.unwritten || from >= to:
		case last >= 0 && list[last].Off+list[last].Len == from:
			list[last].Len = to - list[last].Off
		default:
			list = append(list, Extent{from, to - from})
		}
	}
	return list, nil
}

// Punch makes a hole of n bytes from byte off on: they read as zeros, and
// blocks that lie in it as a whole are freed. The file's size stays.
func (f *File) Punch(off, n int64) error {
	return f.do("punch", func() error {
		switch {
		case !f.canWrite():
			return errNotWritable
		case off < 0 || n < 0:
			return fs.ErrInvalid
		}
		return f.fs.update(func() error { return f.in.punch(off, n) })
	})
}

func (in *inode) punch(off, n int64) error {
	m, err := in.blocks()
	if err != nil {
		return err
	}
	bs, size := int64(in.fs.sb.blockSize), in.size()
	if off >= size || n == 0 {
		return nil
	}
	end := size
	if n < size-off {
		end = off + n
	}
	from, to := (off+bs-1)/bs, end/bs // whole blocks
	if end == size {
		to = int64(in.fs.sb.blocksFor(size))
	}
	if from < to {
		if err := in.release(m.cut(uint32(from), uint32(to))); err != nil {
			return err
		}
	}
	in.touch()
	if err := in.store(); err != nil {
		return err
	}
	// Nothing is written before all that may want space has it.
	for at := off; at < end; {
		next := min((at/bs+1)*bs, end)
		if r := m.lookup(uint32(at / bs)); r.phys != 0 && !r.unwritten {
			if err := in.fs.writeStorage(make([]byte, next-at), int64(r.phys)*bs+at%bs); err != nil {
				return err
			}
			at = next
		} else { // a hole, the one just made or another
			at = max(next, min((at/bs+int64(r.count))*bs, end))
		}
	}
	return nil
}
