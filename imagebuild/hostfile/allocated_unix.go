//go:build unix

package hostfile

import (
	"os"
	"syscall"
)

func allocated(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512 // whatever the file system's block size
	}
	return info.Size()
}
