package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/source/internal/imgtest"
)

// notices collects what Options.Notice is told.
type notices struct {
	mu   sync.Mutex
	text []string
}

func (n *notices) add(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text = append(n.text, s)
}

func (n *notices) count(part string) (k int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.text {
		if strings.Contains(s, part) {
			k++
		}
	}
	return k
}

// TestUnpackOnce opens one packed image several times at once.
func TestUnpackOnce(t *testing.T) {
	t.Parallel()
	path := packings(t)["img.gz"]
	var n notices
	o := Options{CacheDir: filepath.Join(t.TempDir(), "new"), Notice: n.add}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			m, err := Open(context.Background(), path, o)
			if err != nil {
				t.Error(err)
				return
			}
			defer m.Close()
			if err := m.Scan(context.Background(), func(Chunk) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if k := n.count("unpacking " + path + " into"); k != 1 {
		t.Errorf("unpacked %d times: %q", k, n.text)
	}
	st, err := os.Stat(o.CacheDir)
	if err != nil || st.Mode().Perm()&0o077 != 0 {
		t.Errorf("cache folder: %v, %v", st.Mode(), err)
	}
	if len(leftover(t, o.CacheDir)) != 2 {
		t.Errorf("in the cache folder: %q", leftover(t, o.CacheDir))
	}
}

// TestDamagedCopy changes the copy in the cache folder in every way.
func TestDamagedCopy(t *testing.T) {
	t.Parallel()
	path := packings(t)["img.gz"]
	dir := t.TempDir()
	var n notices
	o := Options{CacheDir: dir, Notice: n.add}
	m, err := Open(context.Background(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	copied := m.Packing().Unpacked
	info := strings.TrimSuffix(copied, ".img") + ".json"
	m.Close()
	edit := func(path string, fn func([]byte) []byte) {
		t.Helper()
		p, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, fn(p), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	// What can be seen at once is mended at once.
	for name, spoil := range map[string]func(){
		"shorter":         func() { edit(copied, func(p []byte) []byte { return p[:len(p)-1] }) },
		"longer":          func() { edit(copied, func(p []byte) []byte { return append(p, 0) }) },
		"gone":            func() { os.Remove(copied) },
		"no description":  func() { os.Remove(info) },
		"bad description": func() { edit(info, func(p []byte) []byte { return p[:len(p)/2] }) },
		"left behind by a process that was killed": func() {
			os.Remove(info)
			if err := os.WriteFile(strings.TrimSuffix(copied, ".img")+".part", make([]byte, 9<<20), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"other version": func() {
			edit(info, func(p []byte) []byte { return []byte(strings.Replace(string(p), `"version":1`, `"version":2`, 1)) })
		},
	} {
		spoil()
		m := opened(t, path, o)
		if string(scanned(t, m)) != string(testImage) {
			t.Errorf("%s: wrong bytes", name)
		}
	}
	if n.count("unpacking again") != 4 || n.count("once") != 8 {
		t.Errorf("notices: %q", n.text)
	}

	// A changed byte is noticed when it is read.
	for _, read := range []func(*Image) error{
		func(m *Image) error { return m.Scan(context.Background(), func(Chunk) error { return nil }) },
		func(m *Image) error { _, err := m.ReadAt(make([]byte, 1), chunkSize+10); return err },
	} {
		edit(copied, func(p []byte) []byte { p[chunkSize+4711] ^= 1; return p })
		m := opened(t, path, o)
		if _, err := m.ReadAt(make([]byte, 1), 10); err != nil {
			t.Errorf("elsewhere: %v", err)
		}
		if err := read(m); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "unpacked anew") {
			t.Errorf("error is %v", err)
		}
		m = opened(t, path, o)
		if string(scanned(t, m)) != string(testImage) {
			t.Error("wrong bytes")
		}
	}
}

func TestCacheFolderFails(t *testing.T) {
	t.Parallel()
	blocked := imgtest.Write(t, "file", []byte("not a folder"))
	files := packings(t)
	if _, err := Open(context.Background(), files["img.gz"], Options{CacheDir: blocked}); err == nil || !strings.Contains(err.Error(), "cache folder") {
		t.Errorf("error is %v", err)
	}
	// Without a cache folder, blocks are decoded again.
	m := opened(t, files["img.xz, blocks"], Options{CacheDir: blocked, Memory: 4 << 20, Workers: 1})
	compare(t, m, testImage)
}

func TestLockWaits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	var o Options
	unlock, err := o.lock(context.Background(), path, "at it")
	if err != nil {
		t.Fatal(err)
	}
	var n notices
	waits := 0
	o = Options{Notice: n.add, sleep: func(context.Context, time.Duration) error {
		if waits++; waits == 3 {
			unlock()
		}
		return nil
	}}
	unlock2, err := o.lock(context.Background(), path, "at it")
	if err != nil {
		t.Fatal(err)
	}
	if waits != 3 || n.count("another process is at it; waiting") != 1 {
		t.Errorf("%d waits, notices %q", waits, n.text)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o = Options{Notice: func(string) { cancel() }}
	if _, err := o.lock(ctx, path, "at it"); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	unlock2()
}

// An .xz file with filters before LZMA2 is unpacked, whatever its blocks' size.
func TestFilters(t *testing.T) {
	t.Parallel()
	var n notices
	m := opened(t, packings(t)["img.xz, filters"], Options{Notice: n.add})
	if m.XZ() != nil || m.Packing().Unpacked == "" || n.count("its blocks have the filters delta+x86+lzma2; it is unpacked once") != 1 {
		t.Errorf("packing is %+v, notices %q", m.Packing(), n.text)
	}
}
