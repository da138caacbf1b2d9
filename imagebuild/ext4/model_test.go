package ext4

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestMain sets how many sequences the property test runs on each layout:
// EXT4_TEST_CHECKS, or a few. EXT4_TEST_SEED chooses others than those of every run; 0 is a new seed each time.
func TestMain(m *testing.M) {
	checks := os.Getenv("EXT4_TEST_CHECKS")
	if checks == "" {
		checks = "5"
	}
	seed := os.Getenv("EXT4_TEST_SEED")
	if seed == "" {
		seed = "1"
	}
	for name, value := range map[string]string{
		"rapid.checks": checks, "rapid.seed": seed, "rapid.nofailfile": "true", "rapid.shrinktime": "10s",
	} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// thing is what the model has at an inode.
type thing struct {
	mode     fs.FileMode
	uid, gid int
	content  []byte // or the target of a symlink
	rdev     uint64
	mtime    time.Time
}

// model is a file system in memory: names lead to things, several to one where they are hard links.
type model map[string]*thing

func (m model) children(dir string) []string {
	var out []string
	for n := range m {
		if n != "." && path.Dir(n) == dir {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

func (m model) pick(t *rapid.T, label string, want func(*thing) bool) string {
	var names []string
	for n, th := range m {
		if want(th) {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return rapid.SampledFrom(names).Draw(t, label)
}

func isDir(t *thing) bool  { return t.mode.IsDir() }
func isFile(t *thing) bool { return t.mode.IsRegular() }
func isAny(*thing) bool    { return true }

// touchDir notes that a directory's content changed.
func (m model) touchDir(name string) { m[path.Dir(name)].mtime = testTime() }

// session runs operations on a file system and on the model side by side.
type session struct {
	t   *rapid.T
	tb  testing.TB
	img string
	f   *FS
	m   model
	ops int
}

func (s *session) open() {
	st, size := storage(s.tb, s.img)
	f, err := Open(st, 0, size, Options{Time: testTime()})
	if err != nil {
		s.t.Fatalf("open: %v", err)
	}
	s.f = f
}

func (s *session) want(err error, format string, args ...any) {
	s.ops++
	if err != nil {
		s.t.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

func (s *session) newName() string {
	dir := s.m.pick(s.t, "dir", isDir)
	base := rapid.OneOf(
		rapid.StringMatching(`[a-z]{1,12}`),
		rapid.SampledFrom([]string{strings.Repeat("n", 255), strings.Repeat("ü", 100), "\xff\xfe\x80name", "ein Ding.conf", "a"}),
		rapid.StringMatching(`[a-zé]{100,120}`),
	).Draw(s.t, "base")
	return path.Join(dir, base)
}

func (s *session) content() []byte {
	n := rapid.OneOf(rapid.IntRange(0, 5000), rapid.IntRange(0, 200), rapid.IntRange(0, 150000)).Draw(s.t, "size")
	return noise(n, rapid.Uint32().Draw(s.t, "seed"))
}

func (s *session) write() {
	name := s.newName()
	if rapid.Bool().Draw(s.t, "existing") {
		if n := s.m.pick(s.t, "file", isFile); n != "" {
			name = n
		}
	}
	content := s.content()
	err := tryPut(s.f, name, content)
	th := s.m[name]
	if th != nil && !isFile(th) {
		if th.mode.Type() != fs.ModeSymlink && err == nil {
			s.t.Fatalf("write %q: a %v was overwritten", name, th.mode)
		}
		if th.mode.Type() == fs.ModeSymlink && err == nil {
			s.t.Fatalf("write %q: the model's symlinks lead nowhere", name)
		}
		return
	}
	s.want(err, "write %q", name)
	if th == nil {
		th = &thing{mode: 0o644}
		s.m[name] = th
		s.m.touchDir(name)
	}
	th.content, th.mtime = content, testTime()
}

func (s *session) patch() {
	name := s.m.pick(s.t, "file", isFile)
	if name == "" {
		return
	}
	th := s.m[name]
	file, err := s.f.OpenFile(name, os.O_RDWR)
	s.want(err, "open %q", name)
	for range rapid.IntRange(1, 4).Draw(s.t, "patches") {
		if rapid.IntRange(0, 3).Draw(s.t, "kind") == 0 {
			n := rapid.IntRange(0, 200000).Draw(s.t, "length")
			s.want(file.(*File).Truncate(int64(n)), "truncate %q", name)
			th.content = append(bytes.Clone(th.content), make([]byte, max(0, n-len(th.content)))...)[:n]
			th.mtime = testTime()
			continue
		}
		off := rapid.IntRange(0, 300000).Draw(s.t, "offset")
		p := s.content()
		_, err := file.Seek(int64(off), io.SeekStart)
		s.want(err, "seek %q", name)
		_, err = file.Write(p)
		s.want(err, "write %q", name)
		if len(p) > 0 {
			th.content = append(bytes.Clone(th.content), make([]byte, max(0, off+len(p)-len(th.content)))...)
			copy(th.content[off:], p)
			th.mtime = testTime()
		}
	}
	s.want(file.Close(), "close %q", name)
}

func (s *session) mkdir() {
	name := s.newName()
	err := s.f.Mkdir(name)
	if s.m[name] != nil {
		if !errors.Is(err, fs.ErrExist) {
			s.t.Fatalf("mkdir %q, which exists: %v", name, err)
		}
		return
	}
	s.want(err, "mkdir %q", name)
	s.m[name] = &thing{mode: fs.ModeDir | 0o755, mtime: testTime()}
	s.m.touchDir(name)
}

func (s *session) symlink() {
	name := s.newName()
	target := "/nowhere/" + strings.Repeat("x", rapid.SampledFrom([]int{0, 1, 49, 50, 51, 52, 500, 1000}).Draw(s.t, "length"))
	err := s.f.Symlink(target, name)
	if s.m[name] != nil {
		if !errors.Is(err, fs.ErrExist) {
			s.t.Fatalf("symlink %q, which exists: %v", name, err)
		}
		return
	}
	s.want(err, "symlink %q", name)
	s.m[name] = &thing{mode: fs.ModeSymlink | 0o777, content: []byte(target), mtime: testTime()}
	s.m.touchDir(name)
}

func (s *session) remove() {
	name := s.m.pick(s.t, "name", isAny)
	if name == "." || name == "lost+found" {
		return
	}
	err := s.f.Remove(name)
	if isDir(s.m[name]) && len(s.m.children(name)) > 0 {
		if !errors.Is(err, errNotEmpty) {
			s.t.Fatalf("remove %q, which is not empty: %v", name, err)
		}
		return
	}
	s.want(err, "remove %q", name)
	delete(s.m, name)
	s.m.touchDir(name)
}

func (s *session) attributes() {
	name := s.m.pick(s.t, "name", isAny)
	th := s.m[name]
	if name == "." {
		return
	}
	uid, gid := rapid.IntRange(-1, 100000).Draw(s.t, "uid"), rapid.IntRange(-1, 100000).Draw(s.t, "gid")
	s.want(s.f.Lchown(name, uid, gid), "lchown %q", name)
	if uid >= 0 {
		th.uid = uid
	}
	if gid >= 0 {
		th.gid = gid
	}
	if th.mode.Type() == fs.ModeSymlink {
		return
	}
	mode := fs.FileMode(rapid.IntRange(0, 0o777).Draw(s.t, "mode"))
	if rapid.Bool().Draw(s.t, "setuid") {
		mode |= fs.ModeSetuid
	}
	s.want(s.f.Chmod(name, mode), "chmod %q", name)
	th.mode = th.mode.Type() | mode
	th.mtime = time.Unix(rapid.Int64Range(0, 1<<31-1).Draw(s.t, "mtime"), 0).UTC()
	s.want(s.f.Chtimes(name, th.mtime, th.mtime, th.mtime), "chtimes %q", name)
}

func (s *session) rename() {
	from, to := s.m.pick(s.t, "from", isAny), s.newName()
	if rapid.Bool().Draw(s.t, "existing") {
		to = s.m.pick(s.t, "to", isAny)
	}
	if from == "." || to == "." || from == "lost+found" || to == "lost+found" {
		return
	}
	a, b := s.m[from], s.m[to]
	err := s.f.Rename(from, to)
	var refuse bool
	switch {
	case isDir(a) && strings.HasPrefix(to+"/", from+"/") && from != to:
		refuse = true
	case b == nil || a == b:
	case isDir(a) != isDir(b), isDir(b) && len(s.m.children(to)) > 0:
		refuse = true
	}
	if refuse {
		if err == nil {
			s.t.Fatalf("rename %q to %q: done", from, to)
		}
		return
	}
	s.want(err, "rename %q to %q", from, to)
	if a == b {
		return
	}
	for _, n := range slices.Collect(maps.Keys(s.m)) {
		if n == from || strings.HasPrefix(n, from+"/") {
			th := s.m[n]
			delete(s.m, n)
			s.m[to+strings.TrimPrefix(n, from)] = th
		}
	}
	s.m.touchDir(from)
	s.m.touchDir(to)
}

func (s *session) link() {
	from := s.m.pick(s.t, "from", func(t *thing) bool { return !isDir(t) })
	to := s.newName()
	if from == "" {
		return
	}
	err := s.f.Link(from, to)
	if s.m[to] != nil {
		if !errors.Is(err, fs.ErrExist) {
			s.t.Fatalf("link %q, which exists: %v", to, err)
		}
		return
	}
	s.want(err, "link %q to %q", to, from)
	s.m[to] = s.m[from]
	s.m.touchDir(to)
}

func (s *session) mknod() {
	name := s.newName()
	if s.m[name] != nil {
		return
	}
	dev := rapid.SampledFrom([]uint64{0x103, makedev(8, 300), makedev(300, 5), makedev(0xFFF, 0xFFFFF)}).Draw(s.t, "dev")
	s.want(s.f.Mknod(name, modeBlock|0o640, int(dev)), "mknod %q", name)
	s.m[name] = &thing{mode: fs.ModeDevice | 0o640, rdev: dev, mtime: testTime()}
	s.m.touchDir(name)
}

// crowd adds and removes many entries of one directory, so that indexes come about and grow.
func (s *session) crowd() {
	dir := s.m.pick(s.t, "dir", isDir)
	n := rapid.IntRange(1, 120).Draw(s.t, "count")
	pad := strings.Repeat("p", rapid.IntRange(0, 200).Draw(s.t, "pad"))
	start := rapid.IntRange(0, 1000).Draw(s.t, "start")
	for i := range n {
		name := path.Join(dir, fmt.Sprintf("%d-%s", start+i, pad))
		if s.m[name] != nil {
			continue
		}
		s.want(s.f.Symlink("nowhere/t", name), "symlink %q", name)
		s.m[name] = &thing{mode: fs.ModeSymlink | 0o777, content: []byte("nowhere/t"), mtime: testTime()}
		s.m.touchDir(name)
	}
	kids := s.m.children(dir)
	for i := range rapid.IntRange(0, len(kids)).Draw(s.t, "removed") {
		if name := kids[i]; !isDir(s.m[name]) && i%3 != 0 {
			s.want(s.f.Remove(name), "remove %q", name)
			delete(s.m, name)
			s.m.touchDir(name)
		}
	}
}

func (s *session) reopen() {
	s.want(s.f.Close(), "close")
	s.open()
}

// compare checks that the file system holds what the model holds.
func (s *session) compare(f *FS) {
	have := map[string]bool{}
	err := fs.WalkDir(f, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		have[name] = true
		th := s.m[name]
		if th == nil {
			return fmt.Errorf("%q is there, but not in the model", name)
		}
		fi, err := f.Lstat(name)
		if err != nil {
			return err
		}
		st := fi.Sys().(*Stat)
		if name != "." && name != "lost+found" {
			if fi.Mode() != th.mode || st.UID != th.uid || st.GID != th.gid || st.Rdev != th.rdev {
				return fmt.Errorf("%q: %v %d:%d %#x, want %v %d:%d %#x", name, fi.Mode(), st.UID, st.GID, st.Rdev, th.mode, th.uid, th.gid, th.rdev)
			}
			if got := fi.ModTime().Truncate(time.Second); !got.Equal(th.mtime.Truncate(time.Second)) {
				return fmt.Errorf("%q: time %v, want %v", name, got, th.mtime)
			}
		}
		var got []byte
		switch {
		case fi.Mode().IsRegular():
			got, err = f.ReadFile(name)
		case fi.Mode().Type() == fs.ModeSymlink:
			var target string
			target, err = f.ReadLink(name)
			got = []byte(target)
		}
		if err == nil && !bytes.Equal(got, th.content) {
			err = fmt.Errorf("%q: content of %d bytes differs from the model's %d", name, len(got), len(th.content))
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for n := range s.m {
		if !have[n] {
			s.t.Fatalf("%q is in the model only", n)
		}
	}
}

// compareDump compares the model with what debugfs copies out of the image.
func (s *session) compareDump() {
	dir := s.tb.TempDir()
	defer os.RemoveAll(dir)
	out, err := exec.Command(tool(s.tb, "debugfs"), "-R", "rdump / "+dir, s.img).CombinedOutput()
	if err != nil {
		s.t.Fatalf("debugfs: %v\n%s", err, out)
	}
	for name, th := range s.m {
		p := filepath.Join(dir, name)
		var got []byte
		switch {
		case th.mode.IsRegular():
			got, err = os.ReadFile(p)
		case th.mode.Type() == fs.ModeSymlink:
			var target string
			target, err = os.Readlink(p)
			got = []byte(target)
		case th.mode.IsDir():
			_, err = os.Stat(p)
		default:
			continue
		}
		if err != nil || !bytes.Equal(got, th.content) {
			s.t.Fatalf("debugfs reads %q as %d bytes (%v), the model has %d", name, len(got), err, len(th.content))
		}
	}
}

// TestModel runs random operations against a model, on every layout, and asks
// e2fsck, debugfs and (as root) the kernel about the result.
func TestModel(t *testing.T) {
	base := t.TempDir()
	if err := os.Mkdir(filepath.Join(base, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	var total, sequences atomic.Int64
	t.Run("layouts", func(t *testing.T) {
		for _, l := range layouts() {
			t.Run(l.name, func(t *testing.T) {
				t.Parallel()
				img := mkfs(t, l, base)
				sequence := 0
				rapid.Check(t, func(rt *rapid.T) {
					s := &session{t: rt, tb: t, m: model{}}
					s.img = filepath.Join(t.TempDir(), strconv.Itoa(sequence)+".img")
					runTool(t, "cp", "--sparse=always", img, s.img)
					defer os.Remove(s.img)
					s.open()
					s.m["."] = &thing{mode: fs.ModeDir | 0o755}
					s.m["dir"] = &thing{mode: fs.ModeDir | 0o755}
					s.m["lost+found"] = &thing{mode: fs.ModeDir | 0o700}
					if fi, err := s.f.Stat("dir"); err == nil {
						s.m["dir"].mtime = fi.ModTime()
					}
					kinds := []func(){s.write, s.write, s.write, s.patch, s.patch, s.mkdir, s.symlink, s.remove, s.remove,
						s.attributes, s.rename, s.link, s.mknod, s.crowd, s.crowd, s.reopen}
					for range rapid.IntRange(10, 60).Draw(rt, "steps") {
						kinds[rapid.IntRange(0, len(kinds)-1).Draw(rt, "kind")]()
					}
					s.compare(s.f)
					s.want(s.f.Close(), "close")
					if out, err := fsckOutput(t, s.img); err != nil {
						rt.Fatalf("e2fsck: %v\n%s", err, out)
					}
					s.open()
					s.compare(s.f)
					s.compareDump()
					if sequence == 0 {
						mountAndCompare(t, s.f, "ro,loop", s.img, digest(t, s.f))
					}
					sequence++
					sequences.Add(1)
					total.Add(int64(s.ops))
				})
			})
		}
	})
	t.Logf("%d operations in %d sequences on %d layouts", total.Load(), sequences.Load(), len(layouts()))
}
