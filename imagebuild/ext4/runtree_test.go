package ext4

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// checkTree fails unless the tree is as one on disk must be.
func checkTree(t failer, tree *runTree) {
	t.Helper()
	var walk func(n *runNode)
	walk = func(n *runNode) {
		room := tree.room
		if n == tree.root {
			room = tree.rootRoom
		}
		if n.size() > room || n.size() == 0 && n != tree.root || n.gone || n.level > 0 && n.runs != nil || n.level == 0 && n.kids != nil {
			t.Errorf("a node of level %d with %d runs and %d nodes below, gone %v", n.level, len(n.runs), len(n.kids), n.gone)
		}
		for _, k := range n.kids {
			if k.level != n.level-1 {
				t.Errorf("level %d below level %d", k.level, n.level)
			}
			walk(k)
		}
	}
	walk(tree.root)
	end := uint32(0)
	for r := range tree.all() {
		if r.logical < end || r.count == 0 {
			t.Errorf("run %+v after block %d", r, end)
		}
		end = r.end()
	}
}

// TestRunTree compares trees of small nodes with an array of blocks.
func TestRunTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			growTree(t)
		}
	})
}

func growTree(t *rapid.T) {
	const blocks = 600
	tree := runTree{rootRoom: 4, room: rapid.IntRange(5, 9).Draw(t, "room"), most: 50, mostUnw: 40}
	tree.root = &runNode{}
	model := [blocks]run{} // of one block each
	next := uint64(1000)
	for range rapid.IntRange(1, 400).Draw(t, "operations") {
		from := rapid.Uint32Range(0, blocks-1).Draw(t, "from")
		to := min(blocks, from+rapid.OneOf(rapid.Uint32Range(1, 3), rapid.Uint32Range(1, blocks)).Draw(t, "length"))
		switch rapid.IntRange(0, 5).Draw(t, "what") {
		case 0:
			want := 0
			for l := from; l < to; l++ {
				if model[l].count > 0 {
					want++
				}
				model[l] = run{}
			}
			got := 0
			for _, r := range tree.cut(from, to) {
				got += int(r.count)
			}
			if got != want {
				t.Fatalf("cut [%d,%d): %d blocks, want %d", from, to, got, want)
			}
		case 1:
			tree.pack()
			if tree.loose() {
				t.Fatal("a packed tree is loose")
			}
		default:
			for from < to && model[from].count > 0 {
				from++
			}
			n := uint32(0)
			for from+n < to && model[from+n].count == 0 && n < 40 {
				n++
			}
			if n == 0 {
				continue
			}
			if rapid.Bool().Draw(t, "gap") {
				next += 7
			}
			r := run{from, n, next, rapid.IntRange(0, 3).Draw(t, "unwritten") == 0}
			next += uint64(n)
			for i := range n {
				model[from+i] = run{from + i, 1, r.phys + uint64(i), r.unwritten}
			}
			tree.insert(r)
		}
		checkTree(t, &tree)
	}
	var got []run
	for r := range tree.all() {
		for i := range r.count {
			got = append(got, run{r.logical + i, 1, r.phys + uint64(i), r.unwritten})
		}
	}
	want := slices.DeleteFunc(slices.Clone(model[:]), func(r run) bool { return r.count == 0 })
	if !slices.Equal(got, want) {
		t.Fatalf("%v\nwant %v", got, want)
	}
	for l := range uint32(blocks) {
		after := slices.IndexFunc(want, func(r run) bool { return r.logical >= l })
		if r, ok := tree.root.after(l); ok != (after >= 0) || ok && max(r.logical, l) != want[after].logical {
			t.Fatalf("after %d: %+v, %v", l, r, ok)
		}
		if r, ok := tree.root.before(l); ok && r.end() > l {
			t.Fatalf("before %d: %+v", l, r)
		}
	}
}
