// Package filelock takes advisory locks on open files. The operating system
// releases a lock when the file is closed or its process ends, however it ends.
package filelock

import "os"

// Try locks f for this process alone and reports whether it could: false
// without an error means that another process, or another open file of this
// one, holds the lock. On systems without such locks it always succeeds.
func Try(f *os.File) (bool, error) { return try(f) }
