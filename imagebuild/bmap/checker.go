package bmap

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

// Checker compares an image, of which the bytes come to it in order, with its map.
type Checker struct {
	m     *Map
	bad   func(Range)
	stray func(off int64)
	off   int64
	left  []Range // those whose end has not come
	run   hash.Hash
	told  bool // stray was called for the gap at hand
}

// NewChecker returns a checker. It calls bad for every range that has another digest,
// and stray for every gap between ranges that is not all zeros, with the offset of a
// byte near the first that is not.
func NewChecker(m *Map, bad func(Range), stray func(off int64)) *Checker {
	return &Checker{m: m, bad: bad, stray: stray, left: m.Ranges, run: sha256.New()}
}

// Write takes the image's next bytes. What comes behind the map's end is stray.
func (c *Checker) Write(p []byte) (int, error) {
	all := len(p)
	for len(p) > 0 {
		stop, mapped := c.off+int64(len(p)), false
		if len(c.left) > 0 {
			from, to := c.span(c.left[0])
			if mapped = c.off >= from; mapped {
				stop = min(stop, to)
			} else {
				stop = min(stop, from)
			}
		}
		n := stop - c.off
		switch {
		case mapped:
			c.run.Write(p[:n])
		case !c.told && !zero(p[:n]):
			c.told = true
			c.stray(c.off)
		}
		c.off, p = stop, p[n:]
		if mapped {
			c.endRange()
		}
	}
	return all, nil
}

// Zeros takes n zeros as the image's next bytes.
func (c *Checker) Zeros(n int64) {
	for n > 0 {
		// Gaps are zero: they are passed over at once.
		if len(c.left) == 0 {
			c.off += n
			return
		}
		if from, _ := c.span(c.left[0]); c.off < from {
			k := min(n, from-c.off)
			c.off, n = c.off+k, n-k
			continue
		}
		k := min(n, BlockSize)
		_, _ = c.Write(zeroBlock[:k]) // which has no errors
		n -= k
	}
}

// End says that all of the image has come: what the map has behind that is bad.
func (c *Checker) End() {
	for _, r := range c.left {
		c.bad(r)
	}
	c.left = nil
}

// span returns where a range begins and ends, in bytes.
func (c *Checker) span(r Range) (from, to int64) {
	return r.First * c.m.BlockSize, min((r.Last+1)*c.m.BlockSize, c.m.Size)
}

// endRange compares the first range's digest, if all of the range has come.
func (c *Checker) endRange() {
	r := c.left[0]
	if _, to := c.span(r); c.off < to {
		return
	}
	if [sha256.Size]byte(c.run.Sum(nil)) != r.SHA256 {
		c.bad(r)
	}
	c.run.Reset()
	c.left, c.told = c.left[1:], false
}

func zero(p []byte) bool {
	for len(p) > 0 {
		n := min(len(p), BlockSize)
		if !bytes.Equal(p[:n], zeroBlock[:n]) {
			return false
		}
		p = p[n:]
	}
	return true
}
