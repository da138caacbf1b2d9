package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// output runs a program and returns what it writes to stdout.
func output(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	tooltest.Need(t, name)
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, &stderr)
	}
	return out
}

// sample returns bytes of an image: stretches of noise, of words and of zeros, the
// same for the same arguments.
func sample(size int, seed uint64) []byte {
	img := make([]byte, size)
	rng := rand.New(rand.NewPCG(seed, 2))
	for off := 0; off < size; {
		n := min(size-off, 1+rng.IntN(3<<19))
		for i, kind := 0, rng.IntN(3); i < n && kind < 2; i++ {
			img[off+i] = byte(rng.Uint32())
			if kind == 1 {
				img[off+i] = "a node of a cluster "[img[off+i]%20]
			}
		}
		off += n
	}
	return img
}

// change returns a copy of shared in which some pages differ, and which those are.
func change(shared []byte, pages ...int64) ([]byte, []layer.Extent) {
	own := bytes.Clone(shared)
	var extents []layer.Extent
	for _, k := range pages {
		e := layer.Extent{Off: k * layer.PageSize, Len: min(layer.PageSize, int64(len(shared))-k*layer.PageSize)}
		for i := range e.Len {
			own[e.Off+i] ^= byte(k + i)
		}
		extents = append(extents, e)
	}
	return own, extents
}

// feed packs shared in regions of regionSize bytes, jobs at once, and writes the
// image own with it, which differs in extents.
func feed(f Format, path string, shared, own []byte, extents []layer.Extent, regionSize int64, jobs int) (Result, error) {
	size := int64(len(shared))
	regions := make([]Region, (size+regionSize-1)/regionSize)
	errs := make([]error, len(regions))
	var wg sync.WaitGroup
	slots := make(chan struct{}, jobs)
	for i := range regions {
		r := &regions[i]
		r.Off = int64(i) * regionSize
		r.Len = min(regionSize, size-r.Off)
		if data := shared[r.Off:][:r.Len]; !bytes.Equal(data, make([]byte, r.Len)) {
			r.Data = data
		}
		for _, e := range extents {
			from, to := max(e.Off, r.Off), min(e.Off+e.Len, r.Off+r.Len)
			if from < to {
				r.Own = append(r.Own, layer.Extent{Off: from, Len: to - from})
			}
		}
		r.Patch = func(off int64, p []byte) error {
			copy(p, own[off:])
			return nil
		}
		slots <- struct{}{}
		wg.Go(func() {
			r.Packed, errs[i] = f.Pack(context.Background(), Stretch{Off: r.Off, Len: r.Len, Data: r.Data})
			<-slots
		})
	}
	wg.Wait()
	s, err := f.Create(path, size)
	if err != nil {
		return Result{}, err
	}
	defer s.Abort()
	for i := range regions {
		if errs[i] != nil {
			return Result{}, errs[i]
		}
		if err := s.Take(&regions[i]); err != nil {
			return Result{}, err
		}
	}
	res, err := s.Finish()
	if err != nil {
		return Result{}, err
	}
	return res, s.Publish()
}

