package ext4

// loose says whether the tree has more nodes, or more levels, than e2fsck
// thinks it should: room for more than a node's entries on one level, or fewer
// entries on a level than there is room for above it.
func (t *runTree) loose() bool {
	entries, room := make([]int, t.root.level+1), make([]int, t.root.level+1) // by level
	t.root.tally(t, entries, room)
	for i := range entries {
		if room[i]-entries[i] > t.room {
			return true
		}
		for above := i + 1; above < len(room); above++ {
			if entries[i] < room[above] {
				return true
			}
		}
	}
	return false
}

func (n *runNode) tally(t *runTree, entries, room []int) {
	entries[n.level] += n.size()
	if n == t.root {
		room[n.level] += t.rootRoom
	} else {
		room[n.level] += t.room
	}
	for _, k := range n.kids {
		k.tally(t, entries, room)
	}
}

// pack rebuilds the tree with full nodes, in the blocks that it has.
func (t *runTree) pack() {
	leaf := &runNode{}
	for r := range t.all() {
		leaf.runs = append(leaf.runs, r)
		if n := len(leaf.runs); n > 1 {
			t.join(leaf, n-2)
		}
	}
	var places []uint64
	t.root.abandon(&places)
	root := t.root
	root.level, root.runs, root.kids = 0, leaf.runs, nil
	t.touch(root)
	for root.size() > t.rootRoom {
		var above []*runNode
		for n := root.size(); n > 0; n = root.size() {
			k := &runNode{level: root.level}
			if n = min(n, t.room); root.level == 0 {
				k.runs, root.runs = root.runs[:n:n], root.runs[n:]
			} else {
				k.kids, root.kids = root.kids[:n:n], root.kids[n:]
			}
			if len(places) > 0 {
				k.blk, places = places[0], places[1:]
			}
			t.touch(k)
			above = append(above, k)
		}
		root.level, root.runs, root.kids = root.level+1, nil, above
	}
	t.dropped = append(t.dropped, places...)
}

// abandon takes the blocks from all nodes below n, leaves first, as pack makes them.
func (n *runNode) abandon(places *[]uint64) {
	for _, k := range n.kids {
		k.abandon(places)
		if k.gone = true; k.blk != 0 {
			*places = append(*places, k.blk)
		}
	}
}
