package sink

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Builds that begin in one folder at once tidy up after others, but not what each is
// just about to use or to remove itself.
func TestBeginAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if err := RemoveStale(dir); err != nil {
					t.Error(err)
					return
				}
				if err := Probe(dir); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if left := names(t, dir); len(left) > 0 {
		t.Errorf("the folder holds %q", left)
	}
}

// A build that begins while others take turns with the lock leaves it to who has it.
func TestLockIsNotStale(t *testing.T) {
	dir := t.TempDir()
	var holders atomic.Int32
	var users, tidy sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		users.Go(func() {
			for range 20 {
				unlock, err := Lock(t.Context(), dir, func() {})
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				time.Sleep(20 * time.Microsecond)
				holders.Add(-1)
				unlock()
			}
		})
		tidy.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := RemoveStale(dir); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	users.Wait()
	close(done)
	tidy.Wait()
}

// The same for stages, from the first moment of each to its last.
func TestStageIsNotStale(t *testing.T) {
	dir := t.TempDir()
	var users, tidy sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		name := fmt.Sprintf("w%d.img", i)
		users.Go(func() {
			for range 100 {
				s, err := NewStage(dir)
				if err != nil {
					t.Error(err)
					return
				}
				err = errors.Join(WriteFile(s.Path(name), nil, 0o600), s.Publish([]string{name}), s.Close())
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
		tidy.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := RemoveStale(dir); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	users.Wait()
	close(done)
	tidy.Wait()
	if err := RemoveStale(dir); err != nil {
		t.Error(err)
	}
	if left := names(t, dir); len(left) != 4 {
		t.Errorf("the folder holds %q", left)
	}
}
