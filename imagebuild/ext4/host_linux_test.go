package ext4

import (
	"io/fs"
	"syscall"
)

// hostInode is what the host's kernel says of a file beside fs.FileInfo.
type hostInode struct {
	uid, gid, links int
	rdev            uint64
}

func hostStat(fi fs.FileInfo) (hostInode, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return hostInode{}, false
	}
	return hostInode{int(st.Uid), int(st.Gid), int(st.Nlink), uint64(st.Rdev)}, true
}
