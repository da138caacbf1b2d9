//go:build !linux

package hostfile

import "os"

// StartWriteback is a hint that only Linux takes.
func StartWriteback(*os.File, int64, int64) {}
