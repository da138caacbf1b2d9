package ext4

import (
	"iter"
	"slices"
	"sort"
)

// run is a stretch of a file's blocks that lie next to each other.
type run struct {
	logical   uint32
	count     uint32
	phys      uint64
	unwritten bool // allocated, reads as zeros
}

func (r run) end() uint32 { return r.logical + r.count }

// runTree holds the runs of a file, by logical block and disjoint. Of a file
// with extents it has the nodes that the tree on disk has, and knows which of
// them an operation changed: the cost of a change is that of the nodes on one
// way from the root to a leaf. All of it is in memory, 24 bytes for each of
// the image's 12.
type runTree struct {
	root           *runNode
	rootRoom, room int    // most entries of the root, and of another node
	most, mostUnw  uint32 // blocks that a run, and an unwritten one, may have

	dirty   []*runNode // changed since the tree was stored, in the order of that
	dropped []uint64   // blocks of nodes that are not needed any more
}

// runNode is a node: a leaf, which has runs, or one above, which has nodes. Only the root may be empty.
type runNode struct {
	level uint8 // 0 of a leaf
	runs  []run
	kids  []*runNode
	blk   uint64 // where it is on disk; 0 of the root, and where it has no place yet
	dirty bool
	gone  bool
}

func (n *runNode) size() int { return len(n.runs) + len(n.kids) }

// first is the run that begins the node, which is not empty.
func (n *runNode) first() run {
	for n.level > 0 {
		n = n.kids[0]
	}
	return n.runs[0]
}

func (n *runNode) last() run {
	for n.level > 0 {
		n = n.kids[len(n.kids)-1]
	}
	return n.runs[len(n.runs)-1]
}

// child is the index of the node below that logical belongs to.
func (n *runNode) child(logical uint32) int {
	i := sort.Search(len(n.kids), func(i int) bool { return n.kids[i].first().logical > logical })
	return max(0, i-1)
}

// find is the index of the first run of a leaf that ends after logical.
func (n *runNode) find(logical uint32) int {
	return sort.Search(len(n.runs), func(i int) bool { return n.runs[i].end() > logical })
}

// after returns the first run that ends after logical.
func (n *runNode) after(logical uint32) (r run, ok bool) {
	if n.level == 0 {
		if i := n.find(logical); i < len(n.runs) {
			return n.runs[i], true
		}
		return run{}, false
	}
	i := n.child(logical)
	if r, ok = n.kids[i].after(logical); !ok && i+1 < len(n.kids) {
		return n.kids[i+1].first(), true
	}
	return r, ok
}

// before returns the last run that ends at logical or before.
func (n *runNode) before(logical uint32) (r run, ok bool) {
	if n.level == 0 {
		if i := n.find(logical); i > 0 {
			return n.runs[i-1], true
		}
		return run{}, false
	}
	i := n.child(logical)
	if r, ok = n.kids[i].before(logical); !ok && i > 0 {
		return n.kids[i-1].last(), true
	}
	return r, ok
}

// all yields every run, in order.
func (t *runTree) all() iter.Seq[run] {
	return func(yield func(run) bool) { t.root.each(yield) }
}

func (n *runNode) each(yield func(run) bool) bool {
	for _, r := range n.runs {
		if !yield(r) {
			return false
		}
	}
	for _, k := range n.kids {
		if !k.each(yield) {
			return false
		}
	}
	return true
}

func (t *runTree) touch(n *runNode) {
	if !n.dirty {
		n.dirty = true
		t.dirty = append(t.dirty, n)
	}
}

func (t *runTree) drop(n *runNode) {
	n.gone = true
	if n.blk != 0 {
		t.dropped = append(t.dropped, n.blk)
	}
}

// insert adds r, which must be a hole so far, and joins it with its neighbours
// in the same leaf where one run can hold both.
func (t *runTree) insert(r run) {
	t.insertInto(t.root, r)
	t.deepen()
}

// insertInto adds r below n, and returns the node that must follow n if it had to be split.
func (t *runTree) insertInto(n *runNode, r run) *runNode {
	t.touch(n)
	i := 0
	if n.level == 0 {
		i = n.find(r.logical)
		n.runs = slices.Insert(n.runs, i, r)
		if i+1 < len(n.runs) {
			t.join(n, i)
		}
		if i > 0 {
			t.join(n, i-1)
		}
	} else {
		i = n.child(r.logical)
		if next := t.insertInto(n.kids[i], r); next != nil {
			i++
			n.kids = slices.Insert(n.kids, i, next)
		}
	}
	if i == n.size()-1 {
		return t.split(n, i) // what is written from the beginning to the end fills its nodes
	}
	return t.split(n, n.size()/2)
}

