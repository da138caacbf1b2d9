package imagebuild

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/piimg/piimg/imagebuild/bmap"
)

// bmaptool takes every image with its block map, packed or not, and what it leaves
// out is free by the tools of both file systems.
func TestBuildBlockMaps(t *testing.T) {
	need(t, "bmaptool", "e2fsck", "fsck.fat")
	for _, release := range []string{"stretch", "trixie"} {
		t.Run(release, func(t *testing.T) {
			o := project(t, release)
			o.Only = []string{"isabelle"}
			report, err := Build(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range report.Nodes {
				m, err := bmap.Decode(read(t, n.Map))
				if err != nil {
					t.Fatal(err)
				}
				if blocks := bmap.Blocks(m.Size, m.BlockSize); m.Mapped() > blocks*3/4 {
					t.Errorf("%s: %d of %d blocks are mapped: nothing is free?", n.Hostname, m.Mapped(), blocks)
				}
				checkOnDirtyCard(t, n.Image, m)
			}
			first := report.Nodes[0]
			card := filepath.Join(t.TempDir(), "card")
			run(t, "bmaptool", "copy", first.Image, card)
			run(t, "cmp", first.Image, card)
		})
	}
}

// checkOnDirtyCard writes the mapped blocks alone to a card that is full of rubbish,
// and has the file systems judged.
func checkOnDirtyCard(t *testing.T, image string, m *bmap.Map) {
	t.Helper()
	content := read(t, image)
	card := make([]byte, len(content))
	for i := range card {
		card[i] = 0xA5
	}
	for _, r := range m.Ranges {
		from, to := r.First*m.BlockSize, min((r.Last+1)*m.BlockSize, m.Size)
		copy(card[from:to], content[from:to])
	}
	path := filepath.Join(t.TempDir(), "card.img")
	write(t, path, card)
	defer os.Remove(path)
	checkFileSystems(t, path)
	want, is := readTrees(t, image), readTrees(t, path)
	none := func(string) bool { return false }
	compareTrees(t, "boot on the card", want.bootTree, is.bootTree, none)
	compareTrees(t, "root on the card", want.rootTree, is.rootTree, none)
	compareTrees(t, "root on the card, by debugfs", want.dumped, is.dumped, none)
}
