package sink

import (
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

// How long another build may hold the lock, which takes it some milliseconds.
const (
	lockWait  = time.Minute
	lockRetry = 5 * time.Millisecond
)

// Lock keeps other builds that write to the same folder, such as the shards of one,
// from what has to be read before it is written: so that none of them loses what
// another has added to SHA256SUMS.
func Lock(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, lockName)
	for deadline := time.Now().Add(lockWait); time.Now().Before(deadline); time.Sleep(lockRetry) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, os.ErrPermission) && runtime.GOOS == "windows" {
			continue // it is being removed
		}
		if err != nil {
			return nil, fmt.Errorf("failed to lock %s: %w", dir, err)
		}
		locked, err := hostfile.TryLock(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("failed to lock %s: %w", path, err), f.Close())
		}
		if locked && stillThere(f) {
			return func() { removeLock(f) }, nil
		}
		_ = f.Close()
	}
	return nil, fmt.Errorf("another build has locked %s for %v: wait for it to end, or remove %s", dir, lockWait, path)
}

// removeLock removes the lock. Where that fails, the file stays, without harm.
func removeLock(f *os.File) {
	if runtime.GOOS == "windows" { // which does not remove open files
		_ = f.Close()
		_ = os.Remove(f.Name())
		return
	}
	_ = os.Remove(f.Name())
	_ = f.Close()
}
