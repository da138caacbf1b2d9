package artifacts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/piimg/piimg/imagebuild/source/xzfile"
)

// errUnknown is part of what is said of a file that is of no known kind.
var errUnknown = errors.New("neither a Debian package, nor a program, nor an archive of container images: remove it from the folder")

// identify finds out by its content what a file is. The Item has no place, size
// and digest yet.
func identify(ctx context.Context, r io.ReaderAt, size int64, rel string) (Item, error) {
	head := make([]byte, min(size, 512))
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), head); err != nil {
		return Item{}, unexpected(err)
	}
	it, err := identifyBy(ctx, head, r, size)
	switch {
	case ctx.Err() != nil:
		return Item{}, ctx.Err()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Item{}, errors.New("its end is missing: fetch it again")
	case err != nil:
		return Item{}, err
	}
	base := path.Base(rel)
	switch it.Kind {
	case Binary:
		it.Name = base
		if path.Base(path.Dir(rel)) == "cni" {
			it.Kind = CNIPlugin
		}
	case Image:
		if it.Name == "" {
			it.Name = base
		}
	}
	return it, nil
}

func identifyBy(ctx context.Context, head []byte, r io.ReaderAt, size int64) (Item, error) {
	has := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch {
	case size == 0:
		return Item{}, errors.New("it is empty: fetch it again")
	case has(arMagic):
		return readDeb(ctx, r, size)
	case has("\x7fELF"):
		return readProgram(r, size)
	case has("#!"):
		return Item{Kind: Binary, Arch: "all"}, nil
	case has("\x1f\x8b"):
		return readImages(ctx, r, size, "gzip")
	case has("\x28\xb5\x2f\xfd"):
		return readImages(ctx, r, size, "zstd")
	case xzfile.Magic(head):
		return Item{}, fmt.Errorf("packed by xz, which nodes do not unpack: pack it by gzip")
	case len(head) == 512 && string(head[257:262]) == "ustar":
		return readImages(ctx, r, size, "")
	}
	return Item{}, errUnknown
}
