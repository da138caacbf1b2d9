package imagebuild

import (
	"errors"
	"sync"
	"sync/atomic"
)

// parallel calls fn once for each i below n, on at most jobs goroutines, and
// returns all errors in the order of i, so that what the user reads does not
// depend on who was faster. worker says which goroutine calls, below jobs: what
// is indexed by it belongs to one call at a time.
func parallel(jobs, n int, fn func(worker, i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for worker := range min(jobs, n) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				errs[i] = fn(worker, int(i))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
