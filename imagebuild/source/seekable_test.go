package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/piimg/piimg/imagebuild/source/internal/imgtest"
)

// seekable packs an image as frames of frame bytes, with a seek table. With checksums
// in it, the frames also state what they unpack to.
func seekable(t *testing.T, img []byte, frame int, checksums bool) []byte {
	t.Helper()
	le := binary.LittleEndian
	var file, table []byte
	n, flags := 0, byte(0)
	for off := 0; off < len(img); off += frame {
		p := img[off:min(off+frame, len(img))]
		args := []string{"-c", "-q", "--check"}
		if checksums {
			args = append(args, fmt.Sprintf("--stream-size=%d", len(p)))
		}
		packed := imgtest.Pipe(t, p, "zstd", args...)
		file = append(file, packed...)
		table = le.AppendUint32(le.AppendUint32(table, uint32(len(packed))), uint32(len(p)))
		if checksums {
			flags = seekChecksums
			table = append(table, packed[len(packed)-4:]...) // the same as in the frame
		}
		n++
	}
	file = le.AppendUint32(le.AppendUint32(file, seekTableMagic), uint32(len(table)+seekFooterSize))
	file = le.AppendUint32(append(file, table...), uint32(n))
	return le.AppendUint32(append(file, flags), seekFooterMagic)
}

func TestSeekable(t *testing.T) {
	t.Parallel()
	img := testImage[:1<<20+777]
	for _, checksums := range []bool{false, true} {
		file := seekable(t, img, 100_000, checksums)
		if got := imgtest.Pipe(t, file, "zstd", "-dc"); !bytes.Equal(got, img) {
			t.Fatal("zstd unpacks the file of this test to something else")
		}
		path := imgtest.Write(t, "a.img.zst", file)
		cache := t.TempDir()
		for _, memory := range []int64{0, 1} {
			m := opened(t, path, Options{CacheDir: cache, Memory: memory})
			if p := m.Packing(); p.Kind != KindZstd || p.Unpacked != "" || p.Detail != "11 frames, with a seek table" {
				t.Errorf("packing is %+v", p)
			}
			compare(t, m, img)
			for _, c := range [][2]int{{0, len(img)}, {150_000, 200_000}, {len(img) - 5, 5}} {
				p := make([]byte, c[1])
				zero, err := m.ReadOnce(context.Background(), p, int64(c[0]))
				if err != nil || !zero && !bytes.Equal(p, img[c[0]:c[0]+c[1]]) || zero && !isZero(img[c[0]:c[0]+c[1]]) {
					t.Errorf("%d bytes at %d: other bytes (zero: %v), error %v", c[1], c[0], zero, err)
				}
			}
		}
		if files := leftover(t, cache); files != nil {
			t.Errorf("left in the cache: %q", files)
		}
	}

	// A table that is none, or too much for it, is passed over: the file is unpacked.
	file := seekable(t, img, 100_000, false)
	for name, change := range map[string]func(p []byte){
		"another magic": func(p []byte) { p[len(p)-1]++ },
		"unknown flags": func(p []byte) { p[len(p)-5] |= 4 },
		"a wrong size":  func(p []byte) { p[len(p)-9-11*8]++ },
		"huge frames":   func(p []byte) { p[len(p)-9-1]++ },
	} {
		bad := bytes.Clone(file)
		change(bad)
		m := opened(t, imgtest.Write(t, "a.img.zst", bad), Options{})
		if m.Packing().Unpacked == "" {
			t.Errorf("%s: packing is %+v", name, m.Packing())
		}
		compare(t, m, img)
	}
	// One that lies about what is in a frame is found out.
	for entry, checksums := range map[int]bool{8: false, 12: true} {
		bad := seekable(t, img, 100_000, checksums)
		bad[len(bad)-9-11*entry+4]--
		err := readAll(imgtest.Write(t, "a.img.zst", bad), Options{})
		if err == nil || !strings.Contains(err.Error(), "frame 0 at byte 0") {
			t.Errorf("a wrong table: error is %v", err)
		}
	}
}

// TestSharedError has several read the same damaged frame: the race detector sees whether
// one changes the error that another has got.
func TestSharedError(t *testing.T) {
	t.Parallel()
	file := seekable(t, imgtest.Image(200_000, 11), 64<<10, false)
	for i := range 1000 {
		file[len(file)/2+i] ^= 0x55 // in the second frame
	}
	m := opened(t, imgtest.Write(t, "a.img.zst", file), Options{Again: "build it again"})
	for range 20 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_, err := m.ReadAt(make([]byte, 10), 100<<10)
				if !errors.Is(err, ErrCorrupt) || !strings.HasPrefix(err.Error(), m.path) || !strings.HasSuffix(err.Error(), "; build it again") {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
	}
}

func TestAgain(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.Context(), imgtest.Write(t, "a.img", nil), Options{Again: "build it again"}); err == nil || !strings.HasSuffix(err.Error(), "empty; build it again") {
		t.Errorf("got %v", err)
	}
}

func TestBitFlipsSeekable(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(200_000, 11)
	file := seekable(t, img, 64<<10, false)
	n := int64(len(file))
	flip(t, file, img, []region{{"beginning", 0, 128}, {"middle", 128, n - 256}, {"table", n - 128, 128}}, true)
}

// FuzzSeekTable looks for files that make reading by a seek table fail badly.
func FuzzSeekTable(f *testing.F) {
	f.Add([]byte{}, []byte{0, 0, 0, 0, 0, 0xb1, 0xea, 0x92, 0x8f})
	f.Fuzz(func(t *testing.T, frames, table []byte) {
		file := append(bytes.Clone(frames), table...)
		path := imgtest.Write(t, "a.zst", file)
		r, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		all, err := seekTable(r, int64(len(file)))
		if err != nil || all == nil {
			return
		}
		c, err := newZstdContent(r, all, &Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.scan(context.Background(), func(Chunk) error { return nil })
	})
}
