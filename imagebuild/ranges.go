package imagebuild

import "github.com/piimg/piimg/imagebuild/layer"

// RangeSize is the unit in which [Ranges] counts, in bytes.
const RangeSize = 64 << 10

// Ranges says how many aligned ranges of [RangeSize] bytes a build changes: what
// the images of a cluster differ by from the base, and from each other.
type Ranges struct {
	Size int64 `json:"size"` // of a range, in bytes
	// Shared are those that the edits of all nodes change, against the base.
	Shared int `json:"shared"`
	// Nodes are those that a node's own edits change, against what all nodes
	// share, by host name.
	Nodes map[string]int `json:"nodes"`
}

// countRanges counts the ranges that sorted extents touch.
func countRanges(extents []layer.Extent) (n int) {
	next := int64(0)
	for _, e := range extents {
		first, end := max(e.Off/RangeSize, next), (e.Off+e.Len+RangeSize-1)/RangeSize
		if first < end {
			n += int(end - first)
			next = end
		}
	}
	return n
}
