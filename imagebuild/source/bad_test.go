package source

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/source/internal/imgtest"
)

// readAll opens an image and reads all of it.
func readAll(path string, o Options) error {
	m, err := Open(context.Background(), path, o)
	if err != nil {
		return err
	}
	err = m.Scan(context.Background(), func(Chunk) error { return nil })
	return errors.Join(err, m.Close())
}

// leftover returns the files in a cache folder but for locks.
func leftover(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) != ".lock" {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestTruncated(t *testing.T) {
	t.Parallel()
	for name, path := range packings(t) {
		if name == "img" {
			continue // only the partition table knows how long it should be
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n := len(whole)
		for _, keep := range []int{n - 1, n - 5, n - 100, n * 3 / 4, n / 2, 1000, 20} {
			cache := t.TempDir()
			err := readAll(imgtest.Write(t, "file", whole[:keep]), Options{CacheDir: cache})
			if !errors.Is(err, ErrTruncated) || !strings.Contains(err.Error(), "truncated") || !strings.Contains(err.Error(), "download it again") {
				t.Errorf("%s: %d of %d bytes: error is %v", name, keep, n, err)
			}
			if files := leftover(t, cache); files != nil {
				t.Errorf("%s: %d of %d bytes: left behind: %q", name, keep, n, files)
			}
		}
	}
}

// TestDamaged flips single bits: each is noticed or does no harm.
func TestDamaged(t *testing.T) {
	t.Parallel()
	for name, path := range packings(t) {
		if name == "img" || name == "img.xz, none" {
			continue
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			bad := bytes.Clone(whole)
			bad[7+i*(len(bad)-10)/10] ^= 4
			m, err := Open(context.Background(), imgtest.Write(t, "file", bad), Options{CacheDir: t.TempDir()})
			var got []byte
			if err == nil {
				err = m.Scan(context.Background(), func(c Chunk) error {
					if got = append(got, c.Data...); c.Data == nil {
						got = append(got, make([]byte, c.Len)...)
					}
					return nil
				})
				m.Close()
			}
			switch {
			case err == nil && !bytes.Equal(got, testImage):
				t.Errorf("%s: bit flip %d was not noticed", name, i)
			case err != nil && !isOneOf(err, ErrCorrupt, ErrTruncated, ErrUnsupported, ErrNotImage):
				t.Errorf("%s: bit flip %d: error of no kind: %v", name, i, err)
			}
		}
	}
}

func isOneOf(err error, kinds ...error) bool {
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}

func TestNoImage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pack := func(data string, cmd ...string) []byte {
		return imgtest.Pipe(t, []byte(data), cmd[0], cmd[1:]...)
	}
	zipOf := func(method uint16, names ...string) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, name := range names {
			w, err := z.CreateRaw(&zip.FileHeader{Name: name, Method: method, UncompressedSize64: 3, CompressedSize64: 3})
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "/") {
				continue
			}
			if _, err := w.Write([]byte("abc")); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	encrypted := zipOf(zip.Deflate, "a.img")
	for i := range encrypted { // in both headers
		if bytes.HasPrefix(encrypted[i:], []byte("PK\x01\x02")) {
			encrypted[i+8] |= 1
		}
	}
	img := string(imgtest.Image(100_000, 9))
	unknown := pack(img, "xz", "-c", "-T1", "--x86", "--lzma2")
	head := unknown[12:24] // behind the stream's header: size, flags, x86, lzma2
	if head[2] != 4 {
		t.Fatalf("xz writes another header: % x", head)
	}
	head[2] = 12 // a filter that does not exist yet
	binary.LittleEndian.PutUint32(head[8:], crc32.ChecksumIEEE(head[:8]))
	for _, c := range []struct {
		path string
		kind error
		want string
	}{
		{filepath.Join(dir, "absent.img"), fs.ErrNotExist, "check the path"},
		{dir, ErrNotImage, "it is a folder"},
		{write("empty.img", nil), ErrNotImage, "the file is empty"},
		{write("nothing.xz", pack("", "xz", "-c")), ErrNotImage, "what is packed in it is empty"},
		{write("nothing.gz", pack("", "gzip", "-c")), ErrNotImage, "what is packed in it is empty"},
		{write("pdf.xz", pack("%PDF"+img, "xz", "-c")), ErrNotImage, "what is packed in it: it is a PDF document"},
		{write("twice.gz", pack(string(pack(img, "xz", "-c")), "gzip", "-c")), ErrUnsupported, "packed twice, with a img.xz within the img.gz"},
		{write("filter.xz", unknown), ErrUnsupported, "filters 0xc+lzma2, which can't be undone; unpack it with xz -d"},
		{write("long.zst", pack(img+img, "zstd", "-c", "--ultra", "-22", "--long=31")), ErrUnsupported, "window of more than 128 MiB"},
		{write("none.zip", zipOf(0, "a.txt", "b/", "b/c.iso")), ErrNotImage, `there is no .img in it, but "a.txt" (3 bytes), "b/c.iso" (3 bytes)`},
		{write("two.zip", zipOf(0, "a.img", "x.txt", "b.IMG")), ErrNotImage, `there are 2 .img files in it: "a.img" (3 bytes), "b.IMG" (3 bytes)`},
		{write("bare.zip", zipOf(0)), ErrNotImage, "there is no .img in it, but nothing"},
		{write("method.zip", zipOf(12, "a.img")), ErrUnsupported, "method bzip2"},
		{write("encrypted.zip", encrypted), ErrUnsupported, "is encrypted"},
	} {
		err := readAll(c.path, Options{CacheDir: filepath.Join(dir, "cache")})
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), c.path+": ") {
			t.Errorf("%s: error is %v", filepath.Base(c.path), err)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error has several lines: %v", filepath.Base(c.path), err)
		}
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	path := imgtest.Write(t, "a.img", imgtest.Image(1000, 1))
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(path); err == nil {
		f.Close()
		t.Skip("permissions do not bind this user")
	}
	if err := readAll(path, Options{}); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "permissions") {
		t.Errorf("error is %v", err)
	}
}

