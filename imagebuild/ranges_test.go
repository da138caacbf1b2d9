package imagebuild

import (
	"context"
	"slices"
	"testing"
)

// TestRanges counts the 64 KiB ranges in which the images of a cluster differ
// from what all its nodes share. What every node writes costs next to nothing;
// a node with files of its own pays for those.
func TestRanges(t *testing.T) {
	p, err := Plan(context.Background(), project(t, "bookworm"))
	if err != nil {
		t.Fatal(err)
	}
	counts := make([]int, 0, len(p.Ranges.Nodes))
	for _, n := range p.Ranges.Nodes {
		counts = append(counts, n)
	}
	slices.Sort(counts)
	t.Logf("all nodes share %d ranges; a node's own: %v", p.Ranges.Shared, p.Ranges.Nodes)
	if len(counts) == 0 || counts[0] > 10 || counts[len(counts)-1] > 24 {
		t.Error("the edits are scattered")
	}
}

// BenchmarkRanges reports how many ranges of 64 KiB a node changes, on average.
func BenchmarkRanges(b *testing.B) {
	for _, release := range releases(b) {
		b.Run(release, func(b *testing.B) {
			o := project(b, release)
			o.Notice = func(string) {}
			var r Ranges
			for b.Loop() {
				p, err := Plan(context.Background(), o)
				if err != nil {
					b.Fatal(err)
				}
				r = p.Ranges
			}
			total := 0
			for _, n := range r.Nodes {
				total += n
			}
			b.ReportMetric(float64(total)/float64(len(r.Nodes)), "ranges/node")
			b.ReportMetric(float64(r.Shared), "ranges-shared")
		})
	}
}
