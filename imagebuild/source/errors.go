package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/piimg/piimg/imagebuild/source/xzfile"
)

// What can be wrong with an image. Errors of this package about an image are of
// type *Error or *ChecksumError; *Error is one of these under errors.Is, unless
// it comes from the operating system.
var (
	// ErrNotImage means that the path names something else than a disk image in
	// one of the packings: a folder, an empty file, a PDF.
	ErrNotImage = errors.New("not a disk image")
	// ErrTruncated means that the end of the file is missing.
	ErrTruncated = errors.New("truncated")
	// ErrCorrupt means that the file contradicts its own structure or checksums.
	ErrCorrupt = errors.New("damaged")
	// ErrUnsupported means a valid file packed in a way that can't be read here.
	ErrUnsupported = errors.New("unsupported packing")
	// ErrDownload means that Fetch could not get a file from its server.
	ErrDownload = errors.New("download failed")
)

// An Error says what is wrong with an image file or a download.
type Error struct {
	Path   string // of the file, or the address
	Kind   error  // one of the Err variables, or nil
	Detail string // what was found; does not repeat Kind
	Remedy string // what to do about it; may be empty
	Err    error  // what the error was made of; may be nil
}

// Error returns the message in one line: path, kind, details, remedy.
func (e *Error) Error() string {
	parts := []string{e.Path}
	if e.Kind != nil {
		parts = append(parts, e.Kind.Error())
	}
	if e.Detail != "" {
		parts = append(parts, e.Detail)
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	s := strings.Join(parts, ": ")
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// A ChecksumError says that a file is not the one that was expected.
type ChecksumError struct {
	Path   string // of the file, or the address
	Want   string // expected SHA-256
	Got    string // SHA-256 of the file
	Source string // where Want comes from: a path, or empty if the caller gave it
	Size   int64  // of the file, in bytes
}

// Error returns the message in one line, with both digests and the remedy.
func (e *ChecksumError) Error() string {
	by := "expected"
	if e.Source != "" {
		by = "expected by " + e.Source
	}
	return fmt.Sprintf("%s: wrong sha256: %s is %s, but the file (%d bytes) has %s; "+
		"it is damaged, cut off or another version: download it again, or correct the expected sha256",
		e.Path, by, e.Want, e.Size, e.Got)
}

const (
	downloadAgain = "download it again"
	unpackFirst   = "unpack it and use the .img file"
)

// fail gives an error the path of the image, and a kind by what it is made of.
func (m *Image) fail(err error) error {
	err = classify(m.path, err)
	if m.repacked && (errors.Is(err, ErrCorrupt) || errors.Is(err, ErrTruncated)) {
		return m.damagedCopy(err)
	}
	return m.opts.again(err)
}

// again replaces the advice to download an image again, if o has another.
func (o *Options) again(err error) error {
	if e, ok := err.(*Error); ok && o.Again != "" && e.Remedy == downloadAgain {
		other := *e // which is that of all who wait for a block
		other.Remedy = o.Again
		return &other
	}
	return err
}

// classify makes an *Error for path of an error met while reading a packed file.
func classify(path string, err error) error {
	var e *Error
	var sum *ChecksumError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		if e.Path != "" {
			return err
		}
		// It was made where the path was not known.
		if err != error(e) {
			e.Path = path
			return err
		}
		named := *e // which is that of all who wait for a block
		named.Path = path
		return &named
	case errors.As(err, &sum):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	e = &Error{Path: path, Err: err}
	switch {
	case errors.Is(err, xzfile.ErrTruncated):
		e.Kind, e.Remedy = ErrTruncated, downloadAgain
	case errors.Is(err, xzfile.ErrCorrupt):
		e.Kind, e.Remedy = ErrCorrupt, downloadAgain
	case errors.Is(err, xzfile.ErrUnsupported):
		e.Kind, e.Remedy = ErrUnsupported, unpackFirst
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		e.Kind, e.Remedy = ErrTruncated, downloadAgain
		e.Detail, e.Err = "it ends too soon", nil
	}
	return e
}
