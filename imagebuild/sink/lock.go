package sink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/piimg/piimg/imagebuild/hostfile"
)

// lockName is the name of the file that is locked while files of an output folder are
// read and written anew. It is there only then; [RemoveStale] removes one that was
// left behind.
const lockName = ".piimg-lock.part"

const (
	lockRetry = 5 * time.Millisecond
	lockTell  = time.Second // after which it is told that another build is waited for
	lockGone  = time.Minute // that Windows may take to remove a file
)

// Lock keeps other builds that write to the same folder, such as the shards of one,
// from what has to be read before it is written: so that none of them loses what
// another has added to SHA256SUMS. It waits until they have done, or ctx is; if that
// takes long, it calls waiting, once. A build that has died holds no lock.
func Lock(ctx context.Context, dir string, waiting func()) (unlock func(), err error) {
	path := filepath.Join(dir, lockName)
	began := time.Now()
	for told := false; ; {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		switch {
		case err == nil:
			locked, err := hostfile.TryLock(f)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("failed to lock %s: %w", path, err), f.Close())
			}
			if locked && stillThere(f) {
				return func() { _ = removeTemp(f) }, nil // where that fails, the file stays, without harm
			}
			_ = f.Close()
		case errors.Is(err, os.ErrPermission) && runtime.GOOS == "windows" && time.Since(began) < lockGone: // it is being removed
		default:
			return nil, fmt.Errorf("failed to lock %s: %w", dir, err)
		}
		if !told && time.Since(began) >= lockTell {
			told = true
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockRetry):
		}
	}
}
