package bmap

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// bmaptool runs the program that the files are for.
func bmaptool(t testing.TB, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(tooltest.Path(t, "bmaptool"), args...).CombinedOutput()
	return string(out), err
}

// picture is an image: blocks of noise, of zeros that are free, and of zeros that
// are not.
func picture(seed uint64, size int64) (image []byte, free *Free) {
	image, free = make([]byte, size), NewFree(size)
	r := rand.New(rand.NewPCG(seed, 1))
	for off := int64(0); off < size; {
		n := min(size-off, int64(r.IntN(600))*BlockSize)
		switch r.IntN(3) {
		case 0:
			for i := range n {
				image[off+i] = byte(r.Uint32())
			}
		case 1:
			free.Add(off, n)
		}
		off += n
	}
	return image, free
}

// mapOf makes the map of an image with a Cutter, fed with pieces of up to most bytes.
func mapOf(image []byte, free *Free, most int) *Map {
	m := &Map{Size: int64(len(image)), BlockSize: BlockSize}
	r := rand.New(rand.NewPCG(uint64(most), 2))
	var c Cutter
	for i := range Cells(m.Size) {
		c.Reset(i, m.Size, free.Cell(i))
		for c.Left() > 0 {
			at := min(int64(i+1)*CellSize, m.Size) - c.Left()
			n := min(int64(1+r.IntN(most)), c.Left())
			c.Write(image[at : at+n])
		}
		ranges, _ := c.Ranges()
		m.Ranges = append(m.Ranges, ranges...)
	}
	return m
}

// naive makes the map without any of this package's ways.
func naive(image []byte, free *Free) *Map {
	m := &Map{Size: int64(len(image)), BlockSize: BlockSize}
	first := int64(-1)
	end := func(block int64) {
		if first >= 0 {
			m.Ranges = append(m.Ranges, Range{first, block - 1, sha256.Sum256(image[first*BlockSize : min(block*BlockSize, m.Size)])})
		}
		first = -1
	}
	blocks := Blocks(m.Size, BlockSize)
	for b := range blocks {
		content := image[b*BlockSize : min((b+1)*BlockSize, m.Size)]
		if b%256 == 0 {
			end(b)
		}
		if free.Has(b) && len(bytes.Trim(content, "\x00")) == 0 {
			end(b)
		} else if first < 0 {
			first = b
		}
	}
	end(blocks)
	return m
}

// Whatever the pieces are in which an image comes, its map is the same, and the one
// that is plainly right; written and read again it is still the same.
func TestMap(t *testing.T) {
	for seed, size := range []int64{1, 4095, 4096, 4097, CellSize, CellSize + 1, 4*CellSize - 4096, 3*CellSize + 12345, 6 << 20} {
		image, free := picture(uint64(seed), size)
		want := naive(image, free)
		for _, most := range []int{100, 4096, 5000, 3 << 20} {
			if got := mapOf(image, free, most); !reflect.DeepEqual(got, want) {
				t.Fatalf("%d bytes in pieces of up to %d: got %d ranges, want %d", size, most, len(got.Ranges), len(want.Ranges))
			}
		}
		content, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(content)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%d bytes: reads back differently: %v", size, err)
		}
	}
}

// bmaptool takes the files, checks every range, and writes just the mapped blocks.
func TestBmaptoolCopies(t *testing.T) {
	for _, size := range []int64{1000, 5*CellSize + 777} {
		dir := t.TempDir()
		path, target := filepath.Join(dir, "node.img"), filepath.Join(dir, "card")
		image, free := picture(3, size)
		m := mapOf(image, free, 1<<20)
		content, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, image)
		write(t, path+".bmap", content)
		out, err := bmaptool(t, "copy", path, target) // which finds the map by its name
		if err != nil {
			t.Fatalf("bmaptool: %v\n%s\n%s", err, out, content)
		}
		got, err := os.ReadFile(target)
		if err != nil || !bytes.Equal(got, image) {
			t.Fatalf("bmaptool wrote something else (%d bytes, %v)", len(got), err)
		}
		// One bit of a mapped block, and bmaptool refuses.
		at := m.Ranges[len(m.Ranges)/2].First * BlockSize
		image[at] ^= 4
		write(t, path, image)
		if out, err := bmaptool(t, "copy", path, target); err == nil || !strings.Contains(out, "checksum mismatch") {
			t.Errorf("bmaptool took a damaged image: %v\n%s", err, out)
		}
	}
}

// What bmaptool writes is read.
func TestDecodeOther(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	image := make([]byte, 3<<20+5)
	copy(image[1<<20:], bytes.Repeat([]byte("noise"), 5000))
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(image[1<<20:1<<20+25000], 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(len(image))); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := bmaptool(t, "create", path, "-o", path+".bmap"); err != nil {
		t.Fatalf("bmaptool: %v\n%s", err, out)
	}
	content, err := os.ReadFile(path + ".bmap")
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(content)
	if err != nil {
		t.Fatalf("%v\n%s", err, content)
	}
	if m.Size != int64(len(image)) || len(m.Ranges) == 0 {
		t.Fatalf("got %+v", m)
	}
	for _, r := range m.Ranges {
		if sha256.Sum256(image[r.First*m.BlockSize:min((r.Last+1)*m.BlockSize, m.Size)]) != r.SHA256 {
			t.Errorf("the digest of %d-%d was read wrongly", r.First, r.Last)
		}
	}
}

