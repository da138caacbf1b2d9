package ext4

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
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

// compareHostXattrs compares the attributes of a file with those that it should have.
func compareHostXattrs(p string, want map[string]string) error {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(p, list)
	if err != nil {
		return fmt.Errorf("listxattr: %w", err)
	}
	if have := strings.Count(string(list[:n]), "\x00"); have != len(want) {
		return fmt.Errorf("attributes %q, want %q", list[:n], want)
	}
	value := make([]byte, 64<<10)
	for attr, v := range want {
		n, err := unix.Lgetxattr(p, attr, value)
		if err != nil || string(value[:n]) != v {
			return fmt.Errorf("attribute %s is %q, %v, want %q", attr, value[:max(0, n)], err, v)
		}
	}
	return nil
}
