package source

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/piimg/piimg/imagebuild/hostfile"
)

// lockInterval is how often a lock that another process holds is tried again.
const lockInterval = 200 * time.Millisecond

// lock takes the advisory lock of the file at path, which it makes and which
// stays there: removing it would let a third process lock a new file of the
// same name. The operating system releases the lock when the process ends.
// If the lock has to be waited for, what says for what.
func (o *Options) lock(ctx context.Context, path, what string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, o.cacheFailed("lock", err)
	}
	for told := false; ; told = true {
		ok, err := hostfile.TryLock(f)
		if err != nil {
			f.Close()
			return nil, o.cacheFailed("lock", fmt.Errorf("%s: %w", path, err))
		}
		if ok {
			return func() { _ = hostfile.Unlock(f); f.Close() }, nil
		}
		if !told {
			o.notice("another process is %s; waiting for it", what)
		}
		if err := o.wait(ctx, lockInterval); err != nil {
			f.Close()
			return nil, err
		}
	}
}

// wait waits for d, or until ctx is done.
func (o *Options) wait(ctx context.Context, d time.Duration) error {
	if o.sleep != nil {
		return o.sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
