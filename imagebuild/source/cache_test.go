package source

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/hostfile"
	"github.com/piimg/piimg/imagebuild/source/internal/imgtest"
)

// aged makes a file of the cache folder that was last used some days ago.
func aged(t *testing.T, root, name string, size, days int) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o600); err != nil {
		t.Fatal(err)
	}
	when := time.Now().AddDate(0, 0, -days)
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

// names returns what entries there are, by what is unlike in their paths.
func entryNames(root string, all []CacheEntry) (names []string) {
	for _, c := range all {
		rel, _ := filepath.Rel(root, c.Path)
		names = append(names, c.Kind+" "+strings.TrimLeft(filepath.ToSlash(rel), "abcdefghijklmnopqrstuvwxyz/")[:1]+" "+c.Name)
	}
	return names
}

func TestCache(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	o := Options{CacheDir: root}
	if all, err := ListCache(Options{CacheDir: filepath.Join(root, "none")}); all != nil || err != nil {
		t.Errorf("no cache folder: %v, %v", all, err)
	}
	one, two, three, four := strings.Repeat("1", 64), strings.Repeat("2", 64), strings.Repeat("3", 64), strings.Repeat("4", 64)
	const mb = 1 << 20
	aged(t, root, "downloads/"+one+"-pi.zip", mb, 50)
	aged(t, root, "downloads/"+four+".part", mb, 45)
	aged(t, root, "downloads/"+four+".part.json", 10, 45)
	aged(t, root, "unpacked/"+one+".img", mb, 40)
	aged(t, root, "unpacked/"+one+".json", 10, 40)
	aged(t, root, "unpacked/"+two+".img", 3*mb, 20)
	aged(t, root, "unpacked/"+two+".json", 10, 20)
	aged(t, root, "packed/"+three+"-1.img.xz", 2*mb, 10)
	aged(t, root, "packed/"+one+"-1.img.xz", mb, 60)
	aged(t, root, "packed/"+one+"-1.img.xz.lock", 0, 60)
	aged(t, root, "unpacked/mine.img", mb, 90)
	aged(t, root, "mine", mb, 90)

	all, err := ListCache(o)
	want := []string{"packed 1 pi.zip", "download 1 pi.zip", "unfinished 4 ", "unpacked 1 pi.zip", "unpacked 2 ", "packed 3 "}
	if got := entryNames(root, all); err != nil || !slices.Equal(got, want) {
		t.Fatalf("the cache has %q, want %q; error %v", got, want, err)
	}
	if all[4].Size < 3*mb || all[4].Size > 3*mb+1<<16 || all[4].SHA256 != two {
		t.Errorf("entry is %+v", all[4])
	}

	// One is being used, one being made.
	user, err := os.Open(filepath.Join(root, "packed", one+"-1.img.xz"))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := hostfile.TryShare(user); !ok || err != nil {
		t.Fatal(ok, err)
	}
	unlock, err := o.lock(context.Background(), filepath.Join(root, "downloads", four+".lock"), "")
	if err != nil {
		t.Fatal(err)
	}
	month := Pruning{Before: time.Now().AddDate(0, 0, -30), MaxSize: -1}
	for _, dry := range []bool{true, false} {
		month.DryRun = dry
		removed, err := PruneCache(o, month)
		if got := entryNames(root, removed); err != nil || !slices.Equal(got, []string{"download 1 pi.zip", "unpacked 1 pi.zip"}) {
			t.Errorf("removed %q, error %v", got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "unpacked", one+".json")); err == nil {
		t.Error("the description of an image is left behind")
	}
	unlock()
	user.Close()

	removed, err := PruneCache(o, Pruning{MaxSize: 2*mb + 1<<16})
	if got := entryNames(root, removed); err != nil || !slices.Equal(got, []string{"packed 1 ", "unfinished 4 ", "unpacked 2 "}) {
		t.Errorf("removed %q, error %v", got, err)
	}
	var left []string
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".lock") {
			left = append(left, filepath.Base(path))
		}
		return err
	})
	if err != nil || !slices.Equal(left, []string{"mine", three + "-1.img.xz", "mine.img"}) {
		t.Errorf("left are %q, error %v", left, err)
	}
}

// What an open image is read from is kept, and counts as used.
func TestCacheInUse(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := imgtest.Write(t, "a.img.gz", imgtest.Pipe(t, testImage, "gzip", "-c"))
	m, err := Open(context.Background(), path, Options{CacheDir: root})
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().AddDate(-1, 0, 0)
	if err := os.Chtimes(m.Packing().Unpacked, long, long); err != nil {
		t.Fatal(err)
	}
	all := Pruning{Before: time.Now().Add(time.Hour), MaxSize: -1}
	if removed, err := PruneCache(Options{CacheDir: root}, all); len(removed) > 0 || err != nil {
		t.Errorf("removed %v, error %v", removed, err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if m, err = Open(context.Background(), path, Options{CacheDir: root}); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := ListCache(Options{CacheDir: root})
	if err != nil || len(entries) != 1 || time.Since(entries[0].Used) > time.Hour || entries[0].Size > int64(len(testImage)) {
		t.Errorf("the cache has %+v, error %v", entries, err)
	}
	if removed, err := PruneCache(Options{CacheDir: root}, all); len(removed) != 1 || err != nil {
		t.Errorf("removed %v, error %v", removed, err)
	}
	compare(t, opened(t, path, Options{CacheDir: root}), testImage) // and it is made again
}

// Several who prune at once each tell what they removed themselves, and nobody's work
// is an error to another.
func TestPruneAtOnce(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	const n = 100
	for i := range n {
		aged(t, root, fmt.Sprintf("unpacked/%064x.img", i), 1, 1)
	}
	var removed atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			gone, err := PruneCache(Options{CacheDir: root}, Pruning{Before: time.Now(), MaxSize: -1})
			if err != nil {
				t.Error(err)
			}
			removed.Add(int32(len(gone)))
		})
	}
	wg.Wait()
	if left, err := ListCache(Options{CacheDir: root}); len(left) > 0 || err != nil || removed.Load() != n {
		t.Errorf("%d of %d were removed, %v are left, error %v", removed.Load(), n, left, err)
	}
}
