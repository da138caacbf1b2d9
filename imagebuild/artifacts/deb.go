package artifacts

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/piimg/piimg/imagebuild/source/xzfile"
)

// A Debian package, after deb(5), is an archive of ar(1): debian-binary, then
// control.tar and data.tar in one of several packings. Only control.tar's file
// control is unpacked; of the rest it is checked that it is there.

const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
	maxControl   = 16 << 20 // unpacked bytes of control.tar; the largest of Debian has some 3 MiB
	maxDebParts  = 64
)

// errNotDeb is part of what is said of archives that are no packages.
var errNotDeb = errors.New("no Debian package")

// readDeb reads a package's control file into an Item without a place.
func readDeb(ctx context.Context, r io.ReaderAt, size int64) (Item, error) {
	var control []byte
	var names []string
	for off := int64(len(arMagic)); off < size; {
		if len(names) == maxDebParts {
			return Item{}, fmt.Errorf("%w: it has more than %d parts", errNotDeb, maxDebParts)
		}
		name, length, err := arHeader(r, off, size)
		if err != nil {
			return Item{}, err
		}
		off += arHeaderSize
		body := io.NewSectionReader(r, off, length)
		switch {
		case len(names) == 0 && name != "debian-binary":
			return Item{}, fmt.Errorf("%w: it begins with %q", errNotDeb, name)
		case len(names) == 0:
			if err := debVersion(body); err != nil {
				return Item{}, err
			}
		case strings.HasPrefix(name, "control.tar") && control == nil:
			if control, err = readControl(ctx, body, strings.TrimPrefix(name, "control.tar")); err != nil {
				return Item{}, fmt.Errorf("%s: %w", name, err)
			}
		}
		names = append(names, name)
		off += length + length%2
	}
	hasData := false
	for _, n := range names {
		hasData = hasData || strings.HasPrefix(n, "data.tar")
	}
	if control == nil || !hasData {
		return Item{}, fmt.Errorf("%w: control.tar or data.tar is missing", errNotDeb)
	}
	return parseControl(control)
}

// arHeader reads the name and the size of the member at off.
func arHeader(r io.ReaderAt, off, size int64) (name string, length int64, err error) {
	var h [arHeaderSize]byte
	if size-off < arHeaderSize {
		return "", 0, io.ErrUnexpectedEOF
	}
	if _, err := r.ReadAt(h[:], off); err != nil {
		return "", 0, unexpected(err)
	}
	length, err = strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
	if err != nil || length < 0 || string(h[58:]) != "`\n" {
		return "", 0, fmt.Errorf("%w: no header of ar at byte %d", errNotDeb, off)
	}
	if length > size-off-arHeaderSize {
		return "", 0, io.ErrUnexpectedEOF
	}
	return strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/"), length, nil
}

func debVersion(r *io.SectionReader) error {
	text, err := io.ReadAll(io.LimitReader(r, 16))
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(text, []byte("2.")) {
		return fmt.Errorf("%w: version %.10q of the format is not known", errNotDeb, text)
	}
	return nil
}

// readControl returns the file control of a control.tar in the packing that its
// name's ending says.
func readControl(ctx context.Context, body *io.SectionReader, packing string) ([]byte, error) {
	var unpacked io.Reader
	switch packing {
	case "":
		unpacked = body
	case ".gz":
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, unexpected(err)
		}
		unpacked = z
	case ".zst":
		z, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxControl))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		unpacked = z
	case ".xz":
		f, err := xzfile.Open(body, body.Size())
		if err != nil {
			return nil, err
		}
		if f.Size > maxControl {
			return nil, fmt.Errorf("it unpacks to %d bytes, more than any package's", f.Size)
		}
		unpacked = f.NewReader(ctx)
	default:
		return nil, fmt.Errorf("packing %q is not known", packing)
	}
	return fileOfTar(io.LimitReader(unpacked, maxControl), "control")
}

// fileOfTar returns the content of a file of a small archive.
func fileOfTar(r io.Reader, want string) ([]byte, error) {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil, fmt.Errorf("%w: it has no file %s", errNotDeb, want)
		}
		if err != nil {
			return nil, unexpected(err)
		}
		if path.Clean(h.Name) == want && h.Typeflag == tar.TypeReg {
			content, err := io.ReadAll(io.LimitReader(t, maxControl))
			return content, unexpected(err)
		}
	}
}

// parseControl reads the fields of a control file that matter here.
func parseControl(text []byte) (Item, error) {
	fields := map[string]string{}
	last := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, " \t\r\n")
		switch key, value, ok := strings.Cut(line, ":"); {
		case line == "":
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				fields[last] += " " + strings.TrimSpace(line)
			}
		case !ok:
			return Item{}, fmt.Errorf("%w: its control file has the line %.60q", errNotDeb, line)
		default:
			last = strings.ToLower(key)
			fields[last] = strings.TrimSpace(value)
		}
	}
	it := Item{Kind: Deb, Name: fields["package"], Version: fields["version"], Arch: fields["architecture"]}
	if it.Name == "" || it.Version == "" || it.Arch == "" {
		return Item{}, fmt.Errorf("%w: its control file names no package, version or architecture", errNotDeb)
	}
	it.Depends = strings.Trim(fields["pre-depends"]+", "+fields["depends"], ", ")
	for _, group := range parseDepends(fields["provides"]) {
		if it.Provides == nil {
			it.Provides = map[string]string{}
		}
		it.Provides[group[0].name] = group[0].version
	}
	return it, nil
}

// unexpected makes an end where there must be none of any end.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, xzfile.ErrTruncated) {
		return io.ErrUnexpectedEOF
	}
	return err
}
