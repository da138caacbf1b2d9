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

// sumsLock is the name of the file that is locked while SHA256SUMS is read and
// written. It is there only then; [RemoveStale] removes one that was left behind.
const sumsLock = ".piimg-sums.part"

// How long another build may hold the lock, which takes it some milliseconds.
const (
	sumsWait  = time.Minute
	sumsRetry = 5 * time.Millisecond
)

// lockSums lets several builds, such as the shards of one, write to the same
// folder at once: none of them loses another's lines.
func lockSums(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, sumsLock)
	for deadline := time.Now().Add(sumsWait); time.Now().Before(deadline); time.Sleep(sumsRetry) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, os.ErrPermission) && runtime.GOOS == "windows" {
			continue // it is being removed
		}
		if err != nil {
			return nil, fmt.Errorf("failed to lock the checksums of %s: %w", dir, err)
		}
		locked, err := hostfile.TryLock(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("failed to lock %s: %w", path, err), f.Close())
		}
		if locked && stillThere(f) {
			return func() { unlockSums(f) }, nil
		}
		_ = f.Close()
	}
	return nil, fmt.Errorf("another build has locked the checksums of %s for %v: wait for it to end, or remove %s", dir, sumsWait, path)
}

// unlockSums removes the lock. Where that fails, the file stays, without harm.
func unlockSums(f *os.File) {
	if runtime.GOOS == "windows" { // which does not remove open files
		_ = f.Close()
		_ = os.Remove(f.Name())
		return
	}
	_ = os.Remove(f.Name())
	_ = f.Close()
}