func newZst(t interface{ Fatal(...any) }, jobs int) *Zst {
	z, err := NewZst(jobs)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// Whatever differs, the file unpacks to the node's image, and its bytes depend on
// that alone: not on the regions, on what was packed before, nor on how many at once.
func TestZstAnyImage(t *testing.T) {
	dir := t.TempDir()
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	one, many := newZst(t, 1), newZst(t, 4)
	rapid.Check(t, func(t *rapid.T) {
		shared := sample(rapid.IntRange(1, 4<<20).Draw(t, "size"), rapid.Uint64().Draw(t, "seed"))
		last := int64(len(shared)-1) / layer.PageSize
		pages := rapid.SliceOfNDistinct(rapid.Int64Range(0, last), 0, 5, rapid.ID).Draw(t, "pages")
		slices.Sort(pages)
		own, extents := change(shared, pages...)
		path := filepath.Join(dir, "node.img.zst")
		res, err := feed(one, path, shared, own, extents, 1<<20, 1)
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if res.Path != path || res.Size != int64(len(file)) || res.SHA256 != sha256.Sum256(file) {
			t.Fatalf("the result does not describe the file of %d bytes: %+v", len(file), res)
		}
		if got, err := dec.DecodeAll(file, nil); err != nil || !bytes.Equal(got, own) {
			t.Fatalf("it unpacks to %d bytes instead of %d, or other ones; error %v", len(got), len(own), err)
		}
		// A node that shares nothing gets the same bytes as one that shares all.
		all := []layer.Extent{{Len: int64(len(own))}}
		for _, again := range []func() (Result, error){
			func() (Result, error) { return feed(many, path, shared, own, extents, 4<<20, 4) },
			func() (Result, error) { return feed(many, path, make([]byte, len(own)), own, all, 3<<20, 2) },
		} {
			if r, err := again(); err != nil || r != res {
				t.Fatalf("another build of the same image: %+v instead of %+v, error %v", r, res, err)
			}
		}
	})
}

// The bytes are the same with every release of piimg that packs zstd in the same
// way, on every architecture: whoever updates the encoder and finds this test
// failing changes the images of all users, who should read of it.
func TestZstGolden(t *testing.T) {
	shared := sample(9<<20+12345, 7)
	own, extents := change(shared, 3, 700, 701, 2304)
	res, err := feed(newZst(t, 2), filepath.Join(t.TempDir(), "node.img.zst"), shared, own, extents, 4<<20, 2)
	if err != nil {
		t.Fatal(err)
	}
	const want = "f9521ba9815b24061dcb3bdc35ba37b648235a52dee7748f1cabf5588b16cbdb"
	if got := hex.EncodeToString(res.SHA256[:]); got != want {
		t.Errorf("sha256 %s of %d bytes, want %s", got, res.Size, want)
	}
}

// The reference program unpacks the file, and each of its frames by the seek table.
func TestZstReference(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.img.zst")
	shared := sample(5<<20+100, 3)
	own, extents := change(shared, 1, 600, 1280)
	if _, err := feed(newZst(t, 2), path, shared, own, extents, 2<<20, 2); err != nil {
		t.Fatal(err)
	}
	output(t, "zstd", "-t", "-q", path)
	if got := output(t, "zstd", "-dc", path); !bytes.Equal(got, own) {
		t.Error("zstd unpacks it to other bytes")
	}
	list := string(output(t, "zstd", "-lv", path))
	for _, want := range []string{"# Zstandard Frames: 6\n", "# Skippable Frames: 1\n", "(5242980 B)", "Check: XXH64"} {
		if !strings.Contains(list, want) {
			t.Errorf("zstd -lv does not say %q:\n%s", want, list)
		}
	}

	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	footer := file[len(file)-9:]
	n := int(le.Uint32(footer))
	if n != 6 || footer[4] != 0 || le.Uint32(footer[5:]) != 0x8F92EAB1 {
		t.Fatalf("seek table: %d frames, footer % x", n, footer)
	}
	table := file[len(file)-9-8*n : len(file)-9]
	head := file[len(file)-9-8*n-8:]
	if le.Uint32(head) != 0x184D2A5E || int(le.Uint32(head[4:])) != 8*n+9 {
		t.Fatalf("seek table begins with % x", head[:8])
	}
	at, off := 0, 0
	for i := range n {
		packed, size := int(le.Uint32(table[8*i:])), int(le.Uint32(table[8*i+4:]))
		one := filepath.Join(t.TempDir(), "frame.zst")
		if err := os.WriteFile(one, file[at:at+packed], 0o600); err != nil {
			t.Fatal(err)
		}
		if got := output(t, "zstd", "-dc", one); !bytes.Equal(got, own[off:off+size]) {
			t.Errorf("frame %d unpacks to other bytes than the seek table says", i)
		}
		at, off = at+packed, off+size
	}
	if at != len(file)-9-8*n-8 || off != len(own) {
		t.Errorf("the seek table ends at byte %d, of the image at %d", at, off)
	}
}

// Zeros take next to no room, and what nodes share is not packed again.
func TestZstSmall(t *testing.T) {
	const size = 256 << 20
	z := newZst(t, 1)
	s, err := z.Create(filepath.Join(t.TempDir(), "node.img.zst"), size)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	packed, err := z.Pack(context.Background(), Stretch{Len: size})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Take(&Region{Len: size, Packed: packed}); err != nil {
		t.Fatal(err)
	}
	if res, err := s.Finish(); err != nil || res.Size > 32<<10 {
		t.Errorf("%d bytes of zeros take %d, error %v", size, res.Size, err)
	}
}

func TestZstRefuses(t *testing.T) {
	dir := t.TempDir()
	z := newZst(t, 1)
	s, err := z.Create(filepath.Join(dir, "node.img.zst"), 10)
	if err != nil {
		t.Fatal(err)
	}
	take := func(off, n int64) error {
		p, err := z.Pack(context.Background(), Stretch{Off: off, Len: n})
		if err != nil {
			t.Fatal(err)
		}
		return s.Take(&Region{Off: off, Len: n, Packed: p})
	}
	if take(1, 2) == nil || take(0, 11) == nil {
		t.Error("regions out of order, or too long, were taken")
	}
	if err := take(0, 9); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Finish(); err == nil {
		t.Error("an incomplete image was finished")
	}
	if err := s.Publish(); err == nil {
		t.Error("an incomplete image was published")
	}
	s.Abort()
	s.Abort()
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	if take(9, 1) == nil {
		t.Error("a region was taken after the end")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := z.Pack(ctx, Stretch{Len: 1}); err != context.Canceled {
		t.Errorf("a canceled Pack returns %v", err)
	}
}

func TestDraftIsPrivateAndHiddenUntilPublished(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.img.zst")
	if err := os.WriteFile(path, []byte("earlier"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := createDraft(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(); err == nil {
		t.Error("published before it was finished")
	}
	if _, err := d.finish(nil); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "earlier" {
		t.Fatalf("before publishing, the final name holds %q", b)
	}
	if _, err := d.Write([]byte("more")); err == nil {
		t.Error("written to after its end")
	}
	if err := d.Publish(); err != nil {
		t.Fatal(err)
	}
	d.Abort() // too late: must not remove anything
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); info.Mode().Perm() != 0o600 || string(b) != "new" {
		t.Errorf("published %q with mode %v", b, info.Mode())
	}
	if left := names(t, dir); !slices.Equal(left, []string{"node.img.zst"}) {
		t.Errorf("the folder holds %q", left)
	}
}
