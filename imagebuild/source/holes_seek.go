//go:build linux || freebsd || darwin

package source

import (
	"errors"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// seekData returns where data begins at or after off and where it ends, for
// files with holes. Without more data, both are past the end of the file. It
// moves the file's offset, which nobody uses.
func seekData(f *os.File, off int64) (data, end int64, err error) {
	data, err = f.Seek(off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, syscall.ENXIO):
		return math.MaxInt64, math.MaxInt64, nil
	case err != nil: // a file system that knows no holes
		return off, math.MaxInt64, nil
	}
	if end, err = f.Seek(data, unix.SEEK_HOLE); err != nil || end <= data {
		end = math.MaxInt64
	}
	return data, end, nil
}
