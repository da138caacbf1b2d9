package imagebuild

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Who is told something is told one thing at a time.
func TestCallsDoNotOverlap(t *testing.T) {
	var under, overlaps atomic.Int32
	call := func() {
		if under.Add(1) > 1 {
			overlaps.Add(1)
		}
		runtime.Gosched()
		under.Add(-1)
	}
	o := Options{Notice: func(string) { call() }, Progress: func(string, int64, int64) { call() }}.withDefaults()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10_000 {
				o.Notice("")
				o.Progress("", 0, 0)
			}
		})
	}
	wg.Wait()
	if n := overlaps.Load(); n > 0 {
		t.Errorf("%d calls came during others", n)
	}
}
