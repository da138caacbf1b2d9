package imagebuild

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// withRootSize sets image.rootSize in a project's nodes.yaml, and builds one node.
func withRootSize(t *testing.T, o Options, size string) Options {
	t.Helper()
	nodes := read(t, o.NodesFile)
	write(t, o.NodesFile, bytes.Replace(nodes, []byte("path: base.img.xz"), []byte("path: base.img.xz\n  rootSize: "+size), 1))
	o.Only = []string{"blathers"}
	return o
}

// The root partition and its file system are enlarged as nodes.yaml wants it, and
// hold what they would without it.
func TestRootSize(t *testing.T) {
	tooltest.Need(t, "e2fsck", "fsck.fat", "debugfs", "sfdisk")
	for _, release := range []string{"stretch", "bookworm", "trixie-2026-04"} {
		t.Run(release, func(t *testing.T) {
			o := withRootSize(t, project(t, release), "1GiB")
			report, err := Build(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			plans, err := Plan(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			image := report.Nodes[0].Image
			checkFileSystems(t, image)
			raw := unpack(t, o)
			base := readTrees(t, raw)
			checkUntouched(t, base, image, plans.Plans[0])
			is := open(t, image)
			if got := is.parts.root; got.Size != 1<<30 || got.Start != base.parts.root.Start || got.PARTUUID != base.parts.root.PARTUUID {
				t.Errorf("the root partition is %+v", got)
			}
			i := is.root.Info()
			if size := int64(i.Blocks) * int64(i.BlockSize); size != 1<<30 {
				t.Errorf("the root file system has %d bytes", size)
			}
			if free := int64(i.FreeBlocks) * int64(i.BlockSize); free < 7<<27 {
				t.Errorf("only %d bytes are free", free)
			}
			info, err := os.Stat(image)
			if err != nil {
				t.Fatal(err)
			}
			if want := is.parts.root.Start + 1<<30; info.Size() < want || info.Size() > want+1<<20 {
				t.Errorf("the image has %d bytes, the partition ends at %d", info.Size(), want)
			}
			if plans.Ranges.Nodes["blathers"] == 0 || plans.Ranges.Shared == 0 {
				t.Errorf("ranges: %+v", plans.Ranges)
			}
			var table struct {
				PartitionTable struct{ Partitions []struct{ Size int64 } }
			}
			if err := json.Unmarshal([]byte(run(t, "sfdisk", "-J", image)), &table); err != nil {
				t.Fatal(err)
			}
			if p := table.PartitionTable.Partitions; len(p) != 2 || p[1].Size != 1<<21 {
				t.Errorf("sfdisk sees %+v", p)
			}
		})
	}
}

// What is no enlargement is refused as a mistake in nodes.yaml, or changes nothing.
func TestRootSizeRefused(t *testing.T) {
	o := withRootSize(t, project(t, "bookworm"), "200MiB")
	_, err := Build(t.Context(), o)
	if KindOf(err) != KindConfig || !strings.Contains(err.Error(), "rootSize") || !strings.Contains(err.Error(), "cannot be made smaller") {
		t.Errorf("a smaller root: %v (%d)", err, KindOf(err))
	}
	if _, err := os.Stat(filepath.Join(o.Out)); err == nil {
		t.Error("the output folder was made")
	}

	// The image's own size changes nothing.
	same := withRootSize(t, project(t, "bookworm"), "300MiB")
	report, err := Build(t.Context(), same)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.Stat(unpack(t, same))
	if err != nil {
		t.Fatal(err)
	}
	if report.Nodes[0].Size != raw.Size() {
		t.Errorf("an image of %d bytes, of a base of %d", report.Nodes[0].Size, raw.Size())
	}
}
