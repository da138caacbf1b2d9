package raspios

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/piimg/piimg/imagebuild/secrets"
)

// counted counts what a file system is asked.
type counted struct {
	fstest.MapFS
	asked map[string]int
}

func (c counted) Open(name string) (fs.File, error) {
	c.asked["open "+name]++
	return c.MapFS.Open(name)
}

func (c counted) Lstat(name string) (fs.FileInfo, error) {
	c.asked["lstat "+name]++
	return c.MapFS.Lstat(name)
}

// A memo is the file system it remembers, and asks it once.
func TestMemo(t *testing.T) {
	base := counted{fstest.MapFS{
		"etc/hostname": {Data: []byte("raspberrypi\n"), Mode: 0o644},
		"etc/link":     {Data: []byte("hostname"), Mode: fs.ModeSymlink | 0o777},
		"empty":        {Mode: fs.ModeDir | 0o755},
	}, map[string]int{}}
	m := newMemo(base)
	if err := fstest.TestFS(m, "etc/hostname", "etc/link"); err != nil {
		t.Error(err)
	}
	for range 3 {
		b, err := fs.ReadFile(m, "etc/hostname")
		if err != nil || string(b) != "raspberrypi\n" {
			t.Errorf("%q %v", b, err)
		}
		if len(b) > 0 {
			b[0] = 'X' // which is the caller's
		}
		if target, err := m.ReadLink("etc/link"); err != nil || target != "hostname" {
			t.Errorf("%q %v", target, err)
		}
		if _, err := m.Lstat("nothing"); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	if n := base.asked["lstat nothing"]; n != 1 {
		t.Errorf("asked %d times for what is not there", n)
	}
	if n := base.asked["open etc/hostname"]; n != 1 {
		t.Errorf("opened a file %d times", n)
	}
}

// Plans that are made with what they share are those that are made without, also the
// second time.
func TestSharedChangesNothing(t *testing.T) {
	i := loadImage(t, "bookworm")
	c := config()
	facts, err := Detect(i.boot, i.root)
	if err != nil {
		t.Fatal(err)
	}
	all := NewShared(c, i.boot, i.root)
	for range 2 {
		for _, n := range c.Nodes {
			in := Input{Config: c, Node: n, Facts: facts, Boot: i.boot, Root: i.root, Secrets: secrets.Placeholder("villagers"), Time: buildTime}
			want, err := Plan(in)
			if err != nil {
				t.Fatal(err)
			}
			in.Shared = all
			got, err := Plan(in)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Edits) != len(want.Edits) || fmt.Sprint(got.Notices) != fmt.Sprint(want.Notices) {
				t.Fatalf("%s: %d edits, want %d", n.Hostname, len(got.Edits), len(want.Edits))
			}
			for k, e := range got.Edits {
				if !e.Same(want.Edits[k]) || e.Why != want.Edits[k].Why {
					t.Errorf("%s: %v is another", n.Hostname, e)
				}
			}
		}
	}
}

// A file of the host is read once for all nodes: they get the same of it, whatever
// happens to it meanwhile.
func TestSharedFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(name, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewShared(config(), nil, nil)
	for range 2 {
		content, source, err := s.load(name, openHost(name))
		if err != nil || source != nil || string(content) != "first" {
			t.Errorf("%q %v %v", content, source, err)
		}
		if err := os.WriteFile(name, []byte("second"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = NewShared(config(), nil, nil)
	s.room = 3 // what does not fit is read anew
	if content, _, err := s.load(name, openHost(name)); err != nil || string(content) != "second" || len(s.files) != 0 {
		t.Errorf("%q %v", content, err)
	}
	if _, _, err := s.load(name+"x", openHost(name+"x")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