func TestChecksum(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(70_000, 1)
	dir := t.TempDir()
	path := filepath.Join(dir, "my.img")
	if err := os.WriteFile(path, img, 0o600); err != nil {
		t.Fatal(err)
	}
	good, _, _ := strings.Cut(string(imgtest.Pipe(t, img, "sha256sum")), " ")
	bad := strings.Repeat("0", 64)
	for _, c := range []struct{ neighbour, option, want string }{
		{"", good, ""},
		{"", strings.ToUpper(good), ""},
		{"", bad, "wrong sha256: expected is " + bad + ", but the file (70000 bytes) has " + good},
		{"", "abc", "64 hexadecimal digits"},
		{good, "", ""},
		{good + "\n", "", ""},
		{good + "  other.img\n", "", ""},
		{bad + "  other.img\r\n" + good + " *my.img\r\n", "", ""},
		{"\ufeff" + bad + "  other.img\n" + good + "  ./some/where/my.img\n", "", ""},
		{"SHA256 (other.img) = " + bad + "\nSHA256 (my.img) = " + good, "", ""},
		{"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + good + "  my.img\n-----BEGIN PGP SIGNATURE-----\n", "", ""},
		{bad, "", "expected by " + path + ".sha256 is " + bad},
		{bad, good, ""},
		{bad + "  a.img\n" + good + "  b.img\n", "", "it has no line for my.img, only for a.img, b.img"},
		{"<html>", "", "there is no sha256 in it"},
	} {
		os.Remove(path + ".sha256")
		if c.neighbour != "" {
			if err := os.WriteFile(path+".sha256", []byte(c.neighbour), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := readAll(path, Options{SHA256: c.option})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %q: error is %v", c.neighbour, c.option, err)
		}
		var sum *ChecksumError
		if strings.HasPrefix(c.want, "wrong") && (!errors.As(err, &sum) || sum.Got != good || sum.Want != bad) {
			t.Errorf("%q, %q: error is %#v", c.neighbour, c.option, err)
		}
	}
}

func TestCanceled(t *testing.T) {
	t.Parallel()
	for name, path := range packings(t) {
		ctx, cancel := context.WithCancel(context.Background())
		cache := t.TempDir()
		// Canceled before, and in the middle of unpacking.
		for _, o := range []Options{
			{CacheDir: cache, SHA256: strings.Repeat("0", 64), Progress: func(string, int64, int64) { cancel() }},
			{CacheDir: cache, Progress: func(what string, _, _ int64) { cancel() }},
		} {
			m, err := Open(ctx, path, o)
			if err == nil { // it had nothing to do that takes long
				m.Close()
			} else if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: error is %v", name, err)
			}
		}
		cancel()
		if files := leftover(t, cache); files != nil {
			t.Errorf("%s: left behind: %q", name, files)
		}
	}
}

// With VerifyLater, Open returns before the digest is known, and a wrong one is told
// in place of what it leads to.
func TestVerifyLater(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(70_000, 1)
	good, _, _ := strings.Cut(string(imgtest.Pipe(t, img, "sha256sum")), " ")
	bad := strings.Repeat("0", 64)
	ctx := context.Background()
	m := opened(t, imgtest.Write(t, "a.img", img), Options{VerifyLater: true, SHA256: bad})
	if _, err := m.ReadAt(make([]byte, 10), 0); err != nil {
		t.Errorf("the image can't be read: %v", err)
	}
	for range 2 {
		if sum, err := m.SHA256(ctx); sum != "" || !wrongSum(err) {
			t.Errorf("digest %q, error %v", sum, err)
		}
	}
	m = opened(t, imgtest.Write(t, "a.img", img), Options{VerifyLater: true, SHA256: good})
	if sum, err := m.SHA256(ctx); sum != good || err != nil {
		t.Errorf("digest %q, error %v", sum, err)
	}
	xz := imgtest.Pipe(t, img, "xz", "-c")
	if _, err := Open(ctx, imgtest.Write(t, "cut.img.xz", xz[:len(xz)-9]), Options{VerifyLater: true, SHA256: good}); !wrongSum(err) {
		t.Errorf("a truncated file of the wrong digest: error is %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := m.SHA256(canceled); err != context.Canceled {
		t.Errorf("canceled: error is %v", err)
	}
	for name, path := range packings(t) {
		m := opened(t, path, Options{VerifyLater: true})
		if _, err := m.SHA256(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
