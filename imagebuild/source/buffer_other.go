//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd

package source

// newBuffer returns n zero bytes.
func newBuffer(n int) []byte { return make([]byte, n) }

// freeBuffer leaves the buffer to the garbage collector.
func freeBuffer([]byte) {}
