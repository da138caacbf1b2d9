package ext4

import (
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// TestMain sets how many sequences the property test runs on each layout:
// EXT4_TEST_CHECKS, or a few. EXT4_TEST_SEED chooses others than those of every run; 0 is a new seed each time.
func TestMain(m *testing.M) {
	checks := os.Getenv("EXT4_TEST_CHECKS")
	if checks == "" {
		checks = "2"
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

// tally counts what the property test did.
type tally struct {
	sequences, steps, calls, refused, full, mounted atomic.Int64
}

// TestModel runs random operations against a model, on every layout, and asks
// e2fsck, debugfs and (as root) the kernel about the result.
func TestModel(t *testing.T) {
	// go test caches by the variables that a test reads, not TestMain.
	t.Logf("EXT4_TEST_SEED=%s EXT4_TEST_CHECKS=%s", os.Getenv("EXT4_TEST_SEED"), os.Getenv("EXT4_TEST_CHECKS"))
	base := t.TempDir()
	if err := os.Mkdir(filepath.Join(base, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base, "dir/file"), noise(3000, 1), 0o644); err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(layouts(), combinations())
	var n tally
	t.Run("layouts", func(t *testing.T) {
		for i, l := range all {
			t.Run(l.name, func(t *testing.T) {
				t.Parallel()
				img := mkfs(t, l, base)
				first := true
				rapid.Check(t, func(rt *rapid.T) {
					// Other draws than for the layout before, though the seed is the same.
					rapid.SliceOfN(rapid.Byte(), i, i).Draw(rt, "salt")
					s := &session{t: rt, tb: t, img: filepath.Join(t.TempDir(), "copy.img")}
					runTool(t, "cp", "--sparse=always", img, s.img)
					defer os.Remove(s.img)
					s.run()
					s.judge(first, &n)
					first = false
				})
			})
		}
	})
	t.Logf("%d steps (%d operations, %d refused, %d without space) in %d sequences on %d layouts; the kernel mounted %d",
		n.steps.Load(), n.calls.Load(), n.refused.Load(), n.full.Load(), n.sequences.Load(), len(all), n.mounted.Load())
}

// run draws a sequence of operations and runs them.
func (s *session) run() {
	s.open()
	var err error
	if s.m, err = load(s.f); err != nil {
		s.t.Fatal(err)
	}
	s.large = s.oneIn(3, "large")
	kinds := []func(){
		s.put, s.put, s.put, s.openLater, s.openLater, s.use, s.use, s.use, s.use, s.mkdir, s.symlink, s.mknod,
		s.remove, s.remove, s.remove, s.rename, s.rename, s.link, s.chmod, s.chown, s.chtimes, s.setxattr, s.setxattr, s.removexattr,
		s.crowd, s.sync, s.reopen, s.fill,
	}
	if s.oneIn(4, "other") {
		kinds = append(kinds, s.grow, s.identify)
	}
	if rapid.Bool().Draw(s.t, "tight") {
		s.fill()
		kinds = append(kinds, s.fill, s.fill, s.fill)
	}
	s.steps = 100 + s.number("steps", 0, 80)
	for range s.steps {
		kinds[s.number("kind", 0, len(kinds)-1)]()
	}
}

// judge lets all who can read the file system say whether it is what the model has.
func (s *session) judge(mount bool, n *tally) {
	if err := s.m.compare(s.f, s.f.sb.inodeSize); err != nil {
		s.t.Fatal(err)
	}
	s.reopen()
	if err := s.m.compare(s.f, s.f.sb.inodeSize); err != nil {
		s.t.Fatalf("after it was opened again: %v", err)
	}
	s.fsck()
	if mount && s.mount() {
		n.mounted.Add(1)
	}
	if s.shorten() {
		s.reopen()
		s.fsck()
	}
	s.dump()
	n.sequences.Add(1)
	n.steps.Add(int64(s.steps))
	n.calls.Add(int64(s.calls))
	n.refused.Add(int64(s.refused))
	n.full.Add(int64(s.full))
}

func (s *session) fsck() {
	if out, err := fsckOutput(s.tb, s.img); err != nil {
		s.t.Fatalf("e2fsck: %v\n%s", err, out)
	}
}

// mount compares what the kernel reads with the model, where it can.
func (s *session) mount() bool {
	if os.Geteuid() != 0 {
		return false
	}
	dir := s.tb.TempDir()
	if exec.Command("mount", "-t", "ext4", "-o", "ro,loop", s.img, dir).Run() != nil {
		return false // blocks larger than a page, mostly
	}
	defer unmount(s.tb, dir)
	if err := s.m.compareHost(dir, true); err != nil {
		s.t.Fatalf("the kernel reads %v", err)
	}
	return true
}

// shorten cuts files of gigabytes, whose holes debugfs would write out, and
// those with many names, which it would copy as often.
func (s *session) shorten() (done bool) {
	for _, name := range slices.Sorted(maps.Keys(s.m)) {
		th := s.m[name]
		if !th.isFile() || th.content.size*int64(th.names) <= maxWhole {
			continue
		}
		h := s.openFile(name, os.O_RDWR)
		size := min(th.content.size, 1<<20) / int64(th.names)
		s.do("shorten", 0, func() { th.content.truncate(size); th.mtime = testTime() }, nil,
			func() error { return h.file.Truncate(size) })
		done = true
	}
	return done
}

// dump compares what debugfs copies out of the image with the model.
func (s *session) dump() {
	dir, err := os.MkdirTemp(s.tb.TempDir(), "dump")
	if err != nil {
		s.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if out, err := exec.Command(tooltest.Path(s.tb, "debugfs"), "-R", "rdump / "+strconv.Quote(dir), s.img).CombinedOutput(); err != nil {
		s.t.Fatalf("debugfs: %v\n%s", err, out)
	}
	if err := s.m.compareHost(dir, false); err != nil {
		s.t.Fatalf("debugfs reads %v", err)
	}
}
