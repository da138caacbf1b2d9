package ext4

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// maxExtent and maxUnwritten are the longest runs that one extent describes.
const (
	maxExtent    = 32768
	maxUnwritten = 32767
	maxLogical   = math.MaxUint32 // file blocks are numbered below this
)

// run is a stretch of a file's blocks that lie next to each other.
type run struct {
	logical   uint32
	count     uint32
	phys      uint64
	unwritten bool // allocated, reads as zeros
}

func (r run) end() uint32 { return r.logical + r.count }

// metaKey names one block that a map itself occupies: its level (1 holds runs,
// 2 points to those of level 1, …) and its place within the level. In an extent
// tree that is its ordinal number; among indirect blocks, the first file block
// that it is for.
type metaKey struct {
	level uint8
	index uint32
}

// blockMap says where the blocks of a file are: the decoded form of an extent
// tree or of indirect blocks. It is changed in memory, and stored whole.
type blockMap struct {
	extents bool
	runs    []run // by logical block, disjoint
	meta    map[metaKey]uint64
	levels  [maxExtentDepth + 1]uint32 // blocks of each level of an extent tree
	total   uint64                     // blocks of runs, as far as they were counted in loading
	changed bool
}

// blocks returns the map of the inode's blocks, which it loads at first use.
func (in *inode) blocks() (*blockMap, error) {
	if in.m != nil {
		return in.m, nil
	}
	if !in.hasMap() {
		return nil, corrupt("inode", in.ino, 0, "it has no blocks")
	}
	m := &blockMap{extents: in.has(flagExtents), meta: map[metaKey]uint64{}}
	var err error
	if m.extents {
		err = m.loadExtents(in)
	} else {
		err = m.loadIndirect(in)
	}
	if err != nil {
		return nil, err
	}
	if in.isDir() {
		if err := m.checkDisjoint(in); err != nil {
			return nil, err
		}
	}
	in.m = m
	return m, nil
}

// checkDisjoint refuses a directory that has one block in two places: it could
// list more entries than the image has room for.
func (m *blockMap) checkDisjoint(in *inode) error {
	runs := slices.SortedFunc(slices.Values(m.runs), func(a, b run) int { return cmp.Compare(a.phys, b.phys) })
	for i := 1; i < len(runs); i++ {
		if runs[i].phys < runs[i-1].phys+uint64(runs[i-1].count) {
			return corrupt("directory", in.ino, runs[i].phys, "it has the block in two places")
		}
	}
	return nil
}

// count accounts for n more blocks while a map is loaded: none has more than the file system.
func (m *blockMap) count(in *inode, n uint64) error {
	if m.total += n; m.total > in.fs.sb.blocks {
		return corrupt("inode", in.ino, 0, "it has more blocks than the file system")
	}
	return nil
}

// find returns the index of the first run that ends after logical.
func (m *blockMap) find(logical uint32) int {
	return sort.Search(len(m.runs), func(i int) bool { return m.runs[i].end() > logical })
}

// lookup says where block logical is, and how many blocks from there on are
// alike. A hole has phys 0.
func (m *blockMap) lookup(logical uint32) run {
	i := m.find(logical)
	if i == len(m.runs) {
		return run{logical: logical, count: maxLogical - logical}
	}
	r := m.runs[i]
	if r.logical > logical {
		return run{logical: logical, count: r.logical - logical}
	}
	d := logical - r.logical
	return run{logical, r.count - d, r.phys + uint64(d), r.unwritten}
}

// cut takes [from, to) out of the map and returns the runs that were there.
func (m *blockMap) cut(from, to uint32) []run {
	i := m.find(from)
	var out, keep []run
	j := i
	for ; j < len(m.runs) && m.runs[j].logical < to; j++ {
		r := m.runs[j]
		if r.logical < from {
			keep = append(keep, run{r.logical, from - r.logical, r.phys, r.unwritten})
		}
		lo, hi := max(r.logical, from), min(r.end(), to)
		out = append(out, run{lo, hi - lo, r.phys + uint64(lo-r.logical), r.unwritten})
		if r.end() > to {
			keep = append(keep, run{to, r.end() - to, r.phys + uint64(to-r.logical), r.unwritten})
		}
	}
	if out != nil {
		m.runs = slices.Replace(m.runs, i, j, keep...)
		m.changed = true
	}
	return out
}

// insert adds r, which must be a hole so far, and joins it with its neighbours where one extent can hold both.
func (m *blockMap) insert(r run) {
	m.changed = true
	i := m.find(r.logical)
	m.runs = slices.Insert(m.runs, i, r)
	if i+1 < len(m.runs) {
		m.join(i)
	}
	if i > 0 {
		m.join(i - 1)
	}
}

func (m *blockMap) join(i int) {
	a, b := m.runs[i], m.runs[i+1]
	limit := uint64(math.MaxUint32)
	if m.extents {
		limit = maxExtent
		if a.unwritten {
			limit = maxUnwritten
		}
	}
	if a.end() == b.logical && a.phys+uint64(a.count) == b.phys && a.unwritten == b.unwritten &&
		uint64(a.count)+uint64(b.count) <= limit {
		m.runs[i].count += b.count
		m.runs = slices.Delete(m.runs, i+1, i+2)
	}
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
