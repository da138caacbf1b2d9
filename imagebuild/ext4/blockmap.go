package ext4

import (
	"cmp"
	"math"
	"slices"
)

// maxExtent and maxUnwritten are the longest runs that one extent describes.
const (
	maxExtent    = 32768
	maxUnwritten = 32767
	maxLogical   = math.MaxUint32 // file blocks are numbered below this
)

// blockMap says where the blocks of a file are: the decoded form of an extent
// tree or of indirect blocks. It is changed in memory, and stored as far as it
// was changed.
type blockMap struct {
	sb      *superblock
	extents bool
	tree    runTree
	total   uint64 // blocks of runs, as far as they were counted in loading
	loose   bool   // the tree has more nodes than it needs, and had so before it was changed
	changed bool   // since it was loaded, or packed

	// Of a file without extents: its indirect blocks, and those whose pointers,
	// or whose need, may have changed.
	pointers map[pointerKey]uint64
	touched  map[pointerKey]struct{}
}

// newBlockMap returns the map of a file without blocks.
func newBlockMap(sb *superblock, extents bool) *blockMap {
	m := &blockMap{sb: sb, extents: extents}
	if extents {
		m.tree = runTree{rootRoom: rootExtents, room: sb.nodeExtents(), most: maxExtent, mostUnw: maxUnwritten}
	} else {
		const room = 128 // these nodes are in memory only
		m.tree = runTree{rootRoom: room, room: room, most: maxLogical}
		m.pointers, m.touched = map[pointerKey]uint64{}, map[pointerKey]struct{}{}
	}
	m.tree.root = &runNode{}
	m.tree.touch(m.tree.root)
	return m
}

// blocks returns the map of the inode's blocks, which it loads at first use.
func (in *inode) blocks() (*blockMap, error) {
	if in.m != nil {
		return in.m, nil
	}
	if !in.hasMap() {
		return nil, corrupt("inode", in.ino, 0, "it has no blocks")
	}
	m := newBlockMap(in.fs.sb, in.has(flagExtents))
	var err error
	if m.extents {
		err = m.loadExtents(in)
	} else {
		err = m.loadIndirect(in)
	}
	if err != nil {
		return nil, err
	}
	m.tree.settled()
	m.loose = m.extents && m.tree.loose()
	if in.isDir() {
		if err := m.checkDisjoint(in); err != nil {
			return nil, err
		}
	}
	in.m = m
	if in.isDir() && in.fs.kept != nil {
		in.fs.kept[in.ino] = in
	}
	return m, nil
}

// checkDisjoint refuses a directory that has one block in two places: it could
// list more entries than the image has room for.
func (m *blockMap) checkDisjoint(in *inode) error {
	runs := slices.SortedFunc(m.tree.all(), func(a, b run) int { return cmp.Compare(a.phys, b.phys) })
	for i := 1; i < len(runs); i++ {
		if runs[i].phys < runs[i-1].phys+uint64(runs[i-1].count) {
			return corrupt("directory", in.ino, runs[i].phys, "it has the block in two places")
		}
	}
	return nil
}

// count accounts for n more blocks while a map is loaded: none has more than the file system.
func (m *blockMap) count(in *inode, n uint64) error {
	if m.total += n; m.total > m.sb.blocks {
		return corrupt("inode", in.ino, 0, "it has more blocks than the file system")
	}
	return nil
}

// lookup says where block logical is, and how many blocks from there on are
// alike. A hole has phys 0.
func (m *blockMap) lookup(logical uint32) run {
	r, ok := m.tree.root.after(logical)
	switch {
	case !ok:
		return run{logical: logical, count: maxLogical - logical}
	case r.logical > logical:
		return run{logical: logical, count: r.logical - logical}
	}
	d := logical - r.logical
	return run{logical, r.count - d, r.phys + uint64(d), r.unwritten}
}

// empty says whether the file has no blocks, unwritten ones included.
func (m *blockMap) empty() bool { return m.tree.root.size() == 0 }

// cut takes [from, to) out of the map and returns the runs that were there.
func (m *blockMap) cut(from, to uint32) []run {
	out := m.tree.cut(from, to)
	m.changed = m.changed || out != nil
	for _, r := range out {
		m.touchPointers(r)
	}
	return out
}

// insert adds r, which must be a hole so far.
func (m *blockMap) insert(r run) {
	m.tree.insert(r)
	m.changed = true
	m.touchPointers(r)
}

// pack sees to it that an extent tree that was changed has no more nodes than
// it needs. A tree that the kernel left with more stays as it is.
func (m *blockMap) pack() {
	if m.changed && m.extents && !m.loose && m.tree.loose() {
		m.tree.pack()
	}
	m.changed = false
}

// store writes to the inode, and to the blocks that the map needs for itself,
// what was changed since the last time. The inode is not written.
func (m *blockMap) store(in *inode) error {
	var err error
	if m.extents {
		err = m.storeExtents(in)
	} else {
		err = m.storeIndirect(in)
	}
	if err == nil {
		m.tree.settled()
	}
	return err
}

// newNode allocates a block for the map itself.
func (m *blockMap) newNode(in *inode) (uint64, error) {
	blk, _, err := in.fs.allocate(0, in.home(), 1)
	if err != nil {
		return 0, err
	}
	if !m.extents && blk >= 1<<32 {
		return 0, errFileTooBig
	}
	if _, err := in.fs.fresh(blk); err != nil {
		return 0, err
	}
	return blk, in.addBlocks(1)
}

// freeNode gives up a block of the map itself.
func (m *blockMap) freeNode(in *inode, blk uint64) error {
	if err := in.fs.mark(blk, 1, false); err != nil {
		return err
	}
	return in.addBlocks(-1)
}

// maxBlocks is how many blocks a file of this kind of map can have.
func (m *blockMap) maxBlocks() uint64 {
	if m.extents {
		return maxLogical
	}
	return min(m.sb.indirectStart(14)+m.sb.indirectSpan(3), maxLogical)
}

// checkRun refuses a run that reaches out of the file system, or into its structures.
func (in *inode) checkRun(structure string, phys, n uint64) error {
	sb := in.fs.sb
	if phys <= uint64(sb.firstData) || phys >= sb.blocks || n > sb.blocks-phys {
		return corrupt(structure, in.ino, phys, "%d blocks reach out of the file system (%d blocks)", n, sb.blocks)
	}
	if in.fs.isSystem(phys, n) {
		return corrupt(structure, in.ino, phys, "%d blocks reach into structures of the file system", n)
	}
	return nil
}
