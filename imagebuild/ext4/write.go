package ext4

import (
	"io"
	"io/fs"
	"os"
)

// writeChunk is how much one operation writes at most: what a large write that
// runs out of space has written before stays.
const writeChunk = 4 << 20

// Write writes from the file's position on, or at its end with os.O_APPEND.
func (f *File) Write(p []byte) (n int, err error) {
	err = f.do("write", func() error {
		if f.flag&os.O_APPEND != 0 {
			f.pos = f.in.size()
		}
		n, err = f.write(p, f.pos)
		f.pos += int64(n)
		return err
	})
	return n, err
}

// WriteAt writes from byte off on.
func (f *File) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.do("write", func() error {
		if off < 0 {
			return fs.ErrInvalid
		}
		n, err = f.write(p, off)
		return err
	})
	return n, err
}

func (f *File) write(p []byte, off int64) (n int, err error) {
	if !f.canWrite() {
		return 0, errNotWritable
	}
	for n < len(p) {
		part := p[n:min(len(p), n+writeChunk)]
		if err := f.fs.update(func() error { return f.in.writeAt(part, off+int64(n)) }); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// Truncate sets the file's size. What is added reads as zeros and takes no space.
func (f *File) Truncate(size int64) error {
	return f.do("truncate", func() error {
		if !f.canWrite() {
			return errNotWritable
		}
		if size < 0 {
			return fs.ErrInvalid
		}
		return f.fs.update(func() error { return f.in.truncate(size) })
	})
}

// blocksFor is the number of blocks that size bytes reach into.
func (sb *superblock) blocksFor(size int64) uint64 {
	return (uint64(size) + uint64(sb.blockSize) - 1) / uint64(sb.blockSize)
}

// writeAt writes p, which is not empty, at byte off of a regular file.
func (in *inode) writeAt(p []byte, off int64) error {
	sb, bs := in.fs.sb, int64(in.fs.sb.blockSize)
	m, err := in.blocks()
	if err != nil {
		return err
	}
	end := off + int64(len(p))
	if end < off || sb.blocksFor(end) > m.maxBlocks() {
		return errFileTooBig
	}
	size := in.size()
	first, last := uint32(off/bs), uint32((end-1)/bs)
	old := uint32(sb.blocksFor(size)) // blocks from here on hold nothing of the file's
	if old < first {
		if err := in.release(m.cut(old, first)); err != nil {
			return err
		}
	}
	fresh := func(l uint32) bool {
		r := m.lookup(l)
		return l >= old || r.phys == 0 || r.unwritten
	}
	from, to := off, end
	if fresh(first) {
		from = int64(first) * bs
	}
	if fresh(last) || end > size {
		to = (int64(last) + 1) * bs
	}
	if err := in.mapBlocks(m, first, last); err != nil {
		return err
	}
	pad := p
	if from < off || to > end {
		pad = make([]byte, to-from)
		copy(pad[off-from:], p)
	}
	if end > size {
		in.setSize(end)
		if err := in.fs.allowLargeFile(end); err != nil {
			return err
		}
	}
	in.touch()
	if err := in.store(); err != nil {
		return err
	}
	// Nothing is written before all that may want space has it.
	if off > size {
		if err := in.clearTail(m, size); err != nil {
			return err
		}
	}
	return in.writeBlocks(m, pad, from)
}

// mapBlocks makes sure that file blocks first to last are allocated, and read as what is written to them.
func (in *inode) mapBlocks(m *blockMap, first, last uint32) error {
	for l := uint64(first); l <= uint64(last); {
		at := uint32(l)
		r := m.lookup(at)
		n := uint32(min(uint64(r.count), uint64(last)-l+1))
		switch {
		case r.phys == 0:
			start, got, err := in.fs.allocate(m.goal(at), in.home(), n)
			if err != nil {
				return err
			}
			if !m.extents && start+uint64(got) > 1<<32 {
				return errFileTooBig
			}
			if err := in.addBlocks(int64(got)); err != nil {
				return err
			}
			m.insert(run{at, got, start, false})
			n = got
		case r.unwritten:
			m.cut(at, at+n)
			m.insert(run{at, n, r.phys, false})
		}
		l += uint64(n)
	}
	return nil
}

// goal is the block after that of the file block before, or 0 if the file has none before.
func (m *blockMap) goal(logical uint32) uint64 {
	r, ok := m.tree.root.before(logical)
	if !ok {
		return 0
	}
	return r.phys + uint64(logical-r.logical)
}

// writeBlocks writes p to the storage, at byte off of the file, whose blocks are allocated.
func (in *inode) writeBlocks(m *blockMap, p []byte, off int64) error {
	bs := int64(in.fs.sb.blockSize)
	for len(p) > 0 {
		r := m.lookup(uint32(off / bs))
		n := min(int64(r.count)*bs-off%bs, int64(len(p)))
		if err := in.fs.writeStorage(p[:n], int64(r.phys)*bs+off%bs); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// clearTail writes zeros over what is left, behind byte size, of the block that
// this byte is in: they come into sight when the file grows.
func (in *inode) clearTail(m *blockMap, size int64) error {
	bs := int64(in.fs.sb.blockSize)
	rest := size % bs
	if rest == 0 {
		return nil
	}
	r := m.lookup(uint32(size / bs))
	if r.phys == 0 || r.unwritten {
		return nil
	}
	return in.fs.writeStorage(make([]byte, bs-rest), int64(r.phys)*bs+rest)
}

// release frees runs that were cut out of the inode's map.
func (in *inode) release(runs []run) error {
	for _, r := range runs {
		if err := in.fs.mark(r.phys, uint64(r.count), false); err != nil {
			return err
		}
		if err := in.addBlocks(-int64(r.count)); err != nil {
			return err
		}
	}
	return nil
}

// truncate sets the size of a regular file.
func (in *inode) truncate(size int64) error {
	m, err := in.blocks()
	if err != nil {
		return err
	}
	if in.fs.sb.blocksFor(size) > m.maxBlocks() {
		return errFileTooBig
	}
	shorter := min(in.size(), size)
	if err := in.release(m.cut(uint32(in.fs.sb.blocksFor(shorter)), maxLogical)); err != nil {
		return err
	}
	in.setSize(size)
	in.touch()
	if err := in.fs.allowLargeFile(size); err != nil {
		return err
	}
	if err := in.store(); err != nil {
		return err
	}
	if err := in.clearTail(m, shorter); err != nil {
		return err
	}
	in.stale = false
	return nil
}

// unsettled says whether there is anything for settle to do.
func (in *inode) unsettled() bool { return in.stale || in.m != nil && in.m.changed && in.m.extents }

// settle frees the blocks behind the end that a truncated file kept for being
// rewritten, and packs its extent tree.
func (in *inode) settle() error {
	m, err := in.blocks()
	if err != nil {
		return err
	}
	if in.stale {
		if err := in.release(m.cut(uint32(in.fs.sb.blocksFor(in.size())), maxLogical)); err != nil {
			return err
		}
	}
	m.pack()
	if err := in.store(); err != nil {
		return err
	}
	in.stale = false
	return nil
}

// touch stamps a change of content.
func (in *inode) touch() {
	in.setMtime(in.fs.time)
	in.setCtime(in.fs.time)
}

// allowLargeFile sets the feature that files of 2 GiB and more need, as the kernel does.
func (fs *FS) allowLargeFile(size int64) error {
	if size < 1<<31 {
		return nil
	}
	return fs.enable(sbROCompat, roCompatLargeFile)
}

// ReadFrom writes all that r has, in pieces that are large enough to be placed well.
func (f *File) ReadFrom(r io.Reader) (total int64, err error) {
	buf := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			w, werr := f.Write(buf[:n])
			total += int64(w)
			if werr != nil {
				return total, werr
			}
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return total, nil
		default:
			return total, err
		}
	}
}
