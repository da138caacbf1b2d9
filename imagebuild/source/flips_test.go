package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/source/internal/imgtest"
	"github.com/piimg/piimg/imagebuild/source/xzfile"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// flips says how many bits of every region of a file are flipped, one at a time.
func flips(t *testing.T) int {
	switch n, err := strconv.Atoi(os.Getenv("PIIMG_FLIPS")); {
	case err == nil:
		return n
	case testing.Short():
		return 2
	}
	return 8
}

// region is a named part of a file.
type region struct {
	name     string
	off, len int64
}

// bits calls fn with n copies of file, each with a bit of the region flipped: all
// bits in turn if there are no more than n, or else bits at random.
func (r region) bits(file []byte, n int, fn func(bad []byte, where string)) {
	rng := rand.New(rand.NewPCG(uint64(r.off), uint64(r.len)))
	all := r.len * 8
	for i := range min(int64(n), all) {
		bit := i
		if all > int64(n) {
			bit = rng.Int64N(all)
		}
		bad := bytes.Clone(file)
		bad[r.off+bit/8] ^= 1 << (bit % 8)
		fn(bad, fmt.Sprintf("%s, bit %d of byte %d", r.name, bit%8, r.off+bit/8))
	}
}

// xzRegions names all regions of an .xz file.
func xzRegions(t *testing.T, file []byte) (all []region) {
	t.Helper()
	x, err := xzfile.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var end int64
	add := func(name string, n int64) {
		if n > 0 {
			all = append(all, region{name, end, n})
		}
		end += n
	}
	for i, s := range x.Streams {
		stream := fmt.Sprintf("stream %d: ", i)
		add(stream+"header", 12)
		for k, b := range x.Blocks[s.FirstBlock:][:s.Blocks] {
			block := fmt.Sprintf("%sblock %d: ", stream, k)
			check := int64(b.Check.Size())
			data := b.UnpaddedSize - int64(b.HeaderSize) - check
			add(block+"header", int64(b.HeaderSize))
			add(block+"data", data)
			add(block+"padding", b.PackedSize()-b.UnpaddedSize)
			add(block+"check", check)
		}
		add(stream+"index", s.IndexSize)
		add(stream+"footer", 12)
		add(stream+"padding", s.Padding)
	}
	if end != int64(len(file)) {
		t.Fatalf("regions up to %d of %d bytes", end, len(file))
	}
	return all
}

// readings are the ways of reading an image.
func readings(file []byte) []Options {
	sum := sha256.Sum256(file)
	return []Options{
		{},          // at random, where the packing allows
		{Memory: 1}, // unpacked from front to back
		{SHA256: hex.EncodeToString(sum[:])},
	}
}

// flip flips bits in all regions of file, which is an image packed, and reads what
// comes of it in all ways. Every flip must be noticed. With harmless, and unless
// the sha256 is known, one is excused if the image is the same all the same: some
// packings have fields that say nothing of the data, as a time or a name.
func flip(t *testing.T, file, img []byte, regions []region, harmless bool) {
	t.Helper()
	for i, o := range readings(file) {
		n := flips(t)
		if i > 0 {
			n = (n + 3) / 4
		}
		for _, r := range regions {
			r.bits(file, n, func(bad []byte, where string) {
				o.CacheDir = t.TempDir()
				got, err := contentOf(imgtest.Write(t, "bad", bad), o)
				switch {
				case err != nil && !wrongSum(err) && !isOneOf(err, ErrCorrupt, ErrTruncated, ErrUnsupported, ErrNotImage):
					t.Errorf("%s: error of no kind: %v", where, err)
				case err == nil && (o.SHA256 != "" || !harmless || !bytes.Equal(got, img)):
					t.Errorf("%s (way %d): not noticed", where, i)
				}
			})
		}
	}
}

func wrongSum(err error) bool {
	var sum *ChecksumError
	return errors.As(err, &sum)
}

// contentOf reads all of an image.
func contentOf(path string, o Options) (img []byte, err error) {
	m, err := Open(context.Background(), path, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	err = m.Scan(context.Background(), func(c Chunk) error {
		if img = append(img, c.Data...); c.Data == nil {
			img = append(img, make([]byte, c.Len)...)
		}
		return nil
	})
	return img, err
}

// xzSample returns an image and an .xz file of it that has all that can be in one.
func xzSample(t *testing.T) (img, file []byte) {
	img = imgtest.Image(200_000, 11)
	pack := func(data []byte, args ...string) []byte {
		return imgtest.Pipe(t, data, "xz", append([]string{"-c", "-q"}, args...)...)
	}
	return img, bytes.Join([][]byte{
		pack(img[:120_001], "-T2", "--block-size=50000"), make([]byte, 8),
		pack(img[120_001:180_000], "-T1", "--check=sha256"),
		pack(img[180_000:], "-T2", "--check=crc32"), make([]byte, 4),
	}, nil)
}

func TestBitFlipsXZ(t *testing.T) {
	t.Parallel()
	img, file := xzSample(t)
	flip(t, file, img, xzRegions(t, file), false)
	img = imgtest.Image(50_000, 11)
	file = imgtest.Pipe(t, img, "xz", "-c", "-q", "--arm64", "--delta", "--lzma2")
	flip(t, file, img, xzRegions(t, file), false)
}

func TestBitFlipsRaw(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(200_000, 11)
	sum := sha256.Sum256(img)
	all := region{"image", 0, int64(len(img))}
	all.bits(img, flips(t), func(bad []byte, where string) {
		_, err := contentOf(imgtest.Write(t, "bad.img", bad), Options{SHA256: hex.EncodeToString(sum[:])})
		if !wrongSum(err) {
			t.Errorf("%s: error is %v", where, err)
		}
	})
}

func TestBitFlipsOthers(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(200_000, 11)
	for name, command := range map[string]string{
		"zst":         "zstd -c -q --check disk.img",
		"zst, frames": "head -c 90000 disk.img | zstd -c -q --check; tail -c +90001 disk.img | zstd -c -q --check",
		"gz":          "gzip -c disk.img",
		"zip":         "zip -q - disk.img",
		"zip, stored": "zip -q -0 stored.zip disk.img && cat stored.zip",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, tool := range strings.Fields("sh zstd gzip zip") {
				tooltest.Need(t, tool)
			}
			dir := filepath.Dir(imgtest.Write(t, "disk.img", img))
			cmd := exec.Command("sh", "-c", command)
			cmd.Dir = dir
			file, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			const ends = 128 // headers and trailers
			n := int64(len(file))
			flip(t, file, img, []region{{"beginning", 0, ends}, {"middle", ends, n - 2*ends}, {"end", n - ends, ends}}, true)
		})
	}
}
