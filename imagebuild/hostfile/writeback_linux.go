package hostfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// StartWriteback asks the system to begin with writing n bytes at off to the disk,
// without waiting for it, so that a later Sync has less to wait for. It is a hint.
func StartWriteback(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
