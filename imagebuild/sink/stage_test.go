package sink

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Staged files appear together, under their names, and leave nothing else behind.
func TestStage(t *testing.T) {
	dir := t.TempDir()
	s, err := NewStage(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.img", "b.img", "given-up.img"} {
		if err := WriteFile(s.Path(name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if left := names(t, dir); len(left) != 1 || !strings.HasPrefix(left[0], ".piimg-") {
		t.Fatalf("before publishing, the folder holds %q", left)
	}
	if err := s.Publish([]string{"a.img", "b.img"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left := names(t, dir); !slices.Equal(left, []string{"a.img", "b.img"}) {
		t.Fatalf("the folder holds %q", left)
	}
}

// What a killed build left is removed; the stage of one under way is not, whatever
// is in it.
func TestRemoveStaleStages(t *testing.T) {
	dir := t.TempDir()
	live, err := NewStage(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if err := WriteFile(live.Path("a.img"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dead, err := NewStage(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(dead.Path("b.img"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dead.lock.Close() // as the system does when the process dies
	for _, name := range []string{".piimg-unborn.build", ".piimg-mine", ".piimg-odd.build"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".piimg-odd.build", "thesis"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := RemoveStale(dir); err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Base(live.dir), ".piimg-mine", ".piimg-odd.build"}
	slices.Sort(want)
	if left := names(t, dir); !slices.Equal(left, want) {
		t.Errorf("the folder holds %q, want %q", left, want)
	}
	if err := live.Publish([]string{"a.img"}); err != nil {
		t.Error(err)
	}
}

func TestFinal(t *testing.T) {
	for path, want := range map[string]string{
		"dist/.piimg-123.build/a.img": "dist/a.img", ".piimg-1.build/a.img": "a.img", "dist/a.img": "dist/a.img", "a.img": "a.img",
	} {
		if got := final(filepath.FromSlash(path)); got != filepath.FromSlash(want) {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// Builds that write to one folder at once lose none of each other's checksums.
func TestUpdatedSumsAtOnce(t *testing.T) {
	dir := t.TempDir()
	const n = 40
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			path := filepath.Join(dir, fmt.Sprintf("w%02d.img", i))
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Error(err)
			}
			unlock, err := Lock(t.Context(), dir, func() {})
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			sums, err := UpdatedSums(dir, []Result{{Path: path, SHA256: sha256.Sum256(nil)}})
			if err != nil {
				t.Error(err)
			}
			if err := WriteFile(filepath.Join(dir, SumsName), sums, 0o644); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	content, err := os.ReadFile(filepath.Join(dir, SumsName))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(content), "\n"); lines != n {
		t.Errorf("%d of %d lines are left:\n%s", lines, n, content)
	}
	if left := names(t, dir); len(left) != n+1 {
		t.Errorf("the folder holds %q", left)
	}
}
