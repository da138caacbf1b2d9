//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd

package hostfile

// maxOpen: Windows bounds handles by nothing but memory.
func maxOpen() int { return manyOpen }
