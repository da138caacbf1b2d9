package layer

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// bitmap returns which of n bytes extents cover, and fails unless they are sorted and
// disjoint, with gaps of more than gap bytes between them.
func bitmap(t *rapid.T, extents []Extent, n, gap int64) []bool {
	out := make([]bool, n)
	end := -gap - 1
	for _, e := range extents {
		if e.Len <= 0 || e.Off <= end+gap {
			t.Fatalf("%v", extents)
		}
		end = e.Off + e.Len
		for i := e.Off; i < end; i++ {
			out[i] = true
		}
	}
	return out
}

// What is within a part of the image is what is there of the whole; and what is
// merged covers what it was merged from, and gaps that are small.
func TestExtents(t *testing.T) {
	const size = 60
	list := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Extent {
		off := rapid.Int64Range(0, size-1).Draw(t, "off")
		return Extent{Off: off, Len: rapid.Int64Range(1, size-off).Draw(t, "len")}
	}))
	rapid.Check(t, func(t *rapid.T) {
		a, b := list.Draw(t, "a"), list.Draw(t, "b")
		gap := rapid.Int64Range(0, 5).Draw(t, "gap")
		before := slices.Clone(a)
		got := bitmap(t, Merge(gap, a, b), size, gap)
		if !slices.Equal(a, before) {
			t.Fatal("an argument was changed")
		}
		want := make([]bool, size)
		for _, e := range slices.Concat(a, b) {
			for i := range e.Len {
				want[e.Off+i] = true
			}
		}
		for i, last := int64(0), int64(-1); i < size; i++ {
			if !want[i] {
				continue
			}
			for k := last + 1; last >= 0 && i-last-1 <= gap && k < i; k++ {
				want[k] = true
			}
			last = i
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v and %v, with gaps of %d, merge to %v", a, b, gap, Merge(gap, a, b))
		}

		all := Merge(0, a)
		off := rapid.Int64Range(0, size).Draw(t, "from")
		n := rapid.Int64Range(0, size-off).Draw(t, "n")
		part := bitmap(t, Within(all, off, n), size, 0)
		want = bitmap(t, all, size, 0)
		clear(want[:off])
		clear(want[off+n:])
		if !slices.Equal(part, want) {
			t.Fatalf("of %v, %v are within %d bytes at %d", all, Within(all, off, n), n, off)
		}
	})
}
