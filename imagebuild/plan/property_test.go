package plan_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/plan/plantest"
	"pgregory.net/rapid"
)

// drawPath draws from few names, so that edits meet each other and the base.
func drawPath(t *rapid.T, label string) string {
	names := rapid.SampledFrom([]string{"a", "b", "c"})
	p := names.Draw(t, label)
	for range rapid.IntRange(0, 2).Draw(t, label+"-depth") {
		p += "/" + names.Draw(t, label)
	}
	return p
}

func drawEdit(t *rapid.T) plan.Edit {
	e := plan.Edit{Partition: plan.Root, Path: drawPath(t, "path")}
	e.Op = rapid.SampledFrom([]plan.Op{plan.Write, plan.Write, plan.Mkdir, plan.Symlink, plan.Remove, plan.Remove, plan.Rename}).Draw(t, "op")
	switch e.Op {
	case plan.Write, plan.Mkdir:
		e.Mode = 0o700
		if e.Op == plan.Write {
			e.Content = []byte{rapid.ByteRange('0', '2').Draw(t, "content")}
		}
	case plan.Symlink:
		e.Target = "/nowhere"
	case plan.Rename:
		e.From = drawPath(t, "from")
	}
	if rapid.IntRange(0, 5).Draw(t, "boot") == 0 {
		e.Partition = plan.Boot
	}
	return e
}

// drawEdits draws a valid plan by leaving out what does not fit.
func drawEdits(t *rapid.T, from []plan.Edit) []plan.Edit {
	var edits []plan.Edit
	for _, e := range from {
		if rapid.IntRange(0, 9).Draw(t, "keep") > 0 {
			edits = append(edits, e)
		}
	}
	for range rapid.IntRange(0, 6).Draw(t, "edits") {
		e := drawEdit(t)
		if next := plan.Merge(edits, []plan.Edit{e}); plan.Validate(next) == nil {
			edits = next
		}
	}
	return plan.Merge(edits)
}

func drawBase(t *rapid.T) (boot, root *plantest.FS) {
	boot, root = plantest.New(), plantest.New()
	boot.FAT = true
	for range rapid.IntRange(0, 6).Draw(t, "files") {
		e := plan.Edit{Partition: plan.Root, Op: plan.Write, Mode: 0o644, Path: drawPath(t, "base"), Content: []byte("base")}
		if rapid.Bool().Draw(t, "folder") {
			e.Op, e.Content, e.Mode = plan.Mkdir, nil, 0o755
		}
		if rapid.Bool().Draw(t, "fat") {
			e.Partition = plan.Boot
		}
		_ = plan.Apply(context.Background(), []plan.Edit{e}, boot, root) // what does not fit is left out
	}
	boot.Calls, root.Calls = nil, nil
	return boot, root
}

// Two steps leave the same as one.
func TestSplitThenApply(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		boot, root := drawBase(t)
		common := drawEdits(t, nil)
		plans := make([]plan.Plan, rapid.IntRange(1, 3).Draw(t, "nodes"))
		for i := range plans {
			plans[i] = plan.Plan{Node: fmt.Sprint(i), Edits: drawEdits(t, common)}
		}
		split := plan.Split(plans)
		shared, reserved := split.Shared(), split.Reserved()
		for _, p := range plans {
			boot1, root1 := boot.Clone(), root.Clone()
			if err := plan.Apply(ctx, p.Edits, boot1, root1); err != nil {
				continue // does not fit the base; nothing to compare with
			}
			if err := plan.Verify(ctx, p.Edits, boot1, root1); err != nil {
				t.Fatalf("verify: %v", err)
			}
			boot2, root2 := boot.Clone(), root.Clone()
			own, err := split.Own(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := plan.Apply(ctx, append(slices.Clip(shared), reserved...), boot2, root2); err != nil {
				t.Fatalf("shared: %v", err)
			}
			if err := plan.Apply(ctx, own, boot2, root2); err != nil {
				t.Fatalf("own: %v", err)
			}
			if a, b := boot1.Dump(false)+root1.Dump(false), boot2.Dump(false)+root2.Dump(false); a != b {
				t.Fatalf("one step:\n%s\ntwo steps:\n%s\nshared %v\nreserved %v\nown %v", a, b, shared, reserved, own)
			}
			if n := len(shared) + len(own); n != len(p.Edits) {
				t.Fatalf("%d edits became %d", len(p.Edits), n)
			}
		}
	})
}

// The order of the edits in a plan means nothing, and a second time changes
// nothing.
func TestApplyOrder(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		boot, root := drawBase(t)
		edits := drawEdits(t, nil)
		shuffled := rapid.Permutation(edits).Draw(t, "order")
		boot1, root1 := boot.Clone(), root.Clone()
		err := plan.Apply(ctx, edits, boot1, root1)
		err2 := plan.Apply(ctx, shuffled, boot, root)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("one order: %v, another: %v", err, err2)
		}
		if err != nil {
			return
		}
		if a, b := boot1.Dump(false)+root1.Dump(false), boot.Dump(false)+root.Dump(false); a != b {
			t.Fatalf("one order:\n%s\nanother:\n%s", a, b)
		}
		if slices.ContainsFunc(edits, func(e plan.Edit) bool { return e.Op == plan.Remove }) {
			return // what was written below a removed folder would lose its own kind of parents
		}
		if err := plan.Apply(ctx, edits, boot, root); err != nil {
			t.Fatalf("again: %v", err)
		}
		if a, b := root1.Dump(false), root.Dump(false); a != b {
			t.Fatalf("once:\n%s\ntwice:\n%s", a, b)
		}
	})
}
