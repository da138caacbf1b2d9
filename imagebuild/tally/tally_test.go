package tally

import (
	"crypto/sha256"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/piimg/piimg/imagebuild/bmap"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/sink"
)

// fill puts stretches of noise and zeros over p.
func fill(p []byte, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	for at := 0; at < len(p); {
		n := min(len(p)-at, r.IntN(500_000))
		b := byte(r.IntN(2) * r.IntN(256))
		for i := range n {
			p[at+i] = b
		}
		at += n
	}
}

// plain makes the map of an image without anything that is shared.
func plain(image []byte, free *bmap.Free) *bmap.Map {
	m := &bmap.Map{Size: int64(len(image)), BlockSize: bmap.BlockSize}
	var c bmap.Cutter
	for i := range bmap.Cells(m.Size) {
		c.Reset(i, m.Size, free.Cell(i))
		from := int64(i) * bmap.CellSize
		c.Write(image[from:min(from+bmap.CellSize, m.Size)])
		ranges, _ := c.Ranges()
		m.Ranges = append(m.Ranges, ranges...)
	}
	return m
}

func drawFree(t *rapid.T, size int64) *bmap.Free {
	free := bmap.NewFree(size)
	for range rapid.IntRange(0, 4).Draw(t, "free") {
		free.Add(rapid.Int64Range(0, size).Draw(t, "off"), rapid.Int64Range(0, size/2).Draw(t, "n"))
	}
	return free
}

// However an image is cut into regions, and wherever a node differs from the others,
// its tally is that of the whole image by itself.
func TestTally(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 5<<20).Draw(t, "size")
		common := make([]byte, size)
		fill(common, rapid.Uint64().Draw(t, "seed"))
		image := slices.Clone(common)
		var own []layer.Extent
		for at := int64(0); at < size; {
			at += rapid.Int64Range(0, 2<<20).Draw(t, "gap")
			if n := min(rapid.Int64Range(1, 100_000).Draw(t, "own"), size-at); n > 0 {
				fill(image[at:at+n], uint64(at))
				own = append(own, layer.Extent{Off: at, Len: n})
				at += n
			}
		}
		shared := NewShared(size, drawFree(t, size))
		free := drawFree(t, size)
		if rapid.Bool().Draw(t, "same free") {
			free = shared.free.Clone()
		}
		node := shared.Node(free)
		step := rapid.Int64Range(1<<19, 6<<20).Draw(t, "step")
		if rapid.Bool().Draw(t, "aligned") {
			step = (step + bmap.CellSize - 1) / bmap.CellSize * bmap.CellSize
		}
		var regions []sink.Region
		for off := int64(0); off < size; off += step {
			r := sink.Region{Off: off, Len: min(step, size-off), Patch: func(off int64, p []byte) error {
				copy(p, image[off:off+int64(len(p))])
				return nil
			}}
			r.Data = common[off : off+r.Len]
			if !slices.ContainsFunc(r.Data, func(b byte) bool { return b != 0 }) {
				r.Data = nil
			}
			for _, e := range own {
				from, to := max(e.Off, off), min(e.Off+e.Len, off+r.Len)
				if from < to {
					r.Own = append(r.Own, layer.Extent{Off: from, Len: to - from})
				}
			}
			regions = append(regions, r)
		}
		var wg sync.WaitGroup
		for _, r := range regions {
			wg.Go(func() { shared.Take(r.Off, r.Len, r.Data) })
		}
		wg.Wait()
		for _, r := range regions {
			if err := node.Take(&r); err != nil {
				t.Fatal(err)
			}
		}
		if got, ok := node.SHA256(); !ok || got != sha256.Sum256(image) {
			t.Fatal("the checksum is not that of the image")
		}
		if got, want := node.Map(), plain(image, free); !reflect.DeepEqual(got, want) {
			t.Fatalf("the map has %d ranges, want %d", len(got.Ranges), len(want.Ranges))
		}
	})
}

// A node costs what differs: no cell that it shares is hashed for it again.
func TestTallySharesCells(t *testing.T) {
	const size = 8 << 20
	common := make([]byte, size)
	fill(common, 1)
	shared := NewShared(size, bmap.NewFree(size))
	free := bmap.NewFree(size)
	free.Add(0, 3<<20) // where there is data, free or not is all the same
	common[0] = 1
	for i := range common[:3<<20] {
		common[i] |= 1
	}
	node := shared.Node(free)
	r := sink.Region{Len: size, Data: common, Own: []layer.Extent{{Off: 5<<20 + 4096, Len: 4096}},
		Patch: func(off int64, p []byte) error { return nil }}
	shared.Take(0, size, common)
	if err := node.Take(&r); err != nil {
		t.Fatal(err)
	}
	if _, ok := node.own[5]; len(node.own) != 1 || !ok {
		t.Errorf("the node has %d cells of its own, want that of its one change", len(node.own))
	}
}
