//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd

package hostfile

// NewBuffer returns n zero bytes.
func NewBuffer(n int) []byte { return make([]byte, n) }

// FreeBuffer leaves the buffer to the garbage collector.
func FreeBuffer([]byte) {}
