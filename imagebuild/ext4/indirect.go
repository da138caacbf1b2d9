package ext4

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// pointerKey names an indirect block: its level (1 points to the file's blocks,
// 2 to those of level 1, …), and the first file block that it is for.
type pointerKey struct {
	level uint8
	index uint32
}

// loadIndirect reads the map of a file without extents: twelve pointers to
// blocks, then one to a block of pointers, one to a block of such, and one more.
func (m *blockMap) loadIndirect(in *inode) error {
	l := pointerLoad{seen: map[uint64]bool{}}
	for i := range 15 {
		p := uint64(in.u32(iBlock + 4*i))
		if p == 0 {
			continue
		}
		level := uint8(max(0, i-11))
		if err := m.loadPointer(in, &l, p, level, m.sb.indirectStart(i)); err != nil {
			return err
		}
	}
	for _, r := range l.runs {
		m.tree.insert(r)
	}
	return nil
}

// pointerLoad is what is kept while a map is read.
type pointerLoad struct {
	runs []run
	seen map[uint64]bool // indirect blocks
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

func (m *blockMap) loadPointer(in *inode, l *pointerLoad, phys uint64, level uint8, first uint64) error {
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
		if k := len(l.runs) - 1; k >= 0 && uint64(l.runs[k].end()) == first && l.runs[k].phys+uint64(l.runs[k].count) == phys {
			l.runs[k].count++
		} else {
			l.runs = append(l.runs, run{uint32(first), 1, phys, false})
		}
		return nil
	}
	if l.seen[phys] {
		return corrupt("block map", in.ino, phys, "an indirect block is referred to twice")
	}
	l.seen[phys] = true
	key := pointerKey{level, uint32(first)}
	m.pointers[key] = phys
	b, err := in.fs.block(phys)
	if err != nil {
		return err
	}
	span, empty := m.sb.indirectSpan(level-1), true
	for i := range len(b.data) / 4 {
		if p := uint64(binary.LittleEndian.Uint32(b.data[4*i:])); p != 0 {
			empty = false
			if err := m.loadPointer(in, l, p, level-1, first+uint64(i)*span); err != nil {
				return err
			}
		}
	}
	if empty {
		m.touched[key] = struct{}{} // with the next change it goes
	}
	return nil
}

// indirectSlot is the slot of i_block that leads to file block l, which is not one of the first twelve.
func (sb *superblock) indirectSlot(l uint64) int {
	slot := 12
	for slot < 14 && l >= sb.indirectStart(slot+1) {
		slot++
	}
	return slot
}

// pointerAt is the indirect block of a level that leads to file block l; ok is
// false if none of that level does.
func (sb *superblock) pointerAt(level uint8, l uint64) (k pointerKey, ok bool) {
	if l < 12 {
		return k, false
	}
	slot := sb.indirectSlot(l)
	start, span := sb.indirectStart(slot), sb.indirectSpan(level)
	return pointerKey{level, uint32(start + (l-start)/span*span)}, int(level) <= slot-11
}

// touchPointers notes the indirect blocks that lead to r.
func (m *blockMap) touchPointers(r run) {
	if m.extents {
		return
	}
	for l := max(uint64(r.logical), 12); l < uint64(r.end()); {
		k, _ := m.sb.pointerAt(1, l)
		m.touched[k] = struct{}{}
		l = uint64(k.index) + m.sb.indirectSpan(1)
	}
}

// touchAbove notes the indirect block, if there is one, that points to that of k.
func (m *blockMap) touchAbove(k pointerKey) {
	if above, ok := m.sb.pointerAt(k.level+1, uint64(k.index)); ok {
		m.touched[above] = struct{}{}
	}
}

// needed says whether an indirect block has anything to point to.
func (m *blockMap) needed(k pointerKey) bool {
	first := uint64(k.index)
	if k.level == 1 {
		r, ok := m.tree.root.after(k.index)
		return ok && uint64(r.logical) < first+m.sb.indirectSpan(1)
	}
	span := m.sb.indirectSpan(k.level - 1)
	for i := range uint64(m.sb.blockSize / 4) {
		if at := first + i*span; at < maxLogical {
			if _, ok := m.pointers[pointerKey{k.level - 1, uint32(at)}]; ok {
				return true
			}
		}
	}
	return false
}

// storeIndirect writes the pointers that were changed. Of the indirect blocks
// it frees those that are not needed any more, then allocates those that are
// missing, from below.
func (m *blockMap) storeIndirect(in *inode) error {
	var missing, rest []pointerKey
	for level := uint8(1); level <= 3; level++ {
		var keys []pointerKey
		for k := range m.touched {
			if k.level == level {
				keys = append(keys, k)
			}
		}
		slices.SortFunc(keys, func(a, b pointerKey) int { return cmp.Compare(a.index, b.index) })
		for _, k := range keys {
			blk, have := m.pointers[k]
			switch need := m.needed(k); {
			case need && !have:
				m.pointers[k] = 0 // until it has its place
				missing = append(missing, k)
				m.touchAbove(k)
			case !need && have:
				if err := m.freeNode(in, blk); err != nil {
					return err
				}
				delete(m.pointers, k)
				m.touchAbove(k)
			}
			rest = append(rest, k)
		}
	}
	for _, k := range missing {
		var err error
		if m.pointers[k], err = m.newNode(in); err != nil {
			return err
		}
	}
	for _, k := range rest {
		if err := m.storePointers(in, k); err != nil {
			return err
		}
	}
	clear(m.touched)
	for i := range 12 {
		in.put32(iBlock+4*i, uint32(m.lookup(uint32(i)).phys))
	}
	for i := 12; i < 15; i++ {
		in.put32(iBlock+4*i, uint32(m.pointers[pointerKey{uint8(i - 11), uint32(m.sb.indirectStart(i))}]))
	}
	return nil
}

// storePointers writes one indirect block, if the file has it.
func (m *blockMap) storePointers(in *inode, k pointerKey) error {
	blk, ok := m.pointers[k]
	if !ok {
		return nil
	}
	le := binary.LittleEndian
	p := make([]byte, m.sb.blockSize)
	span := m.sb.indirectSpan(k.level - 1)
	for i := 0; i < len(p)/4; {
		first := uint64(k.index) + uint64(i)*span
		if first >= maxLogical {
			break
		}
		if k.level > 1 {
			le.PutUint32(p[4*i:], uint32(m.pointers[pointerKey{k.level - 1, uint32(first)}]))
			i++
			continue
		}
		r := m.lookup(uint32(first))
		n := int(min(uint64(r.count), uint64(len(p)/4-i)))
		if r.phys != 0 {
			for j := range n {
				le.PutUint32(p[4*(i+j):], uint32(r.phys)+uint32(j))
			}
		}
		i += n
	}
	b, err := in.fs.block(blk)
	if err != nil {
		return err
	}
	in.fs.replace(b, p)
	return nil
}
