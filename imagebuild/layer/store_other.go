//go:build !unix

package layer

import "errors"

// unlinkOpen fails: an open file keeps its name here until it is closed.
func unlinkOpen(string) error { return errors.ErrUnsupported }
