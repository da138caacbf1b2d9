//go:build unix

package layer

import "os"

// unlinkOpen removes the name of an open file, so that nothing is left of it
// however the process ends.
func unlinkOpen(name string) error { return os.Remove(name) }
