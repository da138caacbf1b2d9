package ext4

import (
	"encoding/binary"
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
	in.m = m
	return m, nil
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

// end is the first block after the last one that is mapped.
func (m *blockMap) end() uint32 {
	if len(m.runs) == 0 {
		return 0
	}
	return m.runs[len(m.runs)-1].end()
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

// dataBlocks is the number of blocks that are mapped.
func (m *blockMap) dataBlocks() uint64 {
	n := uint64(0)
	for _, r := range m.runs {
		n += uint64(r.count)
	}
	return n
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

// An extent tree's node: a header of 12 bytes, then entries of 12 bytes.
const (
	extentMagic    = 0xF30A
	extentEntry    = 12
	maxExtentDepth = 5
	rootExtents    = (iBlockLen - extentEntry) / extentEntry
)

func (m *blockMap) loadExtents(in *inode) error {
	root := in.raw[iBlock : iBlock+iBlockLen]
	depth := binary.LittleEndian.Uint16(root[6:])
	if depth > maxExtentDepth {
		return corrupt("extent tree", in.ino, 0, "depth %d, the deepest is %d", depth, maxExtentDepth)
	}
	return m.loadNode(in, root, 0, rootExtents, int(depth), 0, maxLogical)
}

// loadNode reads a node of the tree whose extents must lie in [lo, hi). Entries
// must ascend, so that a node that is referred to twice is found out.
func (m *blockMap) loadNode(in *inode, node []byte, blk uint64, room, depth int, lo, hi uint64) error {
	le := binary.LittleEndian
	bad := func(format string, args ...any) error { return corrupt("extent tree", in.ino, blk, format, args...) }
	entries, limit := int(le.Uint16(node[2:])), int(le.Uint16(node[4:]))
	switch {
	case le.Uint16(node) != extentMagic:
		return bad("magic number is %#04x, not %#04x", le.Uint16(node), extentMagic)
	case int(le.Uint16(node[6:])) != depth:
		return bad("depth is %d, should be %d", le.Uint16(node[6:]), depth)
	case limit > room || entries > limit || entries == 0 && (depth > 0 || blk != 0):
		return bad("%d entries of at most %d, room for %d", entries, limit, room)
	}
	for i := range entries {
		e := node[extentEntry*(i+1):]
		first := uint64(le.Uint32(e))
		if first < lo || first >= hi {
			return bad("entry %d begins with file block %d, should be in %d to %d", i, first, lo, hi)
		}
		if depth == 0 {
			n := uint64(le.Uint16(e[4:]))
			unwritten := n > maxExtent
			if unwritten {
				n -= maxExtent
			}
			phys := uint64(le.Uint16(e[6:]))<<32 | uint64(le.Uint32(e[8:]))
			if n == 0 || first+n > hi {
				return bad("entry %d is for %d blocks from file block %d, should end by %d", i, n, first, hi)
			}
			if err := in.checkRun("extent tree", phys, n); err != nil {
				return err
			}
			m.runs = append(m.runs, run{uint32(first), uint32(n), phys, unwritten})
			lo = first + n
			continue
		}
		child := uint64(le.Uint16(e[8:]))<<32 | uint64(le.Uint32(e[4:]))
		end := hi
		if i+1 < entries {
			end = uint64(le.Uint32(e[extentEntry:]))
			if end <= first || end > hi {
				return bad("entry %d begins with file block %d, after one of %d", i+1, end, first)
			}
		}
		if err := in.checkRun("extent tree", child, 1); err != nil {
			return err
		}
		b, err := in.fs.block(child)
		if err != nil {
			return err
		}
		if err := in.verifyExtentBlock(b); err != nil {
			return err
		}
		level := uint8(depth)
		m.meta[metaKey{level, m.levels[level]}] = child
		m.levels[level]++
		if err := m.loadNode(in, b.data, child, in.fs.sb.nodeExtents(), depth-1, first, end); err != nil {
			return err
		}
		lo = end
	}
	return nil
}

// nodeExtents is the number of entries of a node that fills a block.
func (sb *superblock) nodeExtents() int { return (sb.blockSize - extentEntry) / extentEntry }

func (in *inode) verifyExtentBlock(b *buffer) error {
	if !in.fs.sb.metadataCsum() || b.verified {
		return nil
	}
	tail := extentEntry * (1 + int(binary.LittleEndian.Uint16(b.data[4:])))
	if tail+4 > len(b.data) {
		return corrupt("extent tree", in.ino, b.blk, "node with room for %d entries", tail/extentEntry-1)
	}
	if got, want := binary.LittleEndian.Uint32(b.data[tail:]), crc32c(in.seed(), b.data[:tail]); got != want {
		return corrupt("extent tree", in.ino, b.blk, "checksum is %#08x, should be %#08x", got, want)
	}
	b.verified = true
	return nil
}

// loadIndirect reads the map of a file without extents: twelve pointers to
// blocks, then one to a block of pointers, one to a block of such, and one more.
func (m *blockMap) loadIndirect(in *inode) error {
	seen := map[uint64]bool{}
	for i := range 15 {
		p := uint64(in.u32(iBlock + 4*i))
		if p == 0 {
			continue
		}
		level := uint8(max(0, i-11))
		if err := m.loadPointer(in, p, level, in.fs.sb.indirectStart(i), seen); err != nil {
			return err
		}
	}
	return nil
}

// indirectStart is the first file block that slot i of i_block is for.
func (sb *superblock) indirectStart(i int) uint64 {
	if i < 12 {
		return uint64(i)
	}
	start, span := uint64(12), uint64(1)
	for range i - 12 {
		span *= uint64(sb.blockSize / 4)
		start += span
	}
	return start
}

// indirectSpan is how many file blocks one pointer of a level is for: 1 at level 0.
func (sb *superblock) indirectSpan(level uint8) uint64 {
	span := uint64(1)
	for range level {
		span *= uint64(sb.blockSize / 4)
	}
	return span
}

func (m *blockMap) loadPointer(in *inode, phys uint64, level uint8, first uint64, seen map[uint64]bool) error {
	if err := in.checkRun("block map", phys, 1); err != nil {
		return err
	}
	if first >= maxLogical {
		return corrupt("block map", in.ino, phys, "file block %d is too far out", first)
	}
	if level == 0 {
		if k := len(m.runs) - 1; k >= 0 && uint64(m.runs[k].end()) == first && m.runs[k].phys+uint64(m.runs[k].count) == phys {
			m.runs[k].count++
		} else {
			m.runs = append(m.runs, run{uint32(first), 1, phys, false})
		}
		return nil
	}
	if seen[phys] {
		return corrupt("block map", in.ino, phys, "an indirect block is referred to twice")
	}
	seen[phys] = true
	m.meta[metaKey{level, uint32(first)}] = phys
	b, err := in.fs.block(phys)
	if err != nil {
		return err
	}
	span := in.fs.sb.indirectSpan(level - 1)
	for i := range len(b.data) / 4 {
		if p := uint64(binary.LittleEndian.Uint32(b.data[4*i:])); p != 0 {
			if err := m.loadPointer(in, p, level-1, first+uint64(i)*span, seen); err != nil {
				return err
			}
		}
	}
	return nil
}
