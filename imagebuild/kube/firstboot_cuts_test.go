//go:build linux

package kube

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// cuts is how many of the states that a loss of power can leave are tried of each
// phase and kind of node, evenly spread, as PIIMG_CUTS says: all of them take an hour
// of a processor. Unless it is set, some kinds are left out as well.
func cuts(t testing.TB) int {
	switch s := os.Getenv("PIIMG_CUTS"); s {
	case "":
		return 1
	case "all":
		return 1 << 30
	default:
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("PIIMG_CUTS is %q, neither a number nor all", s)
		}
		return n
	}
}

// phaseNames are the phases on the card, in their order.
func (n *node) phaseNames() []string {
	entries, err := os.ReadDir(n.path("usr/lib/piimg/phases"))
	must(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// until makes the first boot end after a phase: the others are put aside.
func (n *node) until(phase string) {
	from, aside := n.path("usr/lib/piimg/phases"), filepath.Join(n.dir, "phases")
	must(os.MkdirAll(aside, 0o755))
	for _, dir := range []string{from, aside} {
		entries, err := os.ReadDir(dir)
		must(err)
		for _, e := range entries {
			to := from
			if e.Name() > phase {
				to = aside
			}
			must(os.Rename(filepath.Join(dir, e.Name()), filepath.Join(to, e.Name())))
		}
	}
}

// state is all that a node is, as far as it matters: files, and what the models know.
func (n *node) state() map[string]string {
	all := n.tree()
	for _, name := range []string{
		// What has been reported, which differs with the number of attempts.
		"var/lib/piimg/status", "boot/firmware/piimg-status.txt", "boot/firmware/piimg-status.new", "var/lib/piimg/.status.new",
	} {
		delete(all, name)
	}
	for name := range all {
		if dir := filepath.Dir(name); dir == "usr/lib/piimg/phases" {
			delete(all, name)
		}
	}
	w := readWorld(n.dir)
	slices.Sort(w.Done)
	for name, v := range map[string]any{
		"units": w.Active, "enabled": w.Enable, "packages": w.Debs, "half-installed": w.Half + w.Unpacked + fmt.Sprint(w.Journal), "images": w.Images, "nodes": w.Nodes,
		"tokens": slices.Sorted(maps.Keys(w.Tokens)), "done": w.Done, "member": w.Member, "containerd": w.Config,
	} {
		data, err := json.Marshal(v)
		must(err)
		all["world: "+name] = string(data)
	}
	return all
}

// digest also has what is in memory, for states that a kill leaves.
func digest(all map[string]string) [32]byte {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(h, "%q %q\n", name, all[name])
	}
	return [32]byte(h.Sum(nil))
}

// TestPhasesTwice runs every phase a second time: it changes nothing.
func TestPhasesTwice(t *testing.T) {
	for _, k := range cardKinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, k)
			for _, phase := range n.phaseNames() {
				n.until(phase)
				n.boot()
				want := n.state()
				if out, err := n.run("usr/lib/piimg/phases/" + phase); err != nil {
					t.Fatalf("%s for the second time: %v\n%s", phase, err, out)
				}
				for _, d := range differences(n.state(), want) {
					t.Errorf("%s for the second time: %s", phase, d)
				}
				n.check()
			}
		})
	}
}

// TestPowerLost takes what is on the card at every moment at which the power may go,
// and boots from that: each phase ends as if nothing had been. Every other state is
// also what remains if the scripts are killed and started anew.
func TestPowerLost(t *testing.T) {
	for _, k := range cardKinds() {
		t.Run(k.name, func(t *testing.T) {
			if k.long && cuts(t) == 1 {
				t.Skip("it takes long: set PIIMG_CUTS to 2 or more")
			}
			t.Parallel()
			n := newNode(t, k)
			for _, phase := range n.phaseNames() {
				n.until(phase)
				left := n.left()
				want := n.state()
				step := max(1, len(left)/cuts(t))
				t.Logf("%s: %d states", phase, len(left))
				for i := step / 2; i < len(left); i += step {
					c := left[i]
					how := "the power went"
					if i%2 == 1 {
						how = "all was killed"
					} else {
						c.restart()
					}
					c.change(func(w *world) { w.Sleeps = nil })
					if out, err := c.run(firstboot); err != nil {
						t.Fatalf("%s: %s at state %d of %d: %v\n%s", phase, how, i, len(left), err, out)
					}
					c.check()
					for _, d := range differences(c.state(), want) {
						t.Errorf("%s: %s at state %d of %d: %s", phase, how, i, len(left), d)
					}
					if t.Failed() {
						t.Fatal(c.out.String())
					}
				}
				for _, c := range left {
					must(os.RemoveAll(c.dir))
				}
			}
		})
	}
}

// left boots the node and returns cards with all the different states that it was in.
func (n *node) left() []*node {
	var all []*node
	seen := map[[32]byte]bool{}
	last := ""
	n.moments(func(int) bool {
		if c := n.caught(&last, seen); c != nil {
			all = append(all, c)
		}
		return false
	}, firstboot)
	return all
}

// caught returns a copy of the card if it is in a state that was not seen before. The
// other half of a pipeline may be at work meanwhile, and files come and go: then there
// is no copy, and a later moment shows what it did.
func (n *node) caught(last *string, seen map[[32]byte]bool) (c *node) {
	defer func() {
		if r := recover(); r != nil {
			if err, ok := r.(error); !ok || !errors.Is(err, fs.ErrNotExist) {
				panic(r)
			}
			c = nil
		}
	}()
	now := n.signature()
	if now == *last {
		return nil
	}
	d := digest(n.state())
	if !seen[d] {
		c = n.copy(n.t)
	}
	if n.signature() != now {
		return nil
	}
	*last, seen[d] = now, true
	return c
}

// signature changes with every file of the node, and is cheaper than to read them.
func (n *node) signature() string {
	var b strings.Builder
	must(filepath.WalkDir(n.dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, name, info.Mode(), info.Size(), info.ModTime().UnixNano(), info.Sys().(*syscall.Stat_t).Ino)
		return nil
	}))
	return b.String()
}

// TestCutAgainAndAgain kills everything at moments drawn by lot, several times in a row.
func TestCutAgainAndAgain(t *testing.T) {
	for _, k := range cardKinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			first := newNode(t, k)
			reference := first.copy(t)
			moments := 0
			reference.moments(func(int) bool { moments++; return false }, firstboot)
			want := reference.state()
			for seed := range min(cuts(t), 20) {
				r := rand.New(rand.NewPCG(uint64(seed), 1))
				n := first.copy(t)
				for range 6 {
					at := r.IntN(moments)
					n.moments(func(count int) bool { return count == at }, firstboot)
					if r.IntN(2) == 0 {
						n.restart()
					}
				}
				n.change(func(w *world) { w.Sleeps = nil })
				n.boot()
				for _, d := range differences(n.state(), want) {
					t.Errorf("seed %d: %s", seed, d)
				}
				if t.Failed() {
					t.Fatal(n.out.String())
				}
			}
		})
	}
}
