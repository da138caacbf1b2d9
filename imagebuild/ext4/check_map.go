package ext4

import (
	"encoding/binary"
	"math/bits"
)

// mapWalk goes through what i_block says of where an inode's blocks are. Unlike
// blockMap.load it leaves out what makes no sense, and goes on.
type mapWalk struct {
	c  *checker
	in *inode
	// trees are blocks of maps that were walked through: none is twice, so
	// that all the maps of a file system are no more work than its blocks.
	trees bitset
	claim func(phys, n uint64) // blocks of the inode, those of the map included
	data  func(r run)          // where content is

	blocks   uint64 // claimed
	last     int64  // the last file block that is mapped, -1 if none is
	lastInit int64  // the last one that was written
	next     uint64 // the file block that the next extent may begin with
}

func (c *checker) newWalk(in *inode, trees bitset) *mapWalk {
	return &mapWalk{
		c: c, in: in, trees: trees, last: -1, lastInit: -1,
		claim: func(uint64, uint64) {}, data: func(run) {},
	}
}

func (w *mapWalk) bad(code Code, blk uint64, format string, args ...any) {
	w.c.find(Finding{Code: code, Inode: w.in.ino, Block: blk, Group: -1}, format, args...)
}

func (w *mapWalk) run() error {
	if w.c.sb.hasIncompat(incompatExtents) && w.in.has(flagExtents) {
		return w.extents()
	}
	return w.pointers()
}

// take accounts for n blocks of the map or of content.
func (w *mapWalk) take(phys, n uint64) {
	w.blocks += n
	w.claim(phys, n)
}

// enter claims a block of the map, and reads it. It is nil if that was done before.
func (w *mapWalk) enter(blk uint64) ([]byte, error) {
	w.take(blk, 1)
	if w.trees.add(blk) {
		return nil, nil
	}
	p := make([]byte, w.c.sb.blockSize)
	return p, w.c.read(blk, p)
}

// extentHeader says what is wrong with the head of a node, if anything is. A
// few entries less than there is room for were left by software of old.
func extentHeader(node []byte) (problem string) {
	le := binary.LittleEndian
	room := (len(node) - extentEntry) / extentEntry
	entries, limit := int(le.Uint16(node[2:])), int(le.Uint16(node[4:]))
	switch {
	case le.Uint16(node) != extentMagic:
		return "it does not begin with the magic number"
	case entries > limit || limit > room || limit < room-2:
		return "counts of entries are out of range"
	}
	return ""
}

// maxTreeDepth is the depth of the largest tree that a file can need.
func (sb *superblock) maxTreeDepth() int {
	log2 := func(n int) int { return bits.Len(uint(n)) - 1 }
	return min(maxExtentDepth, 1+(32-log2(rootExtents))/log2(sb.nodeExtents()))
}

func (w *mapWalk) extents() error {
	root := w.in.raw[iBlock : iBlock+iBlockLen]
	if p := extentHeader(root); p != "" {
		w.bad(CodeExtents, 0, "the root: %s", p)
		return nil
	}
	depth := int(binary.LittleEndian.Uint16(root[6:]))
	if most := w.c.sb.maxTreeDepth(); depth > most {
		w.bad(CodeExtents, 0, "depth is %d, the deepest tree has %d", depth, most)
		if depth > maxExtentDepth {
			return nil
		}
	}
	return w.node(root, 0, depth, 0, 0, w.c.sb.blocksFor(w.in.size()))
}

// node walks through a node whose entries must begin at file block first or
// later, and end by last unless that is 0. upTo is where its last entry ends.
func (w *mapWalk) node(node []byte, blk uint64, depth int, first, last, upTo uint64) error {
	le := binary.LittleEndian
	n := int(le.Uint16(node[2:]))
	if n == 0 && depth > 0 {
		w.bad(CodeExtents, blk, "an inner node without entries")
	}
	for i := range n {
		e := node[extentEntry*(i+1):]
		x := extent{first: uint64(le.Uint32(e)), leaf: depth == 0}
		if x.leaf {
			x.count = uint64(le.Uint16(e[4:]))
			if x.unwritten = x.count > maxExtent; x.unwritten {
				x.count -= maxExtent
			}
			x.phys = uint64(le.Uint16(e[6:]))<<32 | uint64(le.Uint32(e[8:]))
		} else {
			x.phys = uint64(le.Uint16(e[8:]))<<32 | uint64(le.Uint32(e[4:]))
			end := upTo
			if i+1 < n {
				end = uint64(le.Uint32(e[extentEntry:]))
			}
			x.count = uint64(uint32(end - x.first))
		}
		if p := w.extentProblem(x, first, last); p != "" {
			w.bad(CodeExtents, blk, "entry %d, for file blocks %d to %d at block %d: %s",
				i, x.first, int64(x.first+x.count)-1, x.phys, p)
			continue
		}
		if x.leaf {
			w.leafExtent(x, blk)
			first = x.first + x.count - 1
			continue
		}
		if err := w.child(x, blk, depth); err != nil {
			return err
		}
	}
	return nil
}

// extent is an entry of a node: of a leaf, or of an inner node.
type extent struct {
	first, count uint64 // file blocks; an inner node's reach to the next entry
	phys         uint64 // where they are, or the node below
	leaf         bool
	unwritten    bool
}

