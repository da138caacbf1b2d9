package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/piimg/piimg/imagebuild/hostfile"
)

// unpacker begins to unpack the packed file of m. What the reader returns
// counts only once it has returned io.EOF. Done returns how many of total bytes
// have been dealt with.
type unpacker func(ctx context.Context, m *Image) (r io.ReadCloser, done func() int64, total int64, err error)

// unpacked makes the content of m a copy in the cache folder, which it makes
// with open if it isn't there yet.
func (m *Image) unpacked(ctx context.Context, open unpacker) error {
	sum, err := m.SHA256(ctx)
	if err != nil {
		return err
	}
	dir, err := m.opts.cacheDir(dirUnpacked)
	if err != nil {
		return err
	}
	base := filepath.Join(dir, sum)
	c, err := openCached(base)
	if err != nil {
		if c, err = m.unpack(ctx, base, open); err != nil {
			return err
		}
	}
	m.content, m.size, m.packing.Unpacked = c, c.size, base+".img"
	return nil
}

// unpack makes the copy named base, unless another process does it meanwhile.
func (m *Image) unpack(ctx context.Context, base string, open unpacker) (*cachedContent, error) {
	unlock, err := m.opts.lock(ctx, base+".lock", "unpacking "+m.path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, err := openCached(base)
	if err == nil {
		return c, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		m.opts.notice("the unpacked copy in the cache folder can't be used: %v; unpacking again", err)
	}
	m.opts.notice("unpacking %s into %s.img, once", m.path, base)

	// The lock is held: nobody else writes this file, and one that is there
	// was left behind by a process that was killed.
	part := base + ".part"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, m.opts.cacheFailed("unpack into", err)
	}
	hostfile.MakeSparse(f)
	info, err := m.unpackTo(ctx, f, open)
	if cerr := f.Close(); err == nil {
		err = m.opts.cacheFailed("unpack into", cerr)
	}
	if err == nil {
		err = m.opts.cacheFailed("unpack into", os.Rename(part, base+".img"))
	}
	if err == nil {
		err = m.opts.cacheFailed("unpack into", info.save(base))
	}
	if err != nil {
		os.Remove(part)
		return nil, err
	}
	return openCached(base)
}

// unpackTo unpacks into f and syncs it.
func (m *Image) unpackTo(ctx context.Context, f *os.File, open unpacker) (*cacheInfo, error) {
	r, done, total, err := open(ctx, m)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	info := &cacheInfo{Version: cacheVersion, ChunkSize: chunkSize}
	whole := sha256.New()
	buf := make([]byte, chunkSize)
	for end := false; !end; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := fill(r, buf)
		if end = err == io.EOF; err != nil && !end {
			return nil, err
		}
		p := buf[:n]
		whole.Write(p)
		if n > 0 {
			digest := sha256.Sum256(p)
			info.Digests = append(info.Digests, digest[:]...)
		}
		if err := writeSparse(f, info.Size, p); err != nil {
			return nil, m.opts.cacheFailed("unpack into", err)
		}
		info.Size += int64(n)
		m.opts.progress(ProgressUnpack, done(), total)
	}
	info.SHA256 = hex.EncodeToString(whole.Sum(nil))
	// A hole at the end has not been written.
	err = f.Truncate(info.Size)
	if err == nil {
		err = f.Sync()
	}
	return info, m.opts.cacheFailed("unpack into", err)
}

// fill reads until p is full. Unlike io.ReadFull it returns the reader's own
// error, so that an end in the middle of p can be told from a missing end.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = r.Read(p[n:])
		n += k
	}
	return n, err
}
