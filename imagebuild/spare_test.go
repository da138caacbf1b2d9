package imagebuild

import (
	"context"
	"errors"
	"testing"
)

// A pass that fails ends: no region waits for buffers that another one does not give
// back any more.
func TestSpareAfterError(t *testing.T) {
	wrong := errors.New("wrong")
	for run := range 40_000 {
		const n, jobs = 40, 2
		s := newSpare(jobs+1, 1)
		err := inOrder(t.Context(), n, jobs, func(ctx context.Context, i int) (*buffers, error) {
			b, err := s.get(ctx)
			if err == nil && i >= run%n {
				err = wrong
			}
			return b, err
		}, func(b *buffers) error { s.put(b); return nil })
		if !errors.Is(err, wrong) {
			t.Fatalf("run %d: got %v", run, err)
		}
		s.free()
	}
}
