package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/piimg/piimg/imagebuild/source/internal/imgtest"
)

// A copy is made once. One that has been damaged since is made again: at once if that
// shows when it is opened, and else the next time.
func TestRepack(t *testing.T) {
	t.Parallel()
	img := append(bytes.Clone(testImage[:1<<20]), make([]byte, repackBlock)...)
	copy(img[repackBlock:], testImage)
	var packed atomic.Int32 // how often
	var other atomic.Int32  // what else there was progress of
	o := Options{CacheDir: t.TempDir(), VerifyLater: true, Progress: func(what string, done, total int64) {
		switch {
		case what != ProgressRepack:
			other.Add(1)
		case done == total:
			packed.Add(1)
		}
	}}
	m := opened(t, imgtest.Write(t, "a.img", img), o)
	if _, err := m.SHA256(t.Context()); err != nil {
		t.Fatal(err)
	}
	other.Store(0)
	repack := func(times int32) *Image {
		t.Helper()
		c, err := m.Repack(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := packed.Load(); n != times {
			t.Errorf("packed %d times instead of %d", n, times)
		}
		return c
	}
	good := func(c *Image) string {
		t.Helper()
		got, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		if err != nil || !bytes.Equal(got, img) {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
		if c.digest != nil {
			t.Error("a digest of the copy is computed, which nobody asks for")
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		return c.path
	}
	path := good(repack(1))
	if file, err := os.ReadFile(path); err != nil || !bytes.Equal(imgtest.Pipe(t, file, "xz", "-dc"), img) {
		t.Errorf("xz unpacks something else, %v", err)
	}
	good(repack(1))

	change := func(do func(file []byte) []byte) {
		t.Helper()
		file, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, do(file), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	change(func(file []byte) []byte { return file[:len(file)/2] })
	good(repack(2))

	change(func(file []byte) []byte { file[len(file)/4*3] ^= 1; return file })
	c := repack(2)
	err := c.Scan(context.Background(), func(Chunk) error { return nil })
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "it has been removed: run again") {
		t.Errorf("got %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	good(repack(3))
	// The blocks of another image are as sound as any.
	img[0]++
	swapped := imgtest.Pipe(t, img, "xz", "-c", "--block-size=8MiB")
	img[0]--
	change(func([]byte) []byte { return swapped })
	good(repack(4))
	good(repack(4))
	if n := other.Load(); n > 0 {
		t.Errorf("%d calls of Progress were about something else", n)
	}
}

// Whatever cannot be written into the cache folder, the error says what helps.
func TestCacheFailed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"packed", "packed/SUM-1.img.xz.part", "packed/SUM-1.img.xz", "packed/SUM-1.img.xz.blocks",
		"unpacked", "unpacked/SUM.part", "unpacked/SUM.img", "unpacked/SUM.json.part",
		"packed/SUM-1.img.xz.lock", "unpacked/SUM.lock",
	} {
		o := Options{CacheDir: t.TempDir()}
		path := imgtest.Write(t, "a.img.gz", imgtest.Pipe(t, testImage, "gzip", "-c"))
		packed, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		in := filepath.Join(o.CacheDir, strings.Replace(name, "SUM", fmt.Sprintf("%x", sha256.Sum256(packed)), 1))
		if strings.Contains(name, "/") {
			err = os.MkdirAll(filepath.Join(in, "in the way"), 0o700)
		} else {
			err = os.WriteFile(in, nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := Open(t.Context(), path, o)
		if err == nil {
			defer m.Close()
			_, err = m.Repack(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), path+": cannot ") || strings.Count(err.Error(), "name another cache folder") != 1 {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