// extentProblem says what is wrong with an entry of a node for [first, last].
func (w *mapWalk) extentProblem(x extent, first, last uint64) string {
	sb, in := w.c.sb, w.in
	end := x.first + x.count - 1
	eof := sb.blocksFor(in.size()) - 1
	switch {
	case !w.c.inside(x.phys, 1):
		return "it lies outside of the file system"
	case x.first < first:
		return "out of order"
	case last != 0 && end > last && !(end > eof && (x.unwritten || in.has(flagVerity))):
		return "it reaches past what the node is for"
	case !x.leaf:
		return ""
	case x.count == 0:
		return "it is for no blocks"
	case !w.c.inside(x.phys, x.count):
		return "it reaches past the end of the file system"
	case in.isDir() && in.u32(iSizeHi) == 0 && !sb.hasIncompat(incompatLargeDir) && x.first+x.count > w.c.maxDirBlocks():
		return "a directory that large needs large_dir"
	case x.first < w.next:
		return "it overlaps the one before"
	case x.first+x.count > maxLogical:
		return "it is further out than a file can reach"
	}
	return ""
}

// maxDirBlocks is how many blocks fit a directory without large_dir: 2 GiB.
func (c *checker) maxDirBlocks() uint64 { return 1 << 31 / uint64(c.sb.blockSize) }

func (w *mapWalk) leafExtent(x extent, blk uint64) {
	if w.in.isDir() {
		if x.unwritten {
			w.bad(CodeExtents, blk, "directory blocks %d to %d were never written", x.first, x.first+x.count-1)
		}
		if uint64(w.last+1) < x.first {
			w.bad(CodeDirectory, blk, "a hole from block %d to %d of the directory", w.last+1, x.first-1)
		}
	}
	w.take(x.phys, x.count)
	w.data(run{uint32(x.first), uint32(x.count), x.phys, x.unwritten})
	w.next = x.first + x.count
	w.last = int64(w.next) - 1
	if !x.unwritten {
		w.lastInit = w.last
	}
}

// child walks through the node below entry x.
func (w *mapWalk) child(x extent, blk uint64, depth int) error {
	node, err := w.enter(x.phys)
	if err != nil || node == nil {
		return err
	}
	le := binary.LittleEndian
	if p := extentHeader(node); p != "" {
		w.bad(CodeExtents, x.phys, "a node: %s", p)
		return nil
	}
	if d := int(le.Uint16(node[6:])); d != depth-1 {
		w.bad(CodeExtents, x.phys, "a node's depth is %d, should be %d", d, depth-1)
	}
	if w.c.sb.metadataCsum() {
		tail := extentEntry * (1 + int(le.Uint16(node[4:])))
		if tail+4 > len(node) {
			w.bad(CodeExtentSum, x.phys, "a node without room for it")
		} else if got, want := le.Uint32(node[tail:]), crc32c(w.in.seed(), node[:tail]); got != want {
			w.bad(CodeExtentSum, x.phys, "it is %#08x, should be %#08x", got, want)
		}
	}
	if le.Uint16(node[2:]) == 0 {
		w.bad(CodeExtents, x.phys, "a node without entries")
		return nil
	}
	if first := uint64(le.Uint32(node[extentEntry:])); first != x.first {
		w.bad(CodeExtents, x.phys, "a node begins with file block %d, the entry above says %d", first, x.first)
	}
	return w.node(node, x.phys, depth-1, x.first, x.first+x.count-1, x.first+x.count)
}

// pointers walks through a map without extents.
func (w *mapWalk) pointers() error {
	for i := range 15 {
		if p := uint64(w.in.u32(iBlock + 4*i)); p != 0 {
			if err := w.pointer(p, uint8(max(0, i-11)), w.c.sb.indirectStart(i), 0); err != nil {
				return err
			}
		}
	}
	w.lastInit = w.last // there are no others
	return nil
}

// pointer follows a pointer of a level, found in block from, that is for the file blocks from first on.
func (w *mapWalk) pointer(phys uint64, level uint8, first, from uint64) error {
	sb, in := w.c.sb, w.in
	problem := ""
	switch {
	case !w.c.inside(phys, 1):
		problem = "it lies outside of the file system"
	case level > 0:
	case first >= maxLogical:
		problem = "it is further out than a file can reach"
	case in.isDir() && in.u32(iSizeHi) == 0 && !sb.hasIncompat(incompatLargeDir) && first > w.c.maxDirBlocks():
		problem = "a directory that large needs large_dir"
	case !in.isDir() && !in.isRegular() && in.ino >= sb.firstIno && first > 0:
		problem = "a symbolic link has one block at most"
	}
	if problem != "" {
		w.bad(CodeBlockMap, from, "block %d, for file block %d: %s", phys, first, problem)
		return nil
	}
	if level == 0 {
		w.dataPointer(phys, first)
		return nil
	}
	p, err := w.enter(phys)
	if err != nil || p == nil {
		return err
	}
	span := sb.indirectSpan(level - 1)
	for i := range len(p) / 4 {
		if q := uint64(binary.LittleEndian.Uint32(p[4*i:])); q != 0 {
			if err := w.pointer(q, level-1, first+uint64(i)*span, phys); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *mapWalk) dataPointer(phys, first uint64) {
	if w.in.isDir() && uint64(w.last+1) < first && !w.c.sb.hasIncompat(incompatLargeDir) {
		w.bad(CodeDirectory, 0, "a hole from block %d to %d of the directory", w.last+1, first-1)
	}
	w.take(phys, 1)
	w.data(run{uint32(first), 1, phys, false})
	w.last = int64(first)
}
