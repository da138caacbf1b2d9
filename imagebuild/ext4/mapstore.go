package ext4

import (
	"cmp"
	"slices"
)

// store writes the map to the inode and to the blocks that the map needs for
// itself, which it allocates and frees as their number changes.
func (m *blockMap) store(in *inode) error {
	if err := m.settleMeta(in); err != nil {
		return err
	}
	if m.extents {
		return m.storeExtents(in)
	}
	return m.storeIndirect(in)
}

// settleMeta makes the map own exactly the blocks that it needs for itself.
func (m *blockMap) settleMeta(in *inode) error {
	need := map[metaKey]bool{}
	if m.extents {
		n, per := len(m.runs), in.fs.sb.nodeExtents()
		for level := uint8(1); n > rootExtents; level++ {
			n = (n + per - 1) / per
			for i := range n {
				need[metaKey{level, uint32(i)}] = true
			}
		}
	} else {
		m.needIndirect(in.fs.sb, need)
	}
	var surplus, missing []metaKey
	for k := range m.meta {
		if !need[k] {
			surplus = append(surplus, k)
		}
	}
	for k := range need {
		if _, ok := m.meta[k]; !ok {
			missing = append(missing, k)
		}
	}
	order := func(a, b metaKey) int { return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.index, b.index)) }
	slices.SortFunc(surplus, order)
	slices.SortFunc(missing, order)
	for _, k := range surplus {
		if err := in.fs.mark(m.meta[k], 1, false); err != nil {
			return err
		}
		delete(m.meta, k)
	}
	for _, k := range missing {
		blk, _, err := in.fs.allocate(0, in.home(), 1)
		if err != nil {
			return err
		}
		if !m.extents && blk >= 1<<32 {
			return errFileTooBig
		}
		if _, err := in.fs.fresh(blk); err != nil {
			return err
		}
		m.meta[k] = blk
	}
	return in.addBlocks(int64(len(missing)) - int64(len(surplus)))
}

// maxBlocks is how many blocks a file of this kind of map can have.
func (m *blockMap) maxBlocks(sb *superblock) uint64 {
	if m.extents {
		return maxLogical
	}
	return min(sb.indirectStart(14)+sb.indirectSpan(3), maxLogical)
}
