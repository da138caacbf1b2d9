package imagebuild

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/source"
	"github.com/piimg/piimg/imagebuild/source/xzfile"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// span is a range of bytes of a file.
type span struct{ off, len int64 }

// xzSpans returns where the parts of each kind are in an .xz file.
func xzSpans(t *testing.T, file []byte) map[string][]span {
	t.Helper()
	x, err := xzfile.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]span{}
	var end int64
	add := func(kind string, n int64) {
		if n > 0 {
			all[kind] = append(all[kind], span{end, n})
		}
		end += n
	}
	for _, s := range x.Streams {
		add("stream header", 12)
		for _, b := range x.Blocks[s.FirstBlock:][:s.Blocks] {
			check := int64(b.Check.Size())
			add("block header", int64(b.HeaderSize))
			add("block data", b.UnpaddedSize-int64(b.HeaderSize)-check)
			add("block padding", b.PackedSize()-b.UnpaddedSize)
			add("block check", check)
		}
		add("index", s.IndexSize)
		add("stream footer", 12)
		add("stream padding", s.Padding)
	}
	return all
}

// A bit that flips anywhere in the base image ends the build, and nothing comes of it.
func TestBuildDamaged(t *testing.T) {
	tooltest.Need(t, "xz")
	flips, _ := strconv.Atoi(os.Getenv("PIIMG_FLIPS")) // of each kind
	o := project(t, "stretch")
	base := filepath.Join(filepath.Dir(o.NodesFile), "base.img.xz")
	repack := exec.Command("sh", "-c", `xz -dc "$0" | xz -T2 --block-size=5000000 -0`, base)
	repack.Stderr = os.Stderr
	file, err := repack.Output()
	if err != nil {
		t.Fatal(err)
	}
	file = append(file, 0, 0, 0, 0)
	o.Only = []string{"tom-nook"}
	build := func(where string, change func([]byte)) error {
		bad := bytes.Clone(file)
		change(bad)
		write(t, base, bad)
		_, err := Build(t.Context(), o)
		if err == nil {
			return nil
		}
		if KindOf(err) != KindImage {
			t.Errorf("%s: error of kind %d: %v", where, KindOf(err), err)
		}
		if _, serr := os.Stat(o.Out); serr == nil {
			t.Errorf("%s: the output folder is there", where)
		}
		return err
	}
	rng := rand.New(rand.NewPCG(1, 1))
	builds := 0
	all := xzSpans(t, file)
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		spans := all[kind]
		for range max(flips, 1) {
			o.Format = Formats()[builds%len(Formats())]
			builds++
			s := spans[rng.IntN(len(spans))]
			off, bit := s.off+rng.Int64N(s.len), rng.IntN(8)
			where := fmt.Sprintf("%s, %s, bit %d of byte %d", o.Format, kind, bit, off)
			if err := build(where, func(p []byte) { p[off] ^= 1 << bit }); err == nil {
				t.Fatalf("%s: not noticed", where)
			}
		}
	}

	// With a known digest, that is what the user is told, whatever comes of it.
	write(t, base+".sha256", []byte(strings.Repeat("0", 64)))
	if err := os.Remove(filepath.Join(filepath.Dir(base), "secrets.yaml")); err != nil {
		t.Fatal(err)
	}
	for where, change := range map[string]func([]byte){
		"nothing":        func([]byte) {},
		"no footer":      func(p []byte) { clear(p[len(p)-16:]) },
		"no first block": func(p []byte) { clear(p[100:10000]) },
	} {
		var wrong *source.ChecksumError
		if err := build(where, change); !errors.As(err, &wrong) {
			t.Errorf("%s: error is %v", where, err)
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(base), "secrets.yaml")); err == nil {
		t.Error("secrets were made for a base image of a wrong digest")
	}

	os.Remove(base + ".sha256")
	if err := build("nothing", func([]byte) {}); err != nil {
		t.Fatal(err)
	}
}
