package ext4

import (
	"encoding/binary"
	"slices"
)

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
	m.tree.root.level = uint8(depth)
	return m.loadNode(in, m.tree.root, root, rootExtents, 0, maxLogical)
}

// loadNode reads the node n of the tree, whose extents must lie in [lo, hi).
// Entries must ascend, so that a node that is referred to twice is found out.
func (m *blockMap) loadNode(in *inode, n *runNode, node []byte, room int, lo, hi uint64) error {
	le := binary.LittleEndian
	blk, depth := n.blk, n.level
	bad := func(format string, args ...any) error { return corrupt("extent tree", in.ino, blk, format, args...) }
	entries, limit := int(le.Uint16(node[2:])), int(le.Uint16(node[4:]))
	switch {
	case le.Uint16(node) != extentMagic:
		return bad("magic number is %#04x, not %#04x", le.Uint16(node), extentMagic)
	case le.Uint16(node[6:]) != uint16(depth):
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
			count := uint64(le.Uint16(e[4:]))
			unwritten := count > maxExtent
			if unwritten {
				count -= maxExtent
			}
			phys := uint64(le.Uint16(e[6:]))<<32 | uint64(le.Uint32(e[8:]))
			if count == 0 || first+count > hi {
				return bad("entry %d is for %d blocks from file block %d, should end by %d", i, count, first, hi)
			}
			if err := in.checkRun("extent tree", phys, count); err != nil {
				return err
			}
			if err := m.count(in, count); err != nil {
				return err
			}
			n.runs = append(n.runs, run{uint32(first), uint32(count), phys, unwritten})
			lo = first + count
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
		kid := &runNode{level: depth - 1, blk: child}
		n.kids = append(n.kids, kid)
		if err := m.loadNode(in, kid, b.data, m.tree.room, first, end); err != nil {
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

// storeExtents writes the nodes that were changed.
func (m *blockMap) storeExtents(in *inode) error {
	t := &m.tree
	for _, blk := range t.dropped {
		if err := m.freeNode(in, blk); err != nil {
			return err
		}
	}
	for _, n := range t.dirty {
		if n.gone || n.blk != 0 || n == t.root {
			continue
		}
		var err error
		if n.blk, err = m.newNode(in); err != nil {
			return err
		}
	}
	for _, n := range t.dirty {
		switch {
		case n.gone:
		case n == t.root:
			putNode(in.raw[iBlock:iBlock+iBlockLen], n.entries(), rootExtents, n.level)
		default:
			if err := in.storeNode(n, t.room); err != nil {
				return err
			}
		}
	}
	return nil
}

// storeNode writes a node that has a block of its own.
func (in *inode) storeNode(n *runNode, room int) error {
	b, err := in.fs.block(n.blk)
	if err != nil {
		return err
	}
	node := slices.Clone(b.data)
	putNode(node, n.entries(), room, n.level)
	if in.fs.sb.metadataCsum() {
		tail := extentEntry * (1 + room)
		binary.LittleEndian.PutUint32(node[tail:], crc32c(in.seed(), node[:tail]))
	}
	in.fs.replace(b, node)
	return nil
}

// entries are the node's entries as they are on disk.
func (n *runNode) entries() []byte {
	le := binary.LittleEndian
	p := make([]byte, 0, n.size()*extentEntry)
	for _, r := range n.runs {
		count := uint16(r.count)
		if r.unwritten {
			count += maxExtent
		}
		p = le.AppendUint32(p, r.logical)
		p = le.AppendUint16(p, count)
		p = le.AppendUint16(p, uint16(r.phys>>32))
		p = le.AppendUint32(p, uint32(r.phys))
	}
	for _, k := range n.kids {
		p = le.AppendUint32(p, k.first().logical)
		p = le.AppendUint32(p, uint32(k.blk))
		p = le.AppendUint16(p, uint16(k.blk>>32))
		p = append(p, 0, 0)
	}
	return p
}

func putNode(node, entries []byte, room int, depth uint8) {
	le := binary.LittleEndian
	le.PutUint16(node, extentMagic)
	le.PutUint16(node[2:], uint16(len(entries)/extentEntry))
	le.PutUint16(node[4:], uint16(room))
	le.PutUint16(node[6:], uint16(depth))
	le.PutUint32(node[8:], 0)
	clear(node[extentEntry+copy(node[extentEntry:], entries) : extentEntry*(1+room)])
}
