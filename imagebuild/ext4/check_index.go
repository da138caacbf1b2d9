package ext4

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// indexCheck goes through the hash index of a directory: first block by
// block, for what hashes the names in each have, then from the root down.
type indexCheck struct {
	d       *dirCheck
	version byte
	levels  int // between the root and the leaves
	root    []byte
	leaves  []leafHashes // one for each block of the directory that there is
}

// leafHashes are the lowest and the highest hash of the names in a leaf.
type leafHashes struct {
	names, node, seen bool
	min, max          uint32
}

func (d *dirCheck) badIndex(format string, args ...any) { d.bad(CodeDirIndex, format, args...) }

// startIndex reads the root, which is block 0.
func (d *dirCheck) startIndex(p []byte) {
	sb := d.c.sb
	le := binary.LittleEndian
	version, levels := p[dxInfo+4], int(p[dxInfo+6])
	casefold := d.in.has(flagCasefold)
	switch {
	case le.Uint32(p[dxInfo:]) != 0 || p[dxInfo+5] != 8:
		d.badIndex("the root has no head of 8 bytes")
		return
	case sb.decodeRecLen(le.Uint16(p[direntSize(1)+4:])) != len(p)-direntSize(1) || le.Uint16(p[4:]) != uint16(direntSize(1)):
		d.badIndex(`"." and ".." leave no room for the root`)
		return
	case version > hashTEA && !casefold:
		d.badIndex("hash version %d", version)
		return
	case p[dxInfo+7]&1 != 0:
		d.badIndex("flags %#x", p[dxInfo+7])
		return
	case levels > d.in.dxMaxLevels():
		d.badIndex("%d levels, at most %d fit", levels, d.in.dxMaxLevels())
		return
	}
	d.index = &indexCheck{d: d, version: version, levels: levels, root: slices.Clone(p), leaves: []leafHashes{{node: true, seen: true}}}
	d.index.checkSum(p, dxRootEntries)
}

// addNode notes the next block of the directory, and says whether it is an
// inner node; then its checksum is checked.
func (x *indexCheck) addNode(k int, p []byte) bool {
	sb, le := x.d.c.sb, binary.LittleEndian
	node := le.Uint32(p) == 0 && sb.decodeRecLen(le.Uint16(p[4:])) == len(p) && p[6] == 0 &&
		int(le.Uint16(p[dxNodeEntries:])) == sb.dxRoom(dxNodeEntries)
	for len(x.leaves) <= k {
		x.leaves = append(x.leaves, leafHashes{})
	}
	x.leaves[k].node = node
	if node {
		x.checkSum(p, dxNodeEntries)
	}
	return node
}

func (x *indexCheck) checkSum(p []byte, off int) {
	if !x.d.c.sb.metadataCsum() {
		return
	}
	le := binary.LittleEndian
	limit, count := int(le.Uint16(p[off:])), int(le.Uint16(p[off+2:]))
	tail := off + limit*dxEntry
	if count > limit || tail+dxTail > len(p) {
		x.d.bad(CodeDirChecksum, "the index leaves no room for one")
		return
	}
	if got, want := le.Uint32(p[tail+4:]), x.d.in.dxChecksum(p, off, count, tail); got != want {
		x.d.bad(CodeDirChecksum, "it is %#08x, should be %#08x", got, want)
	}
}

// addName notes the hash of a name in the k-th block.
func (x *indexCheck) addName(k int, name []byte) {
	if x.d.in.has(flagCasefold) || k == 0 {
		return
	}
	h := x.d.c.sb.dirHash(x.version, name)
	l := &x.leaves[k]
	if !l.names {
		l.names, l.min, l.max = true, h, h
	}
	l.min, l.max = min(l.min, h), max(l.max, h)
}

// finishIndex goes through the index from the root down: every block must be
// in it once, with the hashes of its names in the bounds that lead to it.
func (d *dirCheck) finishIndex(blocks []dirBlock) error {
	x := d.index
	if x == nil {
		return nil
	}
	d.blk = blocks[0].blk
	if err := x.node(blocks, x.root, dxRootEntries, 0, bounds{0, 1<<32 - 1}); err != nil {
		return err
	}
	for k, l := range x.leaves {
		if !l.seen {
			d.blk = blocks[k].blk
			d.badIndex("nothing leads to block %d of the directory", blocks[k].n)
		}
	}
	return nil
}

// bounds are where the hashes below an entry of an index may be: from lo on,
// and below hi. If hi is odd, those of hi-1 may be there too, as the entry
// that has it says that they go on from the block before.
type bounds struct{ lo, hi uint32 }

// node goes through the entries of a node, which begin at byte off.
func (x *indexCheck) node(blocks []dirBlock, p []byte, off, level int, in bounds) error {
	d, le := x.d, binary.LittleEndian
	limit, count := int(le.Uint16(p[off:])), int(le.Uint16(p[off+2:]))
	if room := d.c.sb.dxRoom(off); limit != room || count > room || count == 0 {
		d.badIndex("%d entries of at most %d, there is room for %d", count, limit, room)
		return nil
	}
	blk := d.blk
	b := in
	for i := range count {
		e := p[off+dxEntry*i:]
		if b.hi = in.hi; i+1 < count {
			b.hi = le.Uint32(e[dxEntry:])
			if b.hi&^1 < b.lo&^1 || b.hi&^1 > in.hi&^1 {
				d.badIndex("entry %d begins with hash %#08x, in %#08x to %#08x", i+1, b.hi, b.lo, in.hi)
				return nil
			}
		}
		if err := x.entry(blocks, le.Uint32(e[4:])&dxBlockMask, level, b); err != nil {
			return err
		}
		d.blk = blk
		b.lo = b.hi
	}
	return nil
}

// entry follows an entry of a node to block n of the directory.
func (x *indexCheck) entry(blocks []dirBlock, n uint32, level int, b bounds) error {
	d := x.d
	k, ok := slices.BinarySearchFunc(blocks, n, func(b dirBlock, n uint32) int { return cmp.Compare(b.n, n) })
	if !ok {
		d.badIndex("an entry leads to block %d of the directory, which has %d", n, d.info.blocks)
		return nil
	}
	l := &x.leaves[k]
	switch {
	case l.seen:
		d.badIndex("two entries lead to block %d of the directory", n)
		return nil
	case l.node != (level < x.levels):
		l.seen = true
		d.badIndex("block %d of the directory is at the wrong depth: %d of %d", n, level+1, x.levels+1)
		return nil
	}
	l.seen = true
	d.blk = blocks[k].blk
	if l.node {
		p := make([]byte, d.c.sb.blockSize)
		if err := d.c.read(d.blk, p); err != nil {
			return err
		}
		return x.node(blocks, p, dxNodeEntries, level+1, b)
	}
	if l.names && (l.min < b.lo&^1 || uint64(l.max)+1 > uint64(b.hi)) {
		d.badIndex("names have hashes from %#08x to %#08x, the index leads there from %#08x up to %#08x", l.min, l.max, b.lo, b.hi)
	}
	return nil
}
