package fat

import (
	"errors"
	"fmt"
)

// ErrNoSpace is wrapped by errors about a file system, or the root directory of
// a FAT16 file system, that is full. They say how much is needed and how much there is.
var ErrNoSpace = errors.New("no space left on the FAT file system")

// ErrTooLarge is wrapped by errors about files of 4 GiB and more.
var ErrTooLarge = errors.New("file is too large for a FAT file system")

// CorruptError says that the file system contradicts itself. Nothing is written
// to such a file system; fsck.fat may repair it.
type CorruptError struct {
	Place   string // "boot sector", "file allocation table", "directory overlays", …
	Problem string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt FAT file system: %s: %s", e.Place, e.Problem)
}

func corrupt(place, format string, args ...any) error {
	return &CorruptError{Place: place, Problem: fmt.Sprintf(format, args...)}
}

// UnsupportedError names what this package does not read or write.
type UnsupportedError struct{ Feature string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("FAT file system with %s is not supported", e.Feature)
}
