//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package hostfile

import "golang.org/x/sys/unix"

func maxOpen() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fewOpen
	}
	return int(min(uint64(l.Cur), manyOpen))
}
