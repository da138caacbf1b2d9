package xzfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/piimg/piimg/imagebuild/source/internal/imgtest"
)

// pack packs data with xz.
func pack(t testing.TB, data []byte, args ...string) []byte {
	t.Helper()
	return imgtest.Pipe(t, data, "xz", append([]string{"-c", "-q"}, args...)...)
}

// unpack decodes all blocks of packed, in both ways.
func unpack(packed []byte) (*File, []byte, error) {
	f, err := Open(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return nil, nil, err
	}
	stream, serr := io.ReadAll(f.NewReader(context.Background()))
	if f.Filtered() != nil { // which is not for a Decoder
		return f, stream, serr
	}
	var out []byte
	var d Decoder
	for i := range f.Blocks {
		dst := make([]byte, f.Blocks[i].Size)
		if err = d.Decode(context.Background(), f, i, dst); err != nil {
			break
		}
		out = append(out, dst...)
	}
	if (err == nil) != (serr == nil) || err == nil && !bytes.Equal(out, stream) {
		return f, out, fmt.Errorf("Decode and NewReader differ: %v, %v", err, serr)
	}
	return f, out, err
}

func mustUnpack(t *testing.T, packed, want []byte) *File {
	t.Helper()
	f, got, err := unpack(packed)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("unpacked bytes differ from what was packed")
	}
	if f.Size != int64(len(want)) {
		t.Fatalf("Size is %d, want %d", f.Size, len(want))
	}
	return f
}

func TestFilesOfXZ(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(3<<20+123, 1)
	for _, args := range []string{
		"-T2 --block-size=300000",
		"-T2 --block-size=1MiB -0",
		"-T1",
		"-T1 --block-size=65536",
		"-T1 --block-list=1000000,5000,700000",
		"-9e --lzma2=preset=9,lc=1,lp=3,pb=0",
		"--lzma2=dict=4KiB",
		"--check=crc32 -T2 --block-size=1MiB",
		"--check=sha256 -T2 --block-size=1MiB",
		"--check=none -T2 --block-size=1MiB",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			packed := pack(t, img, strings.Fields(args)...)
			f := mustUnpack(t, packed, img)
			compareWithList(t, f, packed)
		})
	}
}

// compareWithList compares the index with what xz itself says of it.
func compareWithList(t *testing.T, f *File, packed []byte) {
	t.Helper()
	path := imgtest.Write(t, "list.xz", packed)
	out := imgtest.Pipe(t, nil, "xz", "--robot", "-lvv", path)
	i := 0
	for line := range strings.Lines(string(out)) {
		c := strings.Split(strings.TrimSpace(line), "\t")
		if c[0] != "block" {
			continue
		}
		b := f.Blocks[i]
		check := b.Check.String()
		got := fmt.Sprintln(b.PackedOff, b.Off, b.PackedSize(), b.Size, check, b.HeaderSize)
		want := fmt.Sprintln(c[4], c[5], (atoi(c[6])+3)&^3, c[7], c[9], c[11])
		if got != want {
			t.Errorf("block %d is %s, but xz -l says %s", i, got, want)
		}
		i++
	}
	if i != len(f.Blocks) {
		t.Errorf("%d blocks, but xz -l says %d", len(f.Blocks), i)
	}
}

