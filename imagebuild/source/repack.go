package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/piimg/piimg/imagebuild/lzma2"
	"github.com/piimg/piimg/imagebuild/source/xzfile"
)

// ProgressRepack is what Options.Progress is told of by [Image.Repack].
const ProgressRepack = "packing the base image as .xz"

// repackBlock is the size of the blocks of a copy that Repack makes, in bytes: it is
// what is packed again where many changes are, and what is unpacked for one byte.
const repackBlock = 8 << 20

// repackVersion changes when Repack makes other bytes of the same image.
const repackVersion = 1

// Repack returns the image as an .xz file of many blocks, which is made once and kept
// in the cache folder. The caller closes it.
func (m *Image) Repack(ctx context.Context) (*Image, error) {
	sum, err := m.SHA256(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := m.opts.cacheDir(dirPacked)
	if err != nil {
		return nil, m.fail(err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%s-%d.img.xz", sum, repackVersion))
	unlock, err := m.opts.lock(ctx, path+".lock", "packing "+m.path)
	if err != nil {
		return nil, m.fail(err)
	}
	defer unlock()
	o := m.opts
	o.SHA256, o.VerifyLater = "", false // every block of the copy has a check
	if c, err := Open(ctx, path, o); err == nil && c.size == m.size && c.xz != nil && c.hasFingerprint() {
		c.repacked = true
		return c, nil
	} else if err == nil {
		c.Close()
	} else if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	m.opts.notice("packing %s as %s, once: an .xz image of several blocks, as xz -T0 makes it, needs no such copy", m.path, path)
	part := path + ".part" // nobody else writes it: the lock is held
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, m.fail(m.opts.cacheFailed("pack into", err))
	}
	if err = m.repackTo(ctx, f); err == nil {
		err = m.opts.cacheFailed("pack into", f.Sync())
	}
	if cerr := f.Close(); err == nil {
		err = m.opts.cacheFailed("pack into", cerr)
	}
	if err == nil {
		err = m.opts.cacheFailed("pack into", os.Rename(part, path))
	}
	if err != nil {
		os.Remove(part)
		return nil, m.fail(err)
	}
	c, err := Open(ctx, path, o)
	if err != nil {
		return nil, err
	}
	if err := c.keepFingerprint(); err != nil {
		c.Close()
		return nil, m.fail(err)
	}
	c.repacked = true
	return c, nil
}

// damagedCopy removes the copy, so that Repack makes it anew.
func (m *Image) damagedCopy(err error) error {
	e := &Error{
		Path: m.path, Kind: ErrCorrupt, Err: err,
		Detail: "this packed copy in the cache folder has changed since it was made",
		Remedy: "it has been removed: run again, and it will be made anew",
	}
	var was *Error
	if errors.As(err, &was) {
		e.Err = was.Err
	}
	if err := os.Remove(m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.Remedy = "remove it and run again"
	}
	return e
}

// repackTo packs blocks in parallel and writes them in order.
func (m *Image) repackTo(ctx context.Context, f io.Writer) error {
	workers := m.opts.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	w := xzfile.Writer{Check: xzfile.CheckCRC64}
	if _, err := f.Write(w.Header()); err != nil {
		return m.opts.cacheFailed("pack into", err)
	}
	packers := sync.Pool{New: func() any { return new(repacker) }}
	blocks := (m.size + repackBlock - 1) / repackBlock
	for first := int64(0); first < blocks; first += int64(workers) {
		n := min(int64(workers), blocks-first)
		packed, errs := make([]packedBlock, n), make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				p := packers.Get().(*repacker)
				packed[i], errs[i] = p.pack(ctx, m, (first+i)*repackBlock, &w)
				packers.Put(p)
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for i, b := range packed {
			w.Block(b.unpadded, b.size)
			if _, err := f.Write(b.data); err != nil {
				return m.opts.cacheFailed("pack into", err)
			}
			m.opts.progress(ProgressRepack, (first+int64(i))*repackBlock+b.size, m.size)
		}
	}
	_, err := f.Write(w.End())
	return m.opts.cacheFailed("pack into", err)
}

// packedBlock is a block of a file that Repack makes.
type packedBlock struct {
	data           []byte // header, data, padding and check
	unpadded, size int64
}

// repacker packs one block after another.
type repacker struct {
	lz  lzma2.Packer
	buf []byte
}

func (r *repacker) pack(ctx context.Context, m *Image, off int64, w *xzfile.Writer) (packedBlock, error) {
	if r.buf == nil {
		r.buf = make([]byte, repackBlock)
	}
	p := r.buf[:min(repackBlock, m.size-off)]
	zero, err := m.ReadOnce(ctx, p, off)
	if err != nil {
		return packedBlock{}, err
	}
	if zero {
		clear(p)
	}
	lz := append(r.lz.Pack(p, 0, true), 0)
	n, size := int64(len(lz)), int64(len(p))
	head := xzfile.BlockHeader(n, size, lzma2.MaxDistance)
	b := packedBlock{size: size, unpadded: int64(len(head)) + n + int64(w.Check.Size())}
	b.data = append(append(head, lz...), w.BlockTail(n, w.Check.Sum(p))...)
	return b, nil
}
