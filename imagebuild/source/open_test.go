package source

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/piimg/piimg/imagebuild/source/internal/imgtest"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// opened opens an image with a cache folder of the test's own.
func opened(t testing.TB, path string, o Options) *Image {
	t.Helper()
	if o.CacheDir == "" {
		o.CacheDir = t.TempDir()
	}
	m, err := Open(context.Background(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// scanned reads the image with Scan, and makes sure that the chunks are as promised.
func scanned(t testing.TB, m *Image) []byte {
	t.Helper()
	var out []byte
	err := m.Scan(context.Background(), func(c Chunk) error {
		if c.Off != int64(len(out)) || c.Len <= 0 || c.Data != nil && int64(len(c.Data)) != c.Len || len(c.Data) > chunkSize {
			return fmt.Errorf("chunk of %d bytes at %d with %d bytes of data, after %d bytes", c.Len, c.Off, len(c.Data), len(out))
		}
		if c.Data == nil {
			out = append(out, make([]byte, c.Len)...)
			return nil
		}
		for p := c.Data; len(p) >= zeroRun && (c.Off+int64(len(c.Data)-len(p)))%zeroRun == 0; p = p[zeroRun:] {
			if isZero(p[:zeroRun]) {
				return fmt.Errorf("chunk at %d has zeros in its data", c.Off)
			}
		}
		out = append(out, c.Data...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	once(t, m, out)
	return out
}

// once reads the image with ReadOnce, in pieces that do and don't agree with its
// blocks, and makes sure that they are those of want.
func once(t testing.TB, m *Image, want []byte) {
	t.Helper()
	pieces := []int64{300_001, 2 * chunkSize, m.Size()}
	if m.XZ() != nil {
		pieces = append(pieces, m.XZ().MaxBlock)
	}
	for _, n := range pieces {
		for off := int64(0); off < m.Size(); off += n {
			p := bytes.Repeat([]byte{0xa5}, int(min(n, m.Size()-off)))
			zero, err := m.ReadOnce(context.Background(), p, off)
			if err != nil {
				t.Fatal(err)
			}
			if zero {
				clear(p)
			}
			if !bytes.Equal(p, want[off:][:len(p)]) {
				t.Fatalf("ReadOnce of %d bytes at %d: wrong bytes (zero: %v)", len(p), off, zero)
			}
		}
	}
}

// The image that most tests read, in all its packings.
var (
	testImage   = imgtest.Image(3<<20+4321, 1)
	fixturesDir string
	fixtures    = sync.OnceValues(makeFixtures)
)

func TestMain(m *testing.M) {
	var err error
	if fixturesDir, err = os.MkdirTemp("", "source-test-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(fixturesDir)
	os.Exit(code)
}

// packings returns files of testImage, made by the tools of others, by what is
// special about them. What stands before the comma is the expected kind.
func packings(t testing.TB) map[string]string {
	t.Helper()
	for _, tool := range []string{"xz", "gzip", "zstd", "zip", "python3", "sh"} {
		tooltest.Need(t, tool)
	}
	files, err := fixtures()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func makeFixtures() (map[string]string, error) {
	write := func(name string, data []byte) error {
		return os.WriteFile(filepath.Join(fixturesDir, name), data, 0o600)
	}
	half := len(testImage) / 2
	err := errors.Join(write("disk.img", testImage), write("readme.txt", []byte("read me")),
		write("half1", testImage[:half]), write("half2", testImage[half:]), write("stream.py", []byte(`
import sys, zipfile
class Pipe:
    def write(self, p): return sys.stdout.buffer.write(p)
    def flush(self): sys.stdout.buffer.flush()
with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as z:
    z.writestr("folder/", "")
    z.writestr("__MACOSX/folder/._disk.img", "attributes")
    with z.open("folder/disk.IMG", "w", force_zip64=True) as w:
        w.write(open("disk.img", "rb").read())
`)))
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for i, f := range []struct{ name, command string }{
		{"img", "cat disk.img"},
		{"img.xz, blocks", "xz -c -T2 --block-size=700000 disk.img"},
		{"img.xz, one block", "xz -c -T1 disk.img"},
		{"img.xz, two parts", "xz -c --check=sha256 half1 && xz -c -T2 --block-size=1MiB half2"},
		{"img.xz, none", "xz -c --check=none disk.img"},
		{"img.xz, arm64", "xz -c --arm64 --lzma2 disk.img"},
		{"img.xz, filters", "xz -c -T2 --block-size=1MiB --delta=dist=2 --x86 --lzma2 disk.img"},
		{"img.xz, large dict", "xz -c -9 -T1 disk.img"},
		{"img.gz", "gzip -c disk.img"},
		{"img.gz, members", "gzip -c half1 && gzip -c half2"},
		{"img.zst", "zstd -c disk.img"},
		{"img.zst, frames", "zstd -c half1 && zstd -c -12 half2"},
		{"img.zst, long", "zstd -c --long=27 disk.img"},
		{"zip, deflated", "zip -q - readme.txt disk.img"},
		{"zip, stored", "zip -q -0 stored.zip readme.txt disk.img && cat stored.zip"},
		{"zip, zip64", "zip -q -fz zip64.zip disk.img && cat zip64.zip"},
		{"zip, zip64 stored", "zip -q -0 -fz zip64s.zip disk.img && cat zip64s.zip"},
		{"zip, streamed", "python3 stream.py"}, // sizes behind the data
	} {
		// Names do not matter: none of these has the right one.
		file := fmt.Sprint("file", i)
		cmd := exec.Command("sh", "-c", "{ "+f.command+"; } >"+file)
		cmd.Dir = fixturesDir
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", f.command, err, out)
		}
		files[f.name] = filepath.Join(fixturesDir, file)
	}
	return files, nil
}

func TestPackings(t *testing.T) {
	t.Parallel()
	img := testImage
	cache := t.TempDir()
	for name, path := range packings(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Twice: unpacked images are used again.
			for range 2 {
				m := opened(t, path, Options{CacheDir: cache})
				kind, _, _ := strings.Cut(name, ",")
				if p := m.Packing(); p.Kind != kind {
					t.Errorf("packing is %+v", p)
				}
				if m.Size() != int64(len(img)) {
					t.Fatalf("size is %d, want %d", m.Size(), len(img))
				}
				compare(t, m, img)
			}
		})
	}
}

// compare reads all of m in several ways.
func compare(t *testing.T, m *Image, img []byte) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		off := rapid.Int64Range(0, m.Size()+10).Draw(t, "off")
		p := make([]byte, rapid.IntRange(0, 1<<18).Draw(t, "len"))
		n, err := m.ReadAt(p, off)
		want, wantErr := bytes.NewReader(img).ReadAt(make([]byte, len(p)), off)
		if off >= m.Size() {
			want, wantErr = 0, io.EOF
		}
		if n != want || err != wantErr {
			t.Fatalf("ReadAt of %d bytes at %d: %d, %v, want %d, %v", len(p), off, n, err, want, wantErr)
		}
		if n > 0 && !bytes.Equal(p[:n], img[off:off+int64(n)]) {
			t.Fatalf("ReadAt of %d bytes at %d: wrong bytes", len(p), off)
		}
	})
	if !bytes.Equal(scanned(t, m), img) {
		t.Error("Scan: wrong bytes")
	}
	if _, err := m.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("ReadAt at -1: no error")
	}
}

// TestConcurrent reads an image from several goroutines while it is scanned.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	img := testImage
	for name, path := range packings(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := opened(t, path, Options{Workers: 2, Memory: 4 << 20, CacheDir: filepath.Join(fixturesDir, "cache")})
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(i), 0))
					for range 50 {
						off := rng.Int64N(m.Size())
						p := make([]byte, min(rng.Int64N(300<<10), m.Size()-off))
						if _, err := m.ReadAt(p, off); err != nil {
							t.Error(err)
						} else if !bytes.Equal(p, img[off:][:len(p)]) {
							t.Errorf("wrong bytes at %d", off)
						}
					}
				})
			}
			for range 2 {
				wg.Go(func() {
					// Reading within Scan must not wait for Scan.
					err := m.Scan(context.Background(), func(c Chunk) error {
						p := make([]byte, c.Len)
						if _, err := m.ReadAt(p, c.Off); err != nil {
							return err
						}
						if c.Data != nil && !bytes.Equal(p, c.Data) {
							return errors.New("Scan and ReadAt differ")
						}
						_, err := m.ReadAt(make([]byte, 10), m.Size()-10)
						return err
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Go(func() {
				if _, err := m.SHA256(context.Background()); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
		})
	}
}

func TestScanStops(t *testing.T) {
	t.Parallel()
	img := testImage
	for name, path := range packings(t) {
		m := opened(t, path, Options{CacheDir: filepath.Join(fixturesDir, "cache")})
		stop := errors.New("stop")
		for at := range 4 {
			n := 0
			err := m.Scan(context.Background(), func(Chunk) error {
				if n++; n > at {
					return stop
				}
				return nil
			})
			if err != stop {
				t.Errorf("%s: error is %v", name, err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			n = 0
			err = m.Scan(ctx, func(Chunk) error {
				if n++; n > at {
					cancel()
				}
				return nil
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: error is %v", name, err)
			}
			cancel()
		}
		if !bytes.Equal(scanned(t, m), img) {
			t.Errorf("%s: wrong bytes after scans that were stopped", name)
		}
	}
}

func TestXZIndex(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(2<<20, 4)
	path := imgtest.Write(t, "x", imgtest.Pipe(t, img, "xz", "-c", "-T2", "--block-size=300000"))
	m := opened(t, path, Options{})
	if x := m.XZ(); x == nil || len(x.Blocks) != 7 {
		t.Fatalf("index is %+v", m.XZ())
	}
	b := m.XZ().Blocks[3]
	p := make([]byte, b.PackedSize())
	if _, err := m.Packed().ReadAt(p, b.PackedOff); err != nil {
		t.Fatal(err)
	}
	if got := m.Packing().Detail; got != "7 blocks of up to 292 KiB, check CRC64" {
		t.Errorf("detail is %q", got)
	}
	// A block that does not fit the memory allowed.
	var notices []string
	m = opened(t, path, Options{Memory: 600 << 10, Notice: func(s string) { notices = append(notices, s) }})
	if m.XZ() != nil || m.Packing().Unpacked == "" || len(notices) == 0 || !strings.Contains(notices[0], "292 KiB") {
		t.Errorf("packing is %+v, notices are %q", m.Packing(), notices)
	}
	if !bytes.Equal(scanned(t, m), img) {
		t.Error("wrong bytes")
	}
}

// TestZeroBlocks makes sure that blocks of zeros that are alike are decoded once.
func TestZeroBlocks(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(100_000, 5)
	img = append(img, make([]byte, 10_000_000)...)
	img = append(img, "end"...)
	path := imgtest.Write(t, "x", imgtest.Pipe(t, img, "xz", "-c", "-T2", "--block-size=100000"))
	m := opened(t, path, Options{Workers: 1})
	compare(t, m, img)
	z := &m.content.(*xzContent).zeros
	n := 0
	for _, zero := range z.zero {
		if zero {
			n++
		}
	}
	if n != 100 || len(z.models) != 1 {
		t.Errorf("%d blocks of zeros by %d models", n, len(z.models))
	}
}

// TestSparse makes sure that holes stay holes.
func TestSparse(t *testing.T) {
	t.Parallel()
	const size = 1 << 33 // too large to be read in a test
	path := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	boot := imgtest.Image(512, 1)
	for off, p := range map[int64][]byte{0: boot, 5<<30 + 12345: []byte("middle"), size - 3: []byte("end")} {
		if _, err := f.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	if data, _, err := seekDataOf(path, 1<<30); err != nil || data < 4<<30 {
		t.Skipf("no holes here: data at %d, %v", data, err)
	}
	m := opened(t, path, Options{})
	var data, zeros int64
	err = m.Scan(context.Background(), func(c Chunk) error {
		if c.Data == nil {
			zeros += c.Len
		}
		data += int64(len(c.Data))
		return nil
	})
	if err != nil || zeros+data != size || data > 3*chunkSize {
		t.Errorf("%d bytes of zeros and %d of data, %v", zeros, data, err)
	}
}

func seekDataOf(path string, off int64) (int64, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	return seekData(f, off)
}

// TestZip64Large has sizes that only zip64 can state: 5 GiB of zeros.
func TestZip64Large(t *testing.T) {
	if os.Getenv("PIIMG_LARGE_TESTS") == "" {
		t.Skip("set PIIMG_LARGE_TESTS to unpack 5 GiB")
	}
	t.Parallel()
	const size = int64(5 << 30)
	path := filepath.Join(t.TempDir(), "large.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create("large.img")
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	copy(block[510:], "\x55\xaa")
	for range size / int64(len(block)) {
		if _, err := w.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	m := opened(t, path, Options{})
	if m.Size() != size {
		t.Errorf("size is %d", m.Size())
	}
}

func TestRecogniseTable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"\x7fELF" + strings.Repeat("x", 600):  "ELF",
		"%PDF-1.7" + strings.Repeat("x", 600): "PDF",
		"7z\xbc\xaf\x27\x1c":                  "7-Zip",
		"BZh91AY&SY":                          "bzip2",
		"<!DOCTYPE html><html>":               "web page",
		"hello\n":                             "text file",
		strings.Repeat("\x00", 4096):          "zeros only",
		"\x01\x02\x03":                        "only 3 bytes",
		strings.Repeat("\x01\x02", 4096):      "no partition table",
		strings.Repeat("\x00", 0x438) + "\x53\xef" + strings.Repeat("\x00", 99): "ext4 file system",
		strings.Repeat("\x00", 0x8001) + "CD001":                                "ISO 9660",
		strings.Repeat("\x01", 257) + "ustar" + strings.Repeat("\x00", 400):     "tar archive",
	} {
		path := imgtest.Write(t, "file.img", []byte(text))
		_, err := Open(context.Background(), path, Options{CacheDir: t.TempDir()})
		var e *Error
		if !errors.Is(err, ErrNotImage) || !errors.As(err, &e) || e.Path != path || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10q: error is %v", text, err)
		}
	}
}

// A file that is written to while it is opened is told as that, not as one to be
// downloaded again.
func TestOpenWritten(t *testing.T) {
	t.Parallel()
	packed := imgtest.Pipe(t, testImage, "xz", "-c", "-T2", "--block-size=100000")
	path := imgtest.Write(t, "a.img.xz", packed)
	o := Options{SHA256: digest(packed), Progress: func(string, int64, int64) { // before the index is read
		if err := os.Truncate(path, 1000); err != nil {
			t.Error(err)
		}
	}}
	m, err := Open(t.Context(), path, o)
	if err == nil {
		m.Close()
	}
	if err == nil || !strings.HasSuffix(err.Error(), "a.img.xz: it was written to while it was read; begin again when it is complete") {
		t.Errorf("got %v", err)
	}
}
