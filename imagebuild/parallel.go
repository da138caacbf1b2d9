package imagebuild

import (
	"context"
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

// inOrder calls produce for each i below n, up to jobs calls at once, and hands
// what they return to consume, in the order of i and one at a time. At most jobs+1
// results are there at once, with those that are being made and consumed. It
// returns the first error, in that order, once no call is under way any more.
func inOrder[T any](ctx context.Context, n, jobs int, produce func(ctx context.Context, i int) (T, error), consume func(T) error) error {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	queue := make(chan chan result, jobs-1)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(queue)
		for i := 0; i < n && ctx.Err() == nil; i++ { // select alone would not mind
			c := make(chan result, 1)
			select {
			case queue <- c:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				v, err := produce(ctx, i)
				c <- result{v, err}
			})
		}
	})
	var err error
	for c := range queue {
		r := <-c
		if err == nil {
			err = r.err
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = consume(r.value)
		}
		if err != nil {
			cancel()
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	cancel()
	wg.Wait()
	return err
}
