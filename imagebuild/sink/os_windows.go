package sink

import (
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
)

// Free returns the bytes that this user can still write to dir's volume.
func Free(dir string) (int64, error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return 0, fmt.Errorf("failed to ask for the free space of %s: %w", dir, err)
	}
	return int64(free), nil
}

func isNoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// isOpen reports whether a file was not removed because others have it open.
func isOpen(err error) bool { return errors.Is(err, windows.ERROR_SHARING_VIOLATION) }

// syncDir has nothing to do: NTFS logs renames.
func syncDir(string) error { return nil }
