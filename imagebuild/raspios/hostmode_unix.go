//go:build !windows

package raspios

import "io/fs"

// executable reports whether a file of an overlay is a program: here its mode
// says so.
func executable(mode fs.FileMode, _ []byte) bool { return mode&0o111 != 0 }
