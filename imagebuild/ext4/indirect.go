package ext4

import "encoding/binary"

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
	if err := m.count(in, 1); err != nil {
		return err
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

// needIndirect collects the indirect blocks that the runs need.
func (m *blockMap) needIndirect(sb *superblock, need map[metaKey]bool) {
	per := sb.indirectSpan(1)
	for _, r := range m.runs {
		for l := max(uint64(r.logical), 12); l < uint64(r.end()); {
			slot := 12
			for slot < 14 && l >= sb.indirectStart(slot+1) {
				slot++
			}
			start := sb.indirectStart(slot)
			first := uint64(0)
			for level := uint8(1); int(level) <= slot-11; level++ {
				span := sb.indirectSpan(level)
				at := start + (l-start)/span*span
				need[metaKey{level, uint32(at)}] = true
				if level == 1 {
					first = at
				}
			}
			l = first + per
		}
	}
}

// storeIndirect writes the pointers of a file without extents.
func (m *blockMap) storeIndirect(in *inode) error {
	sb := in.fs.sb
	for i := range 12 {
		in.put32(iBlock+4*i, uint32(m.lookup(uint32(i)).phys))
	}
	for i := 12; i < 15; i++ {
		in.put32(iBlock+4*i, uint32(m.meta[metaKey{uint8(i - 11), uint32(sb.indirectStart(i))}]))
	}
	p := make([]byte, sb.blockSize)
	for k, blk := range m.meta {
		clear(p)
		span := sb.indirectSpan(k.level - 1)
		for i := 0; i < len(p)/4; {
			first := uint64(k.index) + uint64(i)*span
			if first >= maxLogical {
				break
			}
			if k.level > 1 {
				binary.LittleEndian.PutUint32(p[4*i:], uint32(m.meta[metaKey{k.level - 1, uint32(first)}]))
				i++
				continue
			}
			r := m.lookup(uint32(first))
			n := int(min(uint64(r.count), uint64(len(p)/4-i)))
			if n == 0 {
				break
			}
			if r.phys != 0 {
				for j := range n {
					binary.LittleEndian.PutUint32(p[4*(i+j):], uint32(r.phys)+uint32(j))
				}
			}
			i += n
		}
		b, err := in.fs.block(blk)
		if err != nil {
			return err
		}
		in.fs.replace(b, p)
	}
	return nil
}