// Every bit of a file counts.
func TestDecodeFlippedBits(t *testing.T) {
	image, free := picture(5, 3*CellSize)
	content, err := mapOf(image, free, 1<<20).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range content {
		for bit := range 8 {
			bad := slices.Clone(content)
			bad[i] ^= 1 << bit
			m, err := Decode(bad)
			if err == nil {
				t.Fatalf("bit %d of byte %d may be flipped (%q for %q): %v", bit, i, bad[i], content[i], m)
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	image, free := picture(6, CellSize)
	content, err := mapOf(image, free, 1<<20).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`version="2.0"`, `version="1.3"`, "2.0 is what can be read"},
		{"sha256", "sha1", "sha256 is what can be read"},
		{"<BlockMap>", "<Blockmap>", "Blockmap"},
		{"</bmap>\n", "", "unexpected EOF"},
		{"</bmap>\n", "</bmap>x", "behind its end"},
		{"<BlockSize> 4096 </BlockSize>", "", "has no BlockSize"},
		{"<ImageSize>", "<ImageSize> <b/>", "more than text"},
	} {
		bad := strings.Replace(string(content), c.old, c.new, 1)
		// As if whoever changed it had made the checksum right.
		if _, err := Decode([]byte(bad)); err == nil || !strings.Contains(resealed(bad), c.want) {
			t.Errorf("%s: got %q, want %q", c.new, resealed(bad), c.want)
		}
	}
}

// resealed returns the error of reading a file whose checksum was made anew.
func resealed(s string) string {
	at := strings.Index(s, "<BmapFileChecksum> ") + len("<BmapFileChecksum> ")
	zeroed := s[:at] + noChecksum + s[at+len(noChecksum):]
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(zeroed)))
	if _, err := Decode([]byte(s[:at] + sum + s[at+len(sum):])); err != nil {
		return err.Error()
	}
	return ""
}

// Free has a block if all of it was added at once, and no other.
func TestFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 3<<20).Draw(t, "size")
		free := NewFree(size)
		want := map[int64]bool{}
		for range rapid.IntRange(0, 5).Draw(t, "extents") {
			off, n := rapid.Int64Range(0, size).Draw(t, "off"), rapid.Int64Range(0, size).Draw(t, "n")
			free.Add(off, n)
			for b := range Blocks(size, BlockSize) {
				want[b] = want[b] || off <= b*BlockSize && off+n >= (b+1)*BlockSize
			}
		}
		for b := range Blocks(size, BlockSize) {
			if free.Has(b) != want[b] {
				t.Fatalf("block %d: %v, want %v", b, free.Has(b), want[b])
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	for seed := range uint64(3) {
		image, free := picture(seed, 2*CellSize)
		content, err := mapOf(image, free, 1<<20).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, seed == 0)
	}
	f.Add([]byte(`<bmap version="2.0"><BmapFileChecksum>`+noChecksum+`</BmapFileChecksum></bmap>`), true)
	f.Fuzz(func(t *testing.T, content []byte, reseal bool) {
		if at := bytes.Index(content, []byte("<BmapFileChecksum> ")); reseal && at >= 0 && len(content) > at+200 {
			content = slices.Clone(content)
			copy(content[at+19:], noChecksum)
			copy(content[at+19:], fmt.Sprintf("%x", sha256.Sum256(content)))
		}
		m, err := Decode(content)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if n, err := Decode(again); err != nil || !reflect.DeepEqual(m, n) {
			t.Fatalf("what was written reads back differently: %v", err)
		}
	})
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A checker finds every byte that is wrong, in a range or between them.
func TestChecker(t *testing.T) {
	const size = 4*CellSize + 99
	image, free := picture(9, size)
	m := mapOf(image, free, 1<<20)
	check := func(image []byte, zeros bool) (bad, stray int) {
		c := NewChecker(m, func(Range) { bad++ }, func(int64) { stray++ })
		for off := 0; off < len(image); {
			p := image[off:min(off+70_001, len(image))]
			if zeros && zero(p) {
				c.Zeros(int64(len(p)))
			} else {
				_, _ = c.Write(p)
			}
			off += len(p)
		}
		c.End()
		return bad, stray
	}
	for _, zeros := range []bool{false, true} {
		if bad, stray := check(image, zeros); bad+stray != 0 {
			t.Fatalf("a sound image has %d bad ranges and %d stray gaps", bad, stray)
		}
		for off := 0; off < size; off += 40_009 {
			image[off] ^= 16
			if bad, stray := check(image, zeros); bad+stray != 1 {
				t.Fatalf("a wrong byte at %d makes %d bad ranges and %d stray gaps", off, bad, stray)
			}
			image[off] ^= 16
		}
	}
	if bad, _ := check(image[:2*CellSize], false); bad == 0 {
		t.Error("the missing half of an image is not noticed")
	}
}
