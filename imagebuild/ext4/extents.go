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
			if err := m.count(in, n); err != nil {
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

// storeExtents packs the runs into leaves, and those into nodes above them,
// until the root in the inode holds them.
func (m *blockMap) storeExtents(in *inode) error {
	le := binary.LittleEndian
	entries := make([]byte, 0, len(m.runs)*extentEntry)
	for _, r := range m.runs {
		n := uint16(r.count)
		if r.unwritten {
			n += maxExtent
		}
		entries = le.AppendUint32(entries, r.logical)
		entries = le.AppendUint16(entries, n)
		entries = le.AppendUint16(entries, uint16(r.phys>>32))
		entries = le.AppendUint32(entries, uint32(r.phys))
	}
	depth, per := uint16(0), in.fs.sb.nodeExtents()
	for ; len(entries) > rootExtents*extentEntry; depth++ {
		var above []byte
		for i := uint32(0); len(entries) > 0; i++ {
			n := min(len(entries), per*extentEntry)
			blk := m.meta[metaKey{uint8(depth + 1), i}]
			b, err := in.fs.block(blk)
			if err != nil {
				return err
			}
			node := slices.Clone(b.data)
			putNode(node, entries[:n], per, depth)
			if in.fs.sb.metadataCsum() {
				tail := extentEntry * (1 + per)
				le.PutUint32(node[tail:], crc32c(in.seed(), node[:tail]))
			}
			in.fs.replace(b, node)
			above = append(above, entries[:4]...)
			above = le.AppendUint32(above, uint32(blk))
			above = le.AppendUint16(above, uint16(blk>>32))
			above = append(above, 0, 0)
			entries = entries[n:]
		}
		entries = above
	}
	putNode(in.raw[iBlock:iBlock+iBlockLen], entries, rootExtents, depth)
	return nil
}

func putNode(node, entries []byte, room int, depth uint16) {
	le := binary.LittleEndian
	le.PutUint16(node, extentMagic)
	le.PutUint16(node[2:], uint16(len(entries)/extentEntry))
	le.PutUint16(node[4:], uint16(room))
	le.PutUint16(node[6:], depth)
	le.PutUint32(node[8:], 0)
	clear(node[extentEntry+copy(node[extentEntry:], entries) : extentEntry*(1+room)])
}
