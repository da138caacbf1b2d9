package sink

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"

	"github.com/piimg/piimg/imagebuild/hostfile"
)

// draft is an image's file until it is published: a temporary file beside its
// final path.
type draft struct {
	file    *os.File
	final   string
	size    int64 // of the image, unpacked
	off     int64 // how much of it was taken
	written int64 // bytes, by Write
	begun   int64 // of these, those that the disk was given to write
	hash    hash.Hash
	state   state
}

type state int

const (
	writing state = iota
	finished
	ended
)

// writeback is how much is written before the disk begins with it: if nothing were
// until the end, a build would wait there for all of it.
const writeback = 16 << 20

// createDraft begins the file of an image of size unpacked bytes that will be
// published at path. Until then, and after, only its owner can read it: images hold
// host keys and password hashes.
func createDraft(path string, size int64) (*draft, error) {
	f, err := createTemp(path)
	if err != nil {
		return nil, err
	}
	d := &draft{file: f, final: path, size: size, hash: sha256.New()}
	if err := f.Chmod(0o600); err != nil {
		d.Abort()
		return nil, d.failed(err)
	}
	return d, nil
}

// Write implements io.Writer, for files that are written from front to back.
func (d *draft) Write(p []byte) (int, error) {
	if d.state != writing {
		return 0, fmt.Errorf("%s: written to after its end", d.final)
	}
	n, err := d.file.Write(p)
	d.hash.Write(p[:n])
	d.written += int64(n)
	if fresh := d.written - d.begun; fresh >= writeback {
		hostfile.StartWriteback(d.file, d.begun, fresh)
		d.begun = d.written
	}
	return n, d.failed(err)
}

// next takes a region, which must be the one behind what was taken before.
func (d *draft) next(r *Region) error {
	if r.Off != d.off || r.Len > d.size-d.off {
		return fmt.Errorf("%s: %d bytes at %d came after %d of %d", d.final, r.Len, r.Off, d.off, d.size)
	}
	d.off += r.Len
	return nil
}

// finish makes the file durable, of whose image everything must have been taken. Last
// is what is still to be written.
func (d *draft) finish(last []byte) (Result, error) {
	if d.off != d.size {
		return Result{}, fmt.Errorf("%s: ended after %d of %d bytes", d.final, d.off, d.size)
	}
	if d.state != writing {
		return Result{}, fmt.Errorf("%s: finished twice", d.final)
	}
	if _, err := d.Write(last); err != nil {
		return Result{}, err
	}
	if err := d.file.Sync(); err != nil {
		return Result{}, d.failed(err)
	}
	d.state = finished
	res := Result{Path: d.final, Size: d.written}
	d.hash.Sum(res.SHA256[:0])
	return res, nil
}

// Publish implements [Sink].
func (d *draft) Publish() error {
	if d.state != finished {
		return fmt.Errorf("%s: published before it was finished", d.final)
	}
	err := publish(d.file, d.final)
	if err == nil {
		d.state = ended
	}
	return err
}

// Abort implements [Sink].
func (d *draft) Abort() {
	if d.state == ended {
		return
	}
	d.state = ended
	// Nothing can be done about a failure here, and the error that led here is
	// the one to report.
	_ = removeTemp(d.file)
}

// failed names the image and, where the disk is full, the remedy. Nil stays nil.
func (d *draft) failed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("%s: written to after it was given up", d.final)
	}
	return writeFailed(d.final, err)
}

// writeFailed names the file and, where the disk is full, the remedy. Nil stays nil.
func writeFailed(path string, err error) error {
	if err == nil {
		return nil
	}
	if isNoSpace(err) {
		err = &SpaceError{Dir: filepath.Dir(final(path)), Err: err}
	}
	return fmt.Errorf("failed to write %s: %w", final(path), err)
}