func atoi(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func TestStreamsAndPadding(t *testing.T) {
	t.Parallel()
	a, b := imgtest.Image(400_000, 2), imgtest.Image(250_000, 3)
	pa := pack(t, a, "-T2", "--block-size=100000")
	pb := pack(t, b, "--check=crc32")
	empty := pack(t, nil)
	zeros := func(n int) []byte { return make([]byte, n) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

	f := mustUnpack(t, join(pa, pb), join(a, b))
	if len(f.Streams) != 2 || f.Streams[1].FirstBlock != 4 || f.Streams[1].Check != CheckCRC32 {
		t.Errorf("streams are %+v", f.Streams)
	}
	compareWithList(t, f, join(pa, pb))
	f = mustUnpack(t, join(empty, pa, zeros(4), empty, pb, zeros(600_000)), join(a, b))
	if len(f.Streams) != 4 || f.Streams[1].Padding != 4 || f.Streams[3].Padding != 600_000 {
		t.Errorf("streams are %+v", f.Streams)
	}
	mustUnpack(t, empty, nil)

	for name, packed := range map[string][]byte{
		"padding not a multiple of four":         join(pa, zeros(3)),
		"padding between, not a multiple":        join(pa, zeros(6), pb),
		"garbage behind":                         join(pa, []byte("garbage!")),
		"garbage between":                        join(pa, []byte("garbage!"), pb),
		"padding before":                         join(zeros(4), pa),
		"the second stream's beginning is there": join(pa, pb[:40]),
	} {
		if _, _, err := unpack(packed); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTruncated) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// What stands behind a whole file is told from a file that is cut off.
func TestAdded(t *testing.T) {
	t.Parallel()
	packed := pack(t, imgtest.Image(3000, 8), "-T2", "--block-size=1000")
	for _, garbage := range []string{"x", "hello\n", "garbage!", strings.Repeat("garbage! ", 50_000)} {
		_, _, err := unpack(append(bytes.Clone(packed), garbage...))
		if want := fmt.Sprintf("at byte %d: %d bytes of something else stand behind the end", len(packed), len(garbage)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10q: error is %v, want %s", garbage, err, want)
		}
	}
	two := append(bytes.Clone(packed), packed...)
	if _, _, err := unpack(append(bytes.Clone(two), "garbage!"...)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), fmt.Sprintf("at byte %d: 8 bytes", len(two))) {
		t.Errorf("behind two streams: error is %v", err)
	}
	for n := 1; n < len(packed); n++ { // of a second stream
		if _, _, err := unpack(append(bytes.Clone(packed), packed[:n]...)); !errors.Is(err, ErrTruncated) {
			t.Errorf("%d bytes of a second stream: error is %v", n, err)
		}
	}
}

// A file that is cut off may hold others as they are: of kernel modules, which are packed
// themselves, xz stores what cannot be packed further.
func TestCutOffWithFilesInside(t *testing.T) {
	t.Parallel()
	inner := pack(t, imgtest.Image(30_000, 9))
	var image []byte
	for i := range 40 { // wherever a chunk begins, some are at a multiple of four bytes
		image = append(append(image, inner...), "text"[i%4:]...)
	}
	packed := pack(t, image, "--lzma2=nice=2,dict=4KiB") // which does not find that they are the same
	if n := bytes.Count(packed, inner[len(inner)-headerSize:]); n < 10 {
		t.Fatalf("%d files were stored as they are", n)
	}
	for _, n := range []int{1, 2, 12, 100, 1001, 30_000} {
		if _, _, err := unpack(packed[:len(packed)-n]); !errors.Is(err, ErrTruncated) {
			t.Errorf("%d bytes are missing: error is %v", n, err)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(500_000, 4)
	f := mustUnpack(t, pack(t, img, "-T1", "--block-list=100,70000,200"), img)
	rapid.Check(t, func(t *rapid.T) {
		off := rapid.Int64Range(-5, f.Size+5).Draw(t, "off")
		i := f.Find(off)
		if off < 0 || off >= f.Size {
			if i != -1 {
				t.Fatalf("found block %d outside the file", i)
			}
			return
		}
		if b := f.Blocks[i]; off < b.Off || off >= b.Off+b.Size {
			t.Fatalf("block %d, %d bytes at %d, does not hold byte %d", i, b.Size, b.Off, off)
		}
	})
}

func TestUnknownCheck(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(100_000, 6)
	packed := pack(t, img, "--check=crc32")
	// Number 2 is reserved, and as long as a CRC32.
	packed[7] = 2
	binary.LittleEndian.PutUint32(packed[8:], crc32.ChecksumIEEE(packed[6:8]))
	foot := packed[len(packed)-12:]
	foot[9] = 2
	binary.LittleEndian.PutUint32(foot, crc32.ChecksumIEEE(foot[4:10]))
	f := mustUnpack(t, packed, img)
	if c := f.Blocks[0].Check; c.Verifiable() || c.String() != "Unknown-2" {
		t.Errorf("check is %v", c)
	}
}

// TestBitFlips flips every bit of small files: each is noticed, or the unpacked
// bytes are the same.
func TestBitFlips(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(700, 7)
	for _, check := range []string{"crc32", "crc64", "sha256", "none"} {
		t.Run(check, func(t *testing.T) {
			t.Parallel()
			packed := pack(t, img, "--check="+check, "-T2", "--block-size=400")
			packed = append(packed, 0, 0, 0, 0)
			f := mustUnpack(t, packed, img)
			inData := func(off int64) bool {
				for _, b := range f.Blocks {
					if d := off - b.PackedOff - int64(b.HeaderSize); d >= 0 && d < b.dataSize() {
						return true
					}
				}
				return false
			}
			for i := range packed {
				for bit := range 8 {
					packed[i] ^= 1 << bit
					_, got, err := unpack(packed)
					if err == nil && !bytes.Equal(got, img) && !(check == "none" && inData(int64(i))) {
						t.Errorf("bit %d of byte %d: not noticed", bit, i)
					}
					packed[i] ^= 1 << bit
				}
			}
		})
	}
}

func TestTruncated(t *testing.T) {
	t.Parallel()
	packed := pack(t, imgtest.Image(3000, 8), "-T2", "--block-size=1000")
	for n := range packed {
		if _, _, err := unpack(packed[:n]); !errors.Is(err, ErrTruncated) {
			t.Errorf("after %d of %d bytes: error is %v", n, len(packed), err)
		}
	}
}

// TestWrongSizes changes what the format states twice, with right checksums.
func TestWrongSizes(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(2000, 9)
	packed := pack(t, img, "-T2", "--block-size=2000") // sizes in the block header
	f := mustUnpack(t, packed, img)
	for i := 2; i < f.Blocks[0].HeaderSize-4; i++ {
		for _, c := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			p := bytes.Clone(packed)
			head := p[12 : 12+f.Blocks[0].HeaderSize]
			if head[i] == c {
				continue
			}
			head[i] = c
			binary.LittleEndian.PutUint32(head[len(head)-4:], crc32.ChecksumIEEE(head[:len(head)-4]))
			if _, got, err := unpack(p); err == nil && !bytes.Equal(got, img) {
				t.Errorf("byte %d of the block header as %#x: not noticed", i, c)
			}
		}
	}
	index := len(packed) - 12 - int(f.Streams[0].IndexSize)
	for i := range int(f.Streams[0].IndexSize) - 4 {
		for _, c := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			p := bytes.Clone(packed)
			x := p[index : len(p)-12]
			if x[i] == c {
				continue
			}
			x[i] = c
			binary.LittleEndian.PutUint32(x[len(x)-4:], crc32.ChecksumIEEE(x[:len(x)-4]))
			if _, _, err := unpack(p); err == nil {
				t.Errorf("byte %d of the index as %#x: not noticed", i, c)
			}
		}
	}
}

// TestDecoderAfterError makes sure that a decoder can be used again whatever
// happened to it.
func TestDecoderAfterError(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(900_000, 10)
	packed := pack(t, img, "-T2", "--block-size=300000")
	f, err := Open(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(packed)
	broken[f.Blocks[1].PackedOff+f.Blocks[1].dataSize()/2] ^= 0x10
	bf, err := Open(bytes.NewReader(broken), int64(len(broken)))
	if err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	var d Decoder
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(0, 2).Draw(t, "block")
		dst := make([]byte, f.Blocks[i].Size)
		switch rapid.SampledFrom([]string{"good", "broken", "canceled", "short"}).Draw(t, "how") {
		case "good":
			if err := d.Decode(context.Background(), f, i, dst); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(dst, img[f.Blocks[i].Off:][:len(dst)]) {
				t.Fatal("wrong bytes")
			}
		case "broken":
			if err := d.Decode(context.Background(), bf, i, dst); (i == 1) != errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
		case "canceled":
			if err := d.Decode(canceled, f, i, dst); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		case "short":
			if err := d.Decode(context.Background(), f, i, dst[1:]); err == nil {
				t.Fatal("no error")
			}
		}
	})
	if _, err := io.Copy(io.Discard, f.NewReader(canceled)); !errors.Is(err, context.Canceled) {
		t.Errorf("reader: error is %v", err)
	}
}

// errReader fails after n bytes, as a disk may.
type errReader struct {
	r io.ReaderAt
	n int64
}

var errDisk = errors.New("bad sector")

func (r errReader) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > r.n {
		return 0, errDisk
	}
	return r.r.ReadAt(p, off)
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(600_000, 11)
	packed := pack(t, img, "-T2", "--block-size=300000")
	size := int64(len(packed))
	if _, err := Open(errReader{bytes.NewReader(packed), 100}, size); !errors.Is(err, errDisk) {
		t.Errorf("Open: error is %v", err)
	}
	f, err := Open(bytes.NewReader(packed), size)
	if err != nil {
		t.Fatal(err)
	}
	f.r = errReader{bytes.NewReader(packed), size / 2}
	_, err = io.Copy(io.Discard, f.NewReader(context.Background()))
	if !errors.Is(err, errDisk) || errors.Is(err, ErrCorrupt) {
		t.Errorf("NewReader: error is %v", err)
	}
	f.r = bytes.NewReader(packed[:size/2]) // it has become shorter
	if _, err = io.Copy(io.Discard, f.NewReader(context.Background())); !errors.Is(err, ErrTruncated) {
		t.Errorf("NewReader: error is %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	for _, name := range []string{"two-streams.xz", "sha256.xz", "x86.xz", "empty.xz"} {
		p, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, packed []byte) {
		fixSums(packed)
		x, err := Open(bytes.NewReader(packed), int64(len(packed)))
		if err != nil {
			if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if x.Size > 1<<20 {
			return
		}
		if _, _, err = unpack(packed); err != nil && strings.Contains(err.Error(), "differ") {
			t.Fatal(err)
		}
	})
}

// fixSums corrects the CRC32s of the last stream's header, footer and index, so
// that the fuzzer gets behind them.
func fixSums(p []byte) {
	if len(p) < 32 {
		return
	}
	put := func(at int, body []byte) { binary.LittleEndian.PutUint32(p[at:], crc32.ChecksumIEEE(body)) }
	put(8, p[6:8])
	foot := len(p) - 12
	put(foot, p[foot+4:foot+10])
	size := (int64(binary.LittleEndian.Uint32(p[foot+4:])) + 1) * 4
	if index := int64(foot) - size; index >= 12 {
		put(foot-4, p[index:foot-4])
	}
	if head := (int(p[12]) + 1) * 4; 12+head < foot {
		put(12+head-4, p[12:12+head-4])
	}
}
