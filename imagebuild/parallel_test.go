package imagebuild

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// What is produced at once is consumed in order, never too much of it is there, and
// the first error in order is the one that is returned.
func TestInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, jobs := rapid.IntRange(0, 40).Draw(t, "n"), rapid.IntRange(1, 5).Draw(t, "jobs")
		produceFails := rapid.IntRange(0, 60).Draw(t, "produce fails")
		consumeFails := rapid.IntRange(0, 60).Draw(t, "consume fails")
		wrongP, wrongC := errors.New("produce"), errors.New("consume")
		var there, most atomic.Int64
		var got, want []int
		err := inOrder(context.Background(), n, jobs, func(_ context.Context, i int) (int, error) {
			most.Store(max(most.Load(), there.Add(1)))
			if i == produceFails {
				return 0, wrongP
			}
			return i, nil
		}, func(i int) error {
			defer there.Add(-1)
			if i == consumeFails {
				return wrongC
			}
			got = append(got, i)
			return nil
		})
		end := min(n, produceFails, consumeFails)
		for i := range end {
			want = append(want, i)
		}
		var wantErr error
		switch {
		case end == n:
		case produceFails <= consumeFails:
			wantErr = wrongP
		default:
			wantErr = wrongC
		}
		if !slices.Equal(got, want) || err != wantErr {
			t.Fatalf("consumed %v, %v; want %v, %v", got, err, want, wantErr)
		}
		if most.Load() > int64(jobs)+1 && wantErr == nil {
			t.Fatalf("%d results at once with %d jobs", most.Load(), jobs)
		}
	})
}
