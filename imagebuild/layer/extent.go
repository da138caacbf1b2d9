package layer

import (
	"cmp"
	"slices"
)

// Extent is a range of bytes.
type Extent struct {
	Off, Len int64
}

// Within returns the parts of extents that lie in n bytes at off. Extents must be
// sorted and disjoint.
func Within(extents []Extent, off, n int64) []Extent {
	i, _ := slices.BinarySearchFunc(extents, off, func(e Extent, off int64) int {
		if e.Off+e.Len <= off {
			return -1
		}
		return 1
	})
	var out []Extent
	for _, e := range extents[i:] {
		from, to := max(e.Off, off), min(e.Off+e.Len, off+n)
		if from >= to {
			break
		}
		out = append(out, Extent{Off: from, Len: to - from})
	}
	return out
}

// Merge returns the extents that cover those of all lists: sorted, disjoint, and
// joined where there are no more than gap bytes between them.
func Merge(gap int64, lists ...[]Extent) []Extent {
	all := slices.Concat(lists...)
	slices.SortFunc(all, func(a, b Extent) int { return cmp.Compare(a.Off, b.Off) })
	var out []Extent
	for _, e := range all {
		if last := len(out) - 1; last >= 0 && e.Off <= out[last].Off+out[last].Len+gap {
			out[last].Len = max(out[last].Len, e.Off+e.Len-out[last].Off)
			continue
		}
		out = append(out, e)
	}
	return out
}
