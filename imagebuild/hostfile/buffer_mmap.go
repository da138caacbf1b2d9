//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package hostfile

import "golang.org/x/sys/unix"

// NewBuffer returns n zero bytes that do not belong to Go's heap.
//
// The garbage collector lets the heap grow to twice what is in use. Decoding
// makes garbage steadily, so that buffers of some 100 MiB in the heap would
// come with as much garbage on top.
func NewBuffer(n int) []byte {
	if p, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE); err == nil {
		return p
	}
	return make([]byte, n)
}

// FreeBuffer gives a buffer of NewBuffer back, of which nothing may be in use.
func FreeBuffer(p []byte) {
	_ = unix.Munmap(p) // fails, without harm, for those from the heap
}
