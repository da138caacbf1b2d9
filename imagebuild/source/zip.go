package source

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/flate"
)

// openZip finds the image in a .zip. One that is stored without compression is
// read where it is, others are unpacked.
func (m *Image) openZip(ctx context.Context) error {
	z, err := zip.NewReader(m.Packed(), m.packing.PackedSize)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // nothing is written to the paths in it
		return m.zipError(err)
	}
	z.RegisterDecompressor(zip.Deflate, flate.NewReader)
	entry, err := imageEntry(z)
	if err != nil {
		return err
	}
	m.packing.Name = entry.Name
	if entry.UncompressedSize64 > 1<<62 || entry.CompressedSize64 > uint64(m.packing.PackedSize) {
		return &Error{Kind: ErrCorrupt, Detail: fmt.Sprintf("the sizes of %s are wrong", entry.Name), Remedy: downloadAgain}
	}
	const encrypted = 1
	switch {
	case entry.Flags&encrypted != 0:
		return &Error{Kind: ErrUnsupported, Detail: entry.Name + " is encrypted", Remedy: unpackFirst}
	case entry.Method == zip.Store:
		return m.openStored(ctx, entry)
	case entry.Method == zip.Deflate:
		m.packing.Detail = "deflated"
		return m.unpacked(ctx, zipUnpacker(entry))
	}
	return &Error{
		Kind:   ErrUnsupported,
		Detail: fmt.Sprintf("%s is compressed by method %s, and only stored and deflated files can be read", entry.Name, zipMethod(entry.Method)),
		Remedy: unpackFirst,
	}
}

// imageEntry returns the only *.img in z.
func imageEntry(z *zip.Reader) (*zip.File, error) {
	var images, files []*zip.File
	for _, f := range z.File {
		base := path.Base(strings.ReplaceAll(f.Name, `\`, "/"))
		if f.FileInfo().IsDir() || strings.HasPrefix(base, "._") { // what macOS puts beside files
			continue
		}
		files = append(files, f)
		if strings.EqualFold(path.Ext(base), ".img") {
			images = append(images, f)
		}
	}
	switch len(images) {
	case 1:
		return images[0], nil
	case 0:
		return nil, &Error{
			Kind: ErrNotImage, Detail: "there is no .img in it, but " + listEntries(files),
			Remedy: "use the .zip of a disk image, or unpack it and use the image file",
		}
	}
	return nil, &Error{
		Kind: ErrNotImage, Detail: fmt.Sprintf("there are %d .img files in it: %s", len(images), listEntries(images)),
		Remedy: "unpack it and use one of them",
	}
}

// listEntries names files for an error message.
func listEntries(files []*zip.File) string {
	const most = 10
	if len(files) == 0 {
		return "nothing"
	}
	var names []string
	for i, f := range files {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(files)-most))
			break
		}
		names = append(names, fmt.Sprintf("%.100q (%s)", f.Name, mib(int64(min(f.UncompressedSize64, 1<<62)))))
	}
	return strings.Join(names, ", ")
}

// openStored reads an image where it is in the .zip, once its CRC32 has been verified.
func (m *Image) openStored(ctx context.Context, entry *zip.File) error {
	m.packing.Detail = "stored"
	off, err := entry.DataOffset()
	if err != nil {
		return m.zipError(err)
	}
	size := int64(entry.UncompressedSize64)
	if entry.CompressedSize64 != entry.UncompressedSize64 || off > m.packing.PackedSize-size {
		return &Error{Kind: ErrCorrupt, Detail: fmt.Sprintf("the sizes of %s are wrong", entry.Name), Remedy: downloadAgain}
	}
	if err := m.awaitDigest(ctx); err != nil { // one look at the whole file at a time
		return err
	}
	crc := crc32.NewIEEE()
	if err := hashInto(ctx, crc, io.NewSectionReader(m.file, off, size), &m.opts); err != nil {
		return err
	}
	if crc.Sum32() != entry.CRC32 {
		return &Error{
			Kind: ErrCorrupt, Remedy: downloadAgain,
			Detail: fmt.Sprintf("the CRC32 of %s is %08x instead of %08x", entry.Name, crc.Sum32(), entry.CRC32),
		}
	}
	m.content, m.size = &rawContent{f: m.file, off: off, size: size}, size
	return nil
}

// zipUnpacker unpacks one file of a .zip; its size and CRC32 are verified at its end.
func zipUnpacker(entry *zip.File) unpacker {
	return func(_ context.Context, m *Image) (io.ReadCloser, func() int64, int64, error) {
		r, err := entry.Open()
		if err != nil {
			return nil, nil, 0, m.zipError(err)
		}
		c := &countingReader{r: r}
		d := &decoded{c, func() { r.Close() }}
		return d, c.count, int64(entry.UncompressedSize64), nil
	}
}

// zipError says what an error of the .zip reader means.
func (m *Image) zipError(err error) error {
	if !errors.Is(err, zip.ErrFormat) && !isEOF(err) {
		return err
	}
	// The directory stands at the end. If not even its end record is there in
	// full, the end is missing. A comment of up to 64 KiB belongs to the record.
	const endRecord, endSize = "PK\x05\x06", 22
	tail := make([]byte, min(endSize+1<<16, m.packing.PackedSize))
	if _, rerr := m.file.ReadAt(tail, m.packing.PackedSize-int64(len(tail))); rerr != nil && !isEOF(rerr) {
		return rerr
	}
	i := bytes.LastIndex(tail, []byte(endRecord))
	if i < 0 || len(tail)-i < endSize || len(tail)-i-endSize < int(binary.LittleEndian.Uint16(tail[i+20:])) {
		return &Error{Kind: ErrTruncated, Detail: "the directory at the end of the .zip is missing", Remedy: downloadAgain}
	}
	return &Error{Kind: ErrCorrupt, Err: err, Remedy: downloadAgain}
}

// zipMethod names a compression method.
func zipMethod(method uint16) string {
	switch method {
	case 9:
		return "Deflate64"
	case 12:
		return "bzip2"
	case 14:
		return "LZMA"
	case 93:
		return "zstd"
	case 95:
		return "xz"
	}
	return fmt.Sprint(method)
}
