package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/piimg/piimg/imagebuild/source/xzfile"
)

// Open opens the base image at path. If its SHA-256 is known, from o or from a
// neighbouring .sha256 file, it is verified before Open returns, unless o says later.
//
// Open returns soon for raw images and for .xz files of several blocks, but
// for that verification. Others are unpacked into the cache folder here, unless
// that has been done before. Ctx ends Open, not the use of the Image.
func Open(ctx context.Context, path string, o Options) (*Image, error) {
	f, was, err := openFile(path)
	if err != nil {
		return nil, o.again(err)
	}
	m := &Image{path: path, file: f, opts: o, packing: Packing{PackedSize: was.Size()}}
	if o.isCached(path) {
		useCached(f)
	} else {
		m.was = was
	}
	if err := m.open(ctx); err != nil {
		var wrong *ChecksumError
		if derr := m.awaitDigest(ctx); errors.As(derr, &wrong) {
			err = wrong // which explains all else
		}
		if changed := m.Unchanged(); changed != nil && ctx.Err() == nil {
			err = changed // and this, that
		}
		m.stopDigest()
		if m.content != nil {
			m.content.Close()
		}
		f.Close()
		return nil, m.fail(err)
	}
	return m, nil
}

// openFile opens a file that can hold an image at all.
func openFile(path string) (*os.File, fs.FileInfo, error) {
	st, err := os.Stat(path) // before opening: opening a pipe blocks
	if err != nil {
		return nil, nil, cannotOpen(path, err)
	}
	notImage := func(what string) error {
		return &Error{Path: path, Kind: ErrNotImage, Detail: what, Remedy: "name an image file"}
	}
	switch {
	case st.IsDir():
		return nil, nil, notImage("it is a folder")
	case !st.Mode().IsRegular():
		return nil, nil, notImage("it is not a regular file")
	case st.Size() == 0:
		return nil, nil, &Error{Path: path, Kind: ErrNotImage, Detail: "the file is empty", Remedy: downloadAgain}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, cannotOpen(path, err)
	}
	if st, err = f.Stat(); err != nil {
		f.Close()
		return nil, nil, cannotOpen(path, err)
	}
	return f, st, nil
}

func cannotOpen(path string, err error) error {
	e := &Error{Path: path, Detail: "cannot open the image", Err: err, Remedy: "check the path"}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		e.Err = pe.Err // it repeats the path
	}
	if errors.Is(err, fs.ErrPermission) {
		e.Remedy = "check the file's permissions"
	}
	return e
}

// open finds out what the file is, verifies it and makes it readable.
func (m *Image) open(ctx context.Context) error {
	head := make([]byte, headSize)
	n, err := m.file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	kind, err := recognise(head[:n], m.opts.FileSystems)
	if err != nil {
		return err
	}
	m.packing.Kind = kind
	if m.want, m.wantFrom, err = m.expected(); err != nil {
		return err
	}
	switch {
	case m.opts.VerifyLater:
		m.startDigest()
	case m.want != "":
		if _, err := m.SHA256(ctx); err != nil {
			return err
		}
	}
	switch kind {
	case KindRaw:
		m.content, m.size = &rawContent{f: m.file, size: m.packing.PackedSize}, m.packing.PackedSize
		return nil // recognise has looked at the image itself
	case KindXZ:
		err = m.openXZ(ctx)
	case KindZip:
		err = m.openZip(ctx)
	case KindGzip:
		err = m.unpacked(ctx, gzipUnpacker)
	case KindZstd:
		err = m.openZstd(ctx)
	}
	if err != nil {
		return err
	}
	return m.checkInner()
}

// openXZ reads an .xz file through its index if its blocks are small enough and
// packed by LZMA2 alone, as they are in nearly all files, and unpacks it otherwise.
func (m *Image) openXZ(ctx context.Context) error {
	x, err := xzfile.Open(m.file, m.packing.PackedSize)
	if err != nil {
		return err
	}
	m.packing.Detail = describeXZ(x)
	if b := x.Undecodable(); b != nil {
		return &Error{
			Path: m.path, Kind: ErrUnsupported,
			Detail: fmt.Sprintf("its block at byte %d uses the filters %s, which can't be undone", b.PackedOff, b.Filters),
			Remedy: "unpack it with xz -d and use the .img file",
		}
	}
	for i := range x.Streams {
		if s := &x.Streams[i]; s.Blocks > 0 && !s.Check.Verifiable() {
			m.opts.notice("%s: its blocks carry the check %q, so damage in it may go unnoticed", m.path, s.Check)
			break
		}
	}
	mem, ok := planMemory(x, &m.opts)
	filtered := x.Filtered()
	if !ok || filtered != nil {
		if x.MaxDict > maxDict {
			return &Error{
				Path: m.path, Kind: ErrUnsupported,
				Detail: fmt.Sprintf("decoding it takes a dictionary of %s, more than %s", mib(x.MaxDict), mib(maxDict)),
				Remedy: "unpack it with xz -d and use the .img file",
			}
		}
		if filtered != nil {
			m.opts.notice("%s: its blocks have the filters %s; it is unpacked once into the cache folder (xz without filters makes files that are read as they are)",
				m.path, filtered.Filters)
			return m.unpacked(ctx, xzUnpacker(x))
		}
		m.opts.notice("%s: its blocks of %s are too large to be read at random; it is unpacked once into the cache folder (xz -T0 makes smaller ones)",
			m.path, mib(x.MaxBlock))
		return m.unpacked(ctx, xzUnpacker(x))
	}
	m.content, m.size, m.xz = newXZContent(m.file, x, mem, &m.opts), x.Size, x
	return nil
}

// checkInner makes sure that what has been unpacked is a disk image.
func (m *Image) checkInner() error {
	if m.size == 0 {
		return &Error{Path: m.path, Kind: ErrNotImage, Detail: "what is packed in it is empty", Remedy: downloadAgain}
	}
	head := make([]byte, min(headSize, m.size))
	if _, err := m.ReadAt(head, 0); err != nil {
		return err
	}
	switch kind, err := recognise(head, m.opts.FileSystems); {
	case err != nil:
		var e *Error
		if errors.As(err, &e) {
			e.Detail = "what is packed in it: " + e.Detail
		}
		return err
	case kind != KindRaw:
		return &Error{
			Path: m.path, Kind: ErrUnsupported,
			Detail: fmt.Sprintf("it is packed twice, with a %s within the %s", kind, m.packing.Kind),
			Remedy: unpackFirst,
		}
	}
	return nil
}
