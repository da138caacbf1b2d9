package ext4

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestGrowModel grows file systems of every kind by random steps, with random
// operations in between, against the model.
func TestGrowModel(t *testing.T) {
	all := slices.Concat(growLayouts(), combinations())
	base := t.TempDir()
	if err := os.WriteFile(filepath.Join(base, "file"), noise(3000, 1), 0o644); err != nil {
		t.Fatal(err)
	}
	var n tally
	t.Run("shards", func(t *testing.T) {
		for i := range 10 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				rapid.Check(t, func(rt *rapid.T) {
					rapid.SliceOfN(rapid.Byte(), i, i).Draw(rt, "salt")
					l := all[rapid.IntRange(0, len(all)-1).Draw(rt, "layout")]
					rt.Log(l.name)
					s := &session{t: rt, tb: t, img: mkfs(t, l, base)}
					defer os.Remove(s.img)
					if err := os.Truncate(s.img, 4<<30); err != nil {
						rt.Fatal(err)
					}
					s.runGrowing()
					s.judge(false, &n)
				})
			})
		}
	})
	t.Logf("%d steps, %d operations in %d sequences", n.steps.Load(), n.calls.Load(), n.sequences.Load())
}

func (s *session) runGrowing() {
	s.open()
	var err error
	if s.m, err = load(s.f); err != nil {
		s.t.Fatal(err)
	}
	kinds := []func(){s.put, s.put, s.openLater, s.use, s.use, s.mkdir, s.symlink, s.remove, s.rename, s.link, s.crowd, s.sync, s.reopen, s.fill, s.identify}
	for range s.number("rounds", 1, 5) {
		for range s.number("steps", 0, 15) {
			kinds[s.number("kind", 0, len(kinds)-1)]()
			s.steps++
		}
		s.growStep()
	}
	for range s.number("steps", 0, 15) {
		kinds[s.number("kind", 0, len(kinds)-1)]()
		s.steps++
	}
}

// growStep grows the file system by some blocks, some groups, or much.
func (s *session) growStep() {
	before := s.f.Info()
	sb := *s.f.sb
	more := rapid.OneOf(
		rapid.IntRange(0, 400),
		rapid.Map(rapid.IntRange(1, 3), func(n int) int { return n * int(sb.blocksPerGroup) }),
		rapid.IntRange(0, 40*int(sb.blocksPerGroup)),
		rapid.IntRange(0, 300<<20/sb.blockSize),
	).Draw(s.t, "more")
	blocks := min(sb.blocks+uint64(more), 4<<30/uint64(sb.blockSize))
	size := int64(sb.bytes(blocks)) + int64(s.number("bytes", 0, sb.blockSize-1))
	if err := s.f.Grow(min(size, 4<<30)); err != nil {
		s.t.Fatalf("grow %d blocks to %d: %v", sb.blocks, blocks, err)
	}
	s.calls++
	after := s.f.Info()
	least := uint64(sb.inodeTableBlocks()+sb.reservedGDT+s.f.sb.descBlocks()) + 4 + leastSpare // at most, in a last group
	if after.Blocks > blocks || after.Blocks+least < blocks || after.FreeBlocks < before.FreeBlocks || after.FreeInodes < before.FreeInodes {
		s.t.Fatalf("grown to %d blocks: %+v, before %+v", blocks, after, before)
	}
	// What was written is the same as what is remembered.
	p, err := s.f.super()
	if err != nil {
		s.t.Fatal(err)
	}
	if again, err := parseSuperblock(p, 4<<30); err != nil || *again != *s.f.sb {
		s.t.Fatalf("%+v, %v, want %+v", again, err, *s.f.sb)
	}
	if err := s.m.compare(s.f, sb.inodeSize); err != nil {
		s.t.Fatal(err)
	}
}
