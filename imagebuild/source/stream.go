package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/piimg/piimg/imagebuild/source/xzfile"
)

// maxZstdWindow is the largest window that is accepted: that of zstd --long.
const maxZstdWindow = 128 << 20

// countingReader counts what is read, for the progress.
type countingReader struct {
	r io.Reader
	n int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n += int64(n)
	return n, err
}

func (r *countingReader) count() int64 { return r.n }

// decoded is the output of a decoder, with errors that say what they mean.
type decoded struct {
	io.Reader
	close func()
}

func (d *decoded) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	return n, explain(err)
}

func (d *decoded) Close() error {
	d.close()
	return nil
}

// explain says what the error of a decoder means: decoders pass on the errors
// of the file that they read, and all others are their verdict on its bytes.
func explain(err error) error {
	var file *fs.PathError
	switch {
	case err == nil, err == io.EOF, errors.As(err, &file):
		return err
	case isEOF(err):
		return &Error{Kind: ErrTruncated, Detail: "the packed data ends too soon", Remedy: downloadAgain}
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return &Error{
			Kind:   ErrUnsupported,
			Detail: fmt.Sprintf("decoding it takes a window of more than %s", mib(maxZstdWindow)),
			Remedy: "unpack it with zstd -d --long=31 and use the .img file",
		}
	}
	return &Error{Kind: ErrCorrupt, Err: err, Remedy: downloadAgain}
}

// gzipUnpacker reads .gz files of one or several members, whose CRCs it verifies.
func gzipUnpacker(_ context.Context, m *Image) (io.ReadCloser, func() int64, int64, error) {
	packed := &countingReader{r: m.Packed()}
	z, err := gzip.NewReader(bufio.NewReaderSize(packed, 256<<10))
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, nil, 0, explain(err)
	}
	return &decoded{z, func() { z.Close() }}, packed.count, m.packing.PackedSize, nil
}

// zstdUnpacker reads .zst files of one or several frames, whose checksums it
// verifies where they have them.
func zstdUnpacker(_ context.Context, m *Image) (io.ReadCloser, func() int64, int64, error) {
	packed := &countingReader{r: m.Packed()}
	// A single goroutine does not read ahead while the count is asked for.
	z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err != nil {
		return nil, nil, 0, explain(err)
	}
	return &decoded{z, z.Close}, packed.count, m.packing.PackedSize, nil
}

// xzUnpacker reads .xz files of blocks too large to be held in memory.
func xzUnpacker(x *xzfile.File) unpacker {
	return func(ctx context.Context, _ *Image) (io.ReadCloser, func() int64, int64, error) {
		r := &countingReader{r: x.NewReader(ctx)}
		return io.NopCloser(r), r.count, x.Size, nil
	}
}
