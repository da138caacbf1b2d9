package source

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// cacheVersion is that of the format of cacheInfo.
const cacheVersion = 1

// cacheInfo describes an unpacked image in the cache folder, in a file beside it.
type cacheInfo struct {
	Version   int    `json:"version"`
	Size      int64  `json:"size"`      // of the image, in bytes
	SHA256    string `json:"sha256"`    // of the image, in hexadecimal
	ChunkSize int64  `json:"chunkSize"` // bytes that each of Digests stands for
	Digests   []byte `json:"digests"`   // SHA-256 of each chunk, one after the other
}

// save writes the file base.json.
func (i *cacheInfo) save(base string) error {
	text, err := json.Marshal(i)
	if err != nil {
		return err
	}
	part := base + ".json.part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if serr := f.Sync(); err == nil {
		err = serr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(part, base+".json")
	}
	if err != nil {
		os.Remove(part)
	}
	return err
}

// cachedContent is an unpacked image in the cache folder. Each chunk is
// verified when it is first read, so that opening an image takes no time, and
// what is read is right all the same.
type cachedContent struct {
	rawContent
	base string
	info cacheInfo
	zero [sha256.Size]byte // digest of a chunk of zeros

	mu       sync.Mutex
	verified []bool // by chunk
}

// openCached opens the unpacked image base.img. The error is fs.ErrNotExist if
// there is none.
func openCached(base string) (*cachedContent, error) {
	text, err := os.ReadFile(base + ".json")
	if err != nil {
		return nil, err
	}
	c := &cachedContent{base: base}
	if err := json.Unmarshal(text, &c.info); err != nil {
		return nil, fmt.Errorf("%s.json: %w", base, err)
	}
	i := &c.info
	if i.Version != cacheVersion || i.ChunkSize != chunkSize || i.Size < 0 ||
		int64(len(i.Digests)) != (i.Size+chunkSize-1)/chunkSize*sha256.Size {
		return nil, fmt.Errorf("%s.json: it is not of this version, or damaged", base)
	}
	f, err := os.Open(base + ".img")
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.Size() != i.Size {
		err = fmt.Errorf("%s.img: it has %d bytes instead of %d", base, st.Size(), i.Size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	useCached(f)
	c.rawContent = rawContent{f: f, size: i.Size}
	c.verified = make([]bool, len(i.Digests)/sha256.Size)
	c.zero = sha256.Sum256(make([]byte, chunkSize))
	return c, nil
}

func (c *cachedContent) Close() error { return c.f.Close() }

// isVerified says whether chunk k has been verified.
func (c *cachedContent) isVerified(k int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.verified[k]
}

// verify compares chunk k, which was read into p, with its digest.
func (c *cachedContent) verify(k int64, p []byte) error {
	sum := c.zero
	if len(p) < chunkSize || !isZero(p) {
		sum = sha256.Sum256(p)
	}
	if sum != c.digest(k) {
		return c.damaged(k)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verified[k] = true
	return nil
}

func (c *cachedContent) digest(k int64) [sha256.Size]byte {
	return [sha256.Size]byte(c.info.Digests[k*sha256.Size:])
}

// damaged removes the copy, so that the next Open makes it anew.
func (c *cachedContent) damaged(k int64) error {
	e := &Error{
		Path: c.base + ".img", Kind: ErrCorrupt,
		Detail: fmt.Sprintf("this unpacked copy in the cache folder has changed since it was made, within the %d bytes at %d", chunkSize, k*chunkSize),
		Remedy: "it has been removed: run again, and it will be unpacked anew",
	}
	for _, name := range []string{c.base + ".json", c.base + ".img"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.Err, e.Remedy = err, "remove it and run again"
		}
	}
	return e
}

// readChunk reads the whole of chunk k into buf and verifies it.
func (c *cachedContent) readChunk(k int64, buf []byte) ([]byte, error) {
	off := k * chunkSize
	p := buf[:min(chunkSize, c.size-off)]
	if _, err := c.rawContent.ReadAt(p, off); err != nil {
		return nil, err
	}
	return p, c.verify(k, p)
}

func (c *cachedContent) ReadAt(p []byte, off int64) (int, error) {
	var buf []byte
	for k := off / chunkSize; k*chunkSize < off+int64(len(p)); k++ {
		if c.isVerified(k) {
			continue
		}
		if buf == nil {
			buf = make([]byte, chunkSize)
		}
		if _, err := c.readChunk(k, buf); err != nil {
			return 0, err
		}
	}
	return c.rawContent.ReadAt(p, off)
}

func (c *cachedContent) scan(ctx context.Context, fn func(Chunk) error) error {
	buf := make([]byte, chunkSize)
	for k := range int64(len(c.verified)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		off := k * chunkSize
		data, _, err := c.nextData(off)
		if err != nil {
			return err
		}
		if data >= off+chunkSize { // a hole
			if c.digest(k) != c.zero {
				return c.damaged(k)
			}
			if err := fn(Chunk{Off: off, Len: chunkSize}); err != nil {
				return err
			}
			continue
		}
		p, err := c.readChunk(k, buf)
		if err != nil {
			return err
		}
		if err := deliver(off, p, fn); err != nil {
			return err
		}
	}
	return nil
}

func (c *cachedContent) readOnce(ctx context.Context, p []byte, off int64) (bool, error) {
	zero := true
	for len(p) > 0 {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		k := off / chunkSize
		n := min((k+1)*chunkSize-off, int64(len(p)))
		piece := p[:n]
		switch data, _, err := c.nextData(off); {
		case err != nil:
			return false, err
		case n == chunkSize && data >= off+n: // a hole
			if c.digest(k) != c.zero {
				return false, c.damaged(k)
			}
			clear(piece)
		case n == min(chunkSize, c.size-k*chunkSize):
			if _, err := c.readChunk(k, piece); err != nil {
				return false, err
			}
			zero = zero && isZero(piece)
		default:
			if _, err := c.ReadAt(piece, off); err != nil {
				return false, err
			}
			zero = zero && isZero(piece)
		}
		p, off = p[n:], off+n
	}
	return zero, nil
}
