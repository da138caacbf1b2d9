// Package sink writes finished images to where the user will find them.
//
// An image comes to its [Sink] in [Region]s, from front to back: what all nodes of
// a build have there, and where this node differs. A [Format] packs what the nodes
// share once, before any of them gets it; a sink packs only what is its node's own.
//
// A sink hides its file under a temporary name until all of it is on the disk:
// [Sink.Finish] makes the bytes durable, [Sink.Publish] gives them their final
// name. Whatever goes wrong before that, [Sink.Abort] leaves nothing behind.
package sink

import (
	"context"
	"fmt"
	"hash"

	"github.com/piimg/piimg/imagebuild/layer"
)

// Format is a way of writing images. Its methods may be called by several
// goroutines at once.
type Format interface {
	// Name is what --format calls it, and what follows the node's name in the
	// names of its files: "img", "img.xz", "img.zst".
	Name() string
	// Pack packs what all nodes have in a stretch; nil, if the format packs nothing.
	// The stretch's bytes are there until every sink has taken the region. Pack may
	// write to Base, if it leaves there what it found.
	Pack(ctx context.Context, s Stretch) (Packed, error)
	// Create begins an image of size unpacked bytes, to be published at path.
	Create(path string, size int64) (Sink, error)
}

// Stretch is a part of the image that the nodes of a build share.
type Stretch struct {
	Off, Len int64 // in the image, in bytes
	// Base is what the base image has there, and Data what all nodes have: Len
	// bytes each, or nil for zeros. Where nothing was changed they are the same slice.
	Base, Data []byte
	// Changed is where they may differ: sorted, disjoint, in offsets of the image.
	Changed []layer.Extent
}

// Packed is a stretch as a Format packs it. Only the sinks of the same Format know
// what it is.
type Packed any

// Releaser is what a Packed may be that is to be told when all sinks have taken it.
type Releaser interface{ Release() }

// Region is a part of one node's image.
type Region struct {
	Off, Len int64
	Data     []byte // what all nodes have there; nil if that is zeros
	Packed   Packed // the same as the Format packed it
	// Own is where the node may differ: sorted, disjoint, in offsets of the image.
	Own []layer.Extent
	// Patch lays the node's changes over p, which holds what all nodes have at off.
	Patch func(off int64, p []byte) error
}

// Read fills p with the node's bytes at off, which is an offset of the image
// within the region.
func (r *Region) Read(p []byte, off int64) error {
	if r.Data == nil {
		clear(p)
	} else {
		copy(p, r.Data[off-r.Off:])
	}
	return r.Patch(off, p)
}

// pieceSize is the most that each hands on at a time, in bytes.
const pieceSize = 1 << 20

// each calls data and zeros with the node's bytes, in order. The bytes are valid
// until data returns. Buf is used for those that are the node's own.
func (r *Region) each(buf []byte, data func([]byte) error, zeros func(n int64) error) error {
	shared := func(from, to int64) error {
		if r.Data == nil && to > from {
			return zeros(to - from)
		}
		for ; from < to; from += pieceSize {
			if err := data(r.Data[from-r.Off : min(from+pieceSize, to)-r.Off]); err != nil {
				return err
			}
		}
		return nil
	}
	done := r.Off
	for _, e := range r.Own {
		if err := shared(done, e.Off); err != nil {
			return err
		}
		for off := e.Off; off < e.Off+e.Len; off += int64(len(buf)) {
			p := buf[:min(int64(len(buf)), e.Off+e.Len-off)]
			if err := r.Read(p, off); err != nil {
				return err
			}
			if err := data(p); err != nil {
				return err
			}
		}
		done = e.Off + e.Len
	}
	return shared(done, r.Off+r.Len)
}

// Hash adds the node's bytes to h, in order. Buf is used for those that are the
// node's own.
func (r *Region) Hash(h hash.Hash, buf []byte) error {
	return r.each(buf, func(p []byte) error {
		h.Write(p)
		return nil
	}, func(n int64) error {
		hashZeros(h, n)
		return nil
	})
}

// zeroRun is what images are compared with, and what is hashed where they are zero;
// nobody writes to it.
var zeroRun [1 << 20]byte

// hashZeros adds n zeros to h.
func hashZeros(h hash.Hash, n int64) {
	for ; n > 0; n -= int64(len(zeroRun)) {
		h.Write(zeroRun[:min(n, int64(len(zeroRun)))])
	}
}

// Sink takes the consecutive regions of one image. It is used by one goroutine at
// a time.
type Sink interface {
	// Take takes the image's next region. It keeps nothing of it.
	Take(r *Region) error
	// Finish ends the image: everything is flushed to the disk. The file
	// still has its temporary name.
	Finish() (Result, error)
	// Publish gives a finished file its final name, in place of what had it.
	Publish() error
	// Abort closes and removes what has not been published. It may be called
	// at any time and more than once.
	Abort()
}

// Result describes a finished file.
type Result struct {
	Path   string   // the final path
	Size   int64    // of the file, in bytes
	SHA256 [32]byte // of the file
}

// SpaceError says that a folder's file system has too little room.
type SpaceError struct {
	Dir        string
	Need, Free int64 // bytes
	Err        error // what the operating system said, if it was found out the hard way
}

func (e *SpaceError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: the disk is full: %v; free some space or choose another folder with --out", e.Dir, e.Err)
	}
	return fmt.Sprintf("%s: %s are needed and %s are free: free some space or choose another folder with --out",
		e.Dir, mib(e.Need), mib(e.Free))
}

func (e *SpaceError) Unwrap() error { return e.Err }

// mib prints a number of bytes as the user reads it in a file manager.
func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
