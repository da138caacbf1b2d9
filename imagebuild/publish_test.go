package imagebuild

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/piimg/piimg/imagebuild/bmap"
	"github.com/piimg/piimg/imagebuild/manifest"
	"github.com/piimg/piimg/imagebuild/sink"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// bmaptool takes every image with its block map, packed or not, and what it leaves
// out is free by the tools of both file systems.
func TestBuildBlockMaps(t *testing.T) {
	tooltest.Need(t, "bmaptool", "e2fsck", "fsck.fat")
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

// The manifest of a build is as it was read and found right, holds nothing secret, and
// keeps the nodes that were built before from the same inputs.
func TestBuildManifest(t *testing.T) {
	tooltest.Need(t, "jq", "sha256sum")
	o := project(t, "trixie")
	o.Only = []string{"isabelle"}
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(o.Out, "manifest.json")
	got := read(t, path)
	golden := filepath.Join(shared, "plans", "manifest.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, golden); !bytes.Equal(got, want) {
		t.Errorf("the manifest changed; if it should have, run go test ./imagebuild -run Manifest -update and read the difference\n%s",
			firstDifference(string(got), string(want)))
	}
	for _, secret := range []string{"turnips-are-due", "raspberry-island", "AAECAwQFBgcICQoL", filepath.Dir(o.NodesFile)} {
		if bytes.Contains(got, []byte(secret)) {
			t.Errorf("the manifest holds %q", secret)
		}
	}
	if out := run(t, "jq", "-r", `[.edits, .nodes[].edits] | flatten | map(select(.secret and (.size or .sha256))) | length`, path); out != "0\n" {
		t.Errorf("%s edits are secret and have a hash", out)
	}

	o.Only = []string{"rover", "tom-nook"}
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	hostnames := func() string { return run(t, "jq", "-c", "[.nodes[].hostname]", path) }
	if got, want := hostnames(), "[\"isabelle\",\"rover\",\"tom-nook\"]\n"; got != want {
		t.Errorf("the nodes are %s, want %s", got, want)
	}
	run(t, "sh", "-c", "cd "+o.Out+" && sha256sum --quiet --strict -c SHA256SUMS")
	if sums := string(read(t, filepath.Join(o.Out, "SHA256SUMS"))); strings.Count(sums, "\n") != 3*2+4+1 {
		t.Errorf("SHA256SUMS does not have all files:\n%s", sums)
	}

	// Of another nodes.yaml, only what it made is in it.
	nodes := read(t, o.NodesFile)
	write(t, o.NodesFile, append(nodes, "# changed\n"...))
	o.Only = []string{"rover"}
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got, want := hostnames(), "[\"rover\"]\n"; got != want {
		t.Errorf("the nodes are %s, want %s", got, want)
	}
}

// The same build in all formats has one block map, with which bmaptool takes each of
// them, one manifest with all files, and is verified.
func TestBuildAllFormats(t *testing.T) {
	tooltest.Need(t, "bmaptool", "cmp")
	o := project(t, "stretch")
	o.Only = []string{"blathers"}
	for _, o.Format = range Formats() {
		if _, err := Build(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if p := problems(t, o); p != "" {
		t.Errorf("of a folder as it was built:\n%s", p)
	}
	m, err := manifest.Decode(read(t, filepath.Join(o.Out, "manifest.json")))
	if err != nil || len(m.Nodes) != 1 || len(m.Nodes[0].Images) != 3 {
		t.Fatalf("the manifest has not all files of one node: %v, %+v", err, m)
	}
	card := filepath.Join(t.TempDir(), "card")
	for _, f := range Formats() {
		image := filepath.Join(o.Out, "blathers."+f)
		run(t, "bmaptool", "copy", image, card)
		run(t, "cmp", filepath.Join(o.Out, "blathers.img"), card)
	}
	flip(t, filepath.Join(o.Out, "blathers.img.xz"), 60_000, 1)
	flip(t, filepath.Join(o.Out, "blathers.img.zst"), 60_000, 1)
	if p := problems(t, o); !strings.Contains(p, "blathers.img.xz: ") || !strings.Contains(p, "blathers.img.zst: ") || strings.Contains(p, "blathers.img: ") {
		t.Errorf("of two damaged files:\n%s", p)
	}
}

// Whoever interrupts a build need not wait for another one that publishes, nor is what
// was built thrown away because that takes long.
func TestBuildInterruptedAtLock(t *testing.T) {
	o := project(t, "stretch")
	o.Only = []string{"tom-nook"}
	if err := os.Mkdir(o.Out, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := sink.Lock(t.Context(), o.Out, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := ""
	o.Notice = func(text string) {
		if strings.Contains(text, "another build") {
			told = text
			cancel()
		}
	}
	if _, err := Build(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if want := "another build is publishing into " + o.Out + "; waiting for it"; told != want {
		t.Errorf("told %q, want %q", told, want)
	}
	if visible, err := filepath.Glob(filepath.Join(o.Out, "[^.]*")); err != nil || len(visible) > 0 {
		t.Errorf("published all the same: %q, %v", visible, err)
	}
}

// While another build reads and replaces what is in the folder, nothing in it gets a
// final name: of two builds at once, one is there, and not some files of each.
func TestBuildPublishesAlone(t *testing.T) {
	o := project(t, "stretch")
	o.Only = []string{"tom-nook"}
	if err := os.Mkdir(o.Out, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := sink.Lock(t.Context(), o.Out, func() {})
	if err != nil {
		t.Fatal(err)
	}
	unlock = sync.OnceFunc(unlock)
	defer unlock()
	waits := make(chan struct{})
	o.Notice = func(text string) {
		if strings.Contains(text, "another build is publishing into") {
			close(waits)
		}
	}
	built := make(chan error, 1)
	go func() {
		_, err := Build(t.Context(), o)
		built <- err
	}()
	select {
	case err := <-built:
		t.Fatalf("it did not wait: %v", err)
	case <-waits:
	}
	if visible, err := filepath.Glob(filepath.Join(o.Out, "[^.]*")); err != nil || len(visible) > 0 {
		t.Errorf("published all the same: %q, %v", visible, err)
	}
	unlock()
	if err := <-built; err != nil {
		t.Fatal(err)
	}
	if report, err := Verify(t.Context(), o.Out, o); err != nil || !report.Clean() {
		t.Errorf("%v, %v", report, err)
	}
}
