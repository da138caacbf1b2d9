package artifacts

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Bounds on archives of images, far above what real ones need: they are what
// keeps a hostile one from taking time and memory without an end.
const (
	maxEntries  = 1 << 18
	maxDocument = 4 << 20     // bytes of one JSON document
	maxKept     = 64 << 20    // bytes of all of them
	maxFollowed = 4 * maxKept // bytes of documents that others point to, each time
	maxWindow   = 128 << 20
	maxRatio    = 200      // unpacked to packed; layers of zeros reach some 50
	freeRatio   = 64 << 20 // unpacked bytes to which maxRatio does not apply
)

// errNotImage is part of what is said of archives without images.
var errNotImage = errors.New("no archive of container images")

// archive is what matters of a tar archive of images: its JSON documents, and
// the names of its files. Layers are passed over.
type archive struct {
	docs     map[string][]byte
	names    map[string]bool
	followed int // bytes of what doc has returned
}

// doc returns the document of a name that another document gives; nil if there is
// none. Small documents can point to each other in more ways than there is time for.
func (a *archive) doc(name string) ([]byte, error) {
	doc := a.docs[name]
	if a.followed += len(doc) + 1; a.followed > maxFollowed {
		return nil, fmt.Errorf("%w: its documents point to each other too often", errNotImage)
	}
	return doc, nil
}

// readArchive reads a tar archive, which may be packed by gzip or zstd, to its end.
func readArchive(ctx context.Context, r io.ReaderAt, size int64, packing string) (*archive, error) {
	var unpacked io.Reader
	section := io.NewSectionReader(r, 0, size)
	switch packing {
	case "": // with Seek, so that layers are not read
		return scanArchive(ctx, section)
	case "gzip":
		z, err := gzip.NewReader(bufio.NewReaderSize(section, 256<<10))
		if err != nil {
			return nil, unexpected(err)
		}
		unpacked = z
	case "zstd":
		z, err := zstd.NewReader(section, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		unpacked = z
	}
	limited := &bounded{ctx: ctx, r: unpacked, left: freeRatio + maxRatio*min(size, 1<<50)}
	a, err := scanArchive(ctx, limited)
	if err != nil {
		return nil, err
	}
	// What stands behind the archive is read as well: the packing's checksum.
	_, err = io.Copy(io.Discard, limited)
	return a, unexpected(err)
}

// bounded ends with an error where more is unpacked than any real archive holds.
type bounded struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.left <= 0 {
		return 0, fmt.Errorf("it unpacks to more than %d times its size: no archive of images does", maxRatio)
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}

func scanArchive(ctx context.Context, r io.Reader) (*archive, error) {
	a := &archive{docs: map[string][]byte{}, names: map[string]bool{}}
	kept := 0
	t := tar.NewReader(r)
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if n == maxEntries {
			return nil, fmt.Errorf("%w: it has more than %d files", errNotImage, maxEntries)
		}
		h, err := t.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return nil, fmt.Errorf("damaged archive: %w", unexpected(err))
		}
		name := path.Clean(h.Name)
		a.names[name] = true
		if h.Typeflag != tar.TypeReg || h.Size == 0 || h.Size > maxDocument {
			continue
		}
		doc, err := document(t)
		if err != nil {
			return nil, fmt.Errorf("damaged archive: %s: %w", name, unexpected(err))
		}
		if doc == nil {
			continue
		}
		if kept += len(doc); kept > maxKept {
			return nil, fmt.Errorf("%w: it has more than %d bytes of JSON", errNotImage, maxKept)
		}
		a.docs[name] = doc
	}
}

// document returns a file's content if it may be JSON, else nil.
func document(r io.Reader) ([]byte, error) {
	var first [1]byte
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return nil, err
	}
	if first[0] != '{' && first[0] != '[' {
		return nil, nil
	}
	rest, err := io.ReadAll(io.LimitReader(r, maxDocument))
	return append(first[:], rest...), err
}

// digestOf is a document's digest as images refer to it.
func digestOf(doc []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(doc)) }
