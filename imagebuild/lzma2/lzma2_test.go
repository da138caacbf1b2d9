package lzma2

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"

	"github.com/ulikunitz/xz/lzma"
	"pgregory.net/rapid"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// xz runs xz on p.
func xz(t fataler, p []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(tooltest.Path(t, "xz"), args...)
	cmd.Stdin = bytes.NewReader(p)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("xz %v: %v: %s", args, err, stderr.Bytes())
	}
	return out
}

// mixed returns n bytes of everything that there is in an image: text, zeros, records
// that differ in a few bytes, copies from afar, and noise.
func mixed(rng *rand.Rand, n int) []byte {
	words := make([][]byte, 200)
	for i := range words {
		words[i] = make([]byte, 2+rng.IntN(9))
		for j := range words[i] {
			words[i][j] = 'a' + byte(rng.IntN(26))
		}
	}
	out := make([]byte, 0, n+1<<17)
	for len(out) < n {
		k := rng.IntN(1 + rng.IntN(1<<17))
		switch rng.IntN(5) {
		case 0:
			out = append(out, make([]byte, k)...)
		case 1:
			for ; k > 0; k-- {
				out = append(out, byte(rng.Uint32()))
			}
		case 2:
			if len(out) > 0 {
				from := rng.IntN(len(out))
				out = append(out, out[from:min(from+k, len(out))]...)
			}
		case 3:
			record := make([]byte, 8+rng.IntN(40))
			for ; k > 0; k -= len(record) {
				record[rng.IntN(len(record))]++
				out = append(out, record...)
			}
		case 4:
			for end := len(out) + k; len(out) < end; {
				out = append(append(out, words[rng.IntN(1+rng.IntN(len(words)))]...), ' ')
			}
		}
	}
	return out[:n]
}

// rawArgs make xz read and write LZMA2 data without a container.
func rawArgs(preset string) []string { return []string{"-c", "--format=raw", "--lzma2=" + preset} }

// unpack decodes with the package's decoder.
func unpack(packed []byte, n int) ([]byte, error) {
	dst := make([]byte, n)
	var d Decoder
	var in Chunks
	in.Reset(bytes.NewReader(packed))
	pos := 0
	for {
		c, _, data, err := in.Next()
		if err != nil {
			return nil, err
		}
		if c == nil {
			break
		}
		if err := d.Decode(dst, pos, *c, data); err != nil {
			return nil, err
		}
		pos += c.Unpacked
	}
	if pos != n {
		return nil, fmt.Errorf("%d bytes of %d", pos, n)
	}
	return dst, nil
}

// judge has the package, xz and another library unpack, and compares with want.
func judge(t fataler, packed, want []byte) {
	t.Helper()
	got, err := unpack(packed, len(want))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("the package's own decoder gives something else")
	}
	if got := xz(t, packed, append([]string{"-d"}, rawArgs("dict=32MiB")...)...); !bytes.Equal(got, want) {
		t.Fatal("xz gives something else")
	}
	r, err := lzma.Reader2Config{DictCap: 32 << 20}.NewReader2(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("ulikunitz/xz gives something else (%v)", err)
	}
}

var presets = []string{"preset=0", "preset=6", "preset=9e", "preset=6,lc=0,lp=2,pb=0", "preset=1,lc=4,lp=0,pb=4", "preset=6,dict=64KiB"}

// What xz packs is unpacked to what it was.
func TestDecode(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for i, n := range []int{1, 2, 300, 70_000, 1 << 20, 3<<20 + 5} {
		data := mixed(rng, n)
		for _, preset := range presets {
			got, err := unpack(xz(t, data, rawArgs(preset)...), n)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("data %d, %s: %v", i, preset, err)
			}
		}
	}
}

// What the package packs is what xz and others take it for.
func TestPack(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	var p Packer
	for _, n := range []int{1, 2, 5, 300, 70_000, 1 << 20, 5<<20 + 5} {
		for range 3 {
			data := mixed(rng, n)
			judge(t, append(p.Pack(data, 0, true), 0), data)
		}
	}
	zeros := make([]byte, 24<<20)
	packed := append(p.Pack(zeros, 0, true), 0)
	judge(t, packed, zeros)
	if len(packed) > 8000 {
		t.Errorf("24 MiB of zeros take %d bytes", len(packed))
	}
}

// drawSpans draws sorted, disjoint spans of n bytes.
func drawSpans(t *rapid.T, n int, what string) []Span {
	at := rapid.SliceOfN(rapid.IntRange(0, n), 0, 10).Draw(t, what)
	slices.Sort(at)
	at = slices.Compact(at)
	var out []Span
	for i := 0; i+1 < len(at); i += 2 {
		out = append(out, Span{at[i], at[i+1]})
	}
	return out
}

// Whatever changes in a block, and whatever its users put into the holes, the parts
// together are the block.
func TestReplay(t *testing.T) {
	var p, fill Packer
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		n := rapid.OneOf(rapid.IntRange(1, 3000), rapid.IntRange(1, 400_000)).Draw(t, "size")
		old := mixed(rng, n)
		var packed []byte
		switch k := rapid.IntRange(0, len(presets)+1).Draw(t, "packer"); {
		case k < len(presets):
			packed = xz(t, old, rawArgs(presets[k])...)
		case k == len(presets):
			packed = append(p.Pack(old, 0, true), 0)
		default: // several dictionaries in one block
			half := n / 2
			packed = append(p.Pack(old[:half], 0, true), p.Pack(old[half:], 0, true)...)
			packed = append(packed, 0)
		}
		e := Edit{Old: slices.Clone(old), New: slices.Clone(old)}
		e.Changed, e.Holes = drawSpans(t, n, "changed"), drawSpans(t, n, "holes")
		for _, s := range e.Changed {
			copy(e.New[s.From:s.To], mixed(rng, s.To-s.From))
		}
		parts, err := p.Replay(bytes.NewReader(packed), e)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e.Old, old) {
			t.Fatal("the old data is not what it was")
		}
		for range 2 {
			data := slices.Clone(e.New)
			for _, s := range e.Holes {
				copy(data[s.From:s.To], mixed(rng, s.To-s.From))
			}
			var out []byte
			done := 0
			for _, part := range parts {
				if part.From != done || part.To <= part.From || part.Hole != (part.Chunks == nil) {
					t.Fatalf("part %v behind %d", part.Span, done)
				}
				done = part.To
				if !part.Hole {
					out = append(out, part.Chunks...)
					continue
				}
				base := max(part.From-1, 0) &^ 15
				out = append(out, fill.Pack(data[base:part.To], part.From-base, part.From == 0)...)
			}
			if done != n {
				t.Fatalf("the parts cover %d of %d bytes", done, n)
			}
			judge(t, append(out, 0), data)
		}
	})
}

// fataler is what *testing.T and *rapid.T have in common.
type fataler interface {
	tooltest.T
	Fatalf(string, ...any)
}