func (t *runTree) join(n *runNode, i int) {
	a, b := n.runs[i], n.runs[i+1]
	most := t.most
	if a.unwritten {
		most = t.mostUnw
	}
	if a.end() == b.logical && a.phys+uint64(a.count) == b.phys && a.unwritten == b.unwritten &&
		uint64(a.count)+uint64(b.count) <= uint64(most) {
		n.runs[i].count += b.count
		n.runs = slices.Delete(n.runs, i+1, i+2)
	}
}

// split moves what n has from entry at on to a new node, if n has too much. The root grows otherwise.
func (t *runTree) split(n *runNode, at int) *runNode {
	if n == t.root || n.size() <= t.room {
		return nil
	}
	next := &runNode{level: n.level}
	if n.level == 0 {
		next.runs = slices.Clone(n.runs[at:])
		n.runs = slices.Delete(n.runs, at, len(n.runs))
	} else {
		next.kids = slices.Clone(n.kids[at:])
		n.kids = slices.Delete(n.kids, at, len(n.kids))
	}
	t.touch(n)
	t.touch(next)
	return next
}

// deepen moves what the root has to a node below it, if it has too much.
func (t *runTree) deepen() {
	if t.root.size() <= t.rootRoom {
		return
	}
	root := t.root
	below := &runNode{level: root.level, runs: root.runs, kids: root.kids}
	root.level, root.runs, root.kids = root.level+1, nil, []*runNode{below}
	t.touch(root)
	t.touch(below)
	if next := t.split(below, below.size()/2); next != nil {
		root.kids = append(root.kids, next)
	}
}

// cut takes [from, to) out of the tree and returns the runs that were there.
func (t *runTree) cut(from, to uint32) []run {
	var out []run
	t.cutFrom(t.root, from, to, &out)
	t.deepen()
	for root := t.root; root.level > 0; {
		if len(root.kids) == 0 {
			root.level, root.kids = 0, nil
			break
		}
		only := root.kids[0]
		if len(root.kids) > 1 || only.size() > t.rootRoom {
			break
		}
		t.touch(root)
		t.drop(only)
		root.level, root.runs, root.kids = only.level, only.runs, only.kids
	}
	return out
}

// cutFrom is cut below n. It returns the node that must follow n if n had to be split.
func (t *runTree) cutFrom(n *runNode, from, to uint32, out *[]run) *runNode {
	before := len(*out)
	if n.level == 0 {
		n.cut(from, to, out)
	} else {
		for i := n.child(from); i < len(n.kids) && n.kids[i].first().logical < to; i++ {
			next := t.cutFrom(n.kids[i], from, to, out)
			if n.kids[i].size() == 0 {
				t.drop(n.kids[i])
				n.kids = slices.Delete(n.kids, i, i+1)
				i--
			}
			if next != nil {
				i++
				n.kids = slices.Insert(n.kids, i, next)
			}
		}
	}
	if len(*out) > before {
		t.touch(n)
	}
	return t.split(n, n.size()/2)
}

// cut takes [from, to) out of a leaf.
func (n *runNode) cut(from, to uint32, out *[]run) {
	i := n.find(from)
	j := i
	var keep []run
	for ; j < len(n.runs) && n.runs[j].logical < to; j++ {
		r := n.runs[j]
		if r.logical < from {
			keep = append(keep, run{r.logical, from - r.logical, r.phys, r.unwritten})
		}
		lo, hi := max(r.logical, from), min(r.end(), to)
		*out = append(*out, run{lo, hi - lo, r.phys + uint64(lo-r.logical), r.unwritten})
		if r.end() > to {
			keep = append(keep, run{to, r.end() - to, r.phys + uint64(to-r.logical), r.unwritten})
		}
	}
	n.runs = slices.Replace(n.runs, i, j, keep...)
}

// settled forgets what was changed, once it is stored.
func (t *runTree) settled() {
	for _, n := range t.dirty {
		n.dirty = false
	}
	t.dirty, t.dropped = nil, nil
}
