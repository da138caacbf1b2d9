package ext4

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
)

// A directory's index: its root lies behind "." and ".." in block 0, inner
// nodes fill blocks that look like one free entry, and every entry leads from
// the lowest hash of a block to that block. The first entry of each has no
// hash: in its place are the limit and the count of entries.
const (
	dxInfo        = 0x18
	dxRootEntries = 0x20
	dxNodeEntries = 8
	dxEntry       = 8
	dxTail        = 8
	dxBlockMask   = 0x0FFFFFFF
)

// dxNode is the root or an inner node of an index.
type dxNode struct {
	b    *buffer
	n    uint32 // block of the directory
	off  int    // of the entries
	at   int    // the entry that the search went through
	room int    // most entries
}

func (x dxNode) count() int        { return int(binary.LittleEndian.Uint16(x.b.data[x.off+2:])) }
func (x dxNode) hash(i int) uint32 { return binary.LittleEndian.Uint32(x.b.data[x.off+dxEntry*i:]) }
func (x dxNode) block(i int) uint32 {
	return binary.LittleEndian.Uint32(x.b.data[x.off+dxEntry*i+4:]) & dxBlockMask
}

// insert puts an entry behind entry i. There must be room.
func (x dxNode) insert(in *inode, i int, hash, block uint32) {
	data, n := in.fs.edit(x.b), x.count()
	from := x.off + dxEntry*(i+1)
	copy(data[from+dxEntry:], data[from:x.off+dxEntry*n])
	binary.LittleEndian.PutUint32(data[from:], hash)
	binary.LittleEndian.PutUint32(data[from+4:], block)
	x.setCount(data, n+1)
	in.sealIndex(data, x.off)
}

func (x dxNode) setCount(data []byte, n int) {
	binary.LittleEndian.PutUint16(data[x.off:], uint16(x.room))
	binary.LittleEndian.PutUint16(data[x.off+2:], uint16(n))
}

// dxRoom is how many entries a node has room for, whose entries begin at off.
func (sb *superblock) dxRoom(off int) int {
	room := sb.blockSize - off
	if sb.metadataCsum() {
		room -= dxTail
	}
	return room / dxEntry
}

// dxChecksum computes the checksum of an index block: of its entries in use,
// and of its tail at byte tail with the checksum left out.
func (in *inode) dxChecksum(data []byte, off, count, tail int) uint32 {
	c := crc32c(in.seed(), data[:off+count*dxEntry])
	c = crc32c(c, data[tail:tail+4])
	return crc32c(c, []byte{0, 0, 0, 0})
}

// sealIndex writes the checksum of an index block.
func (in *inode) sealIndex(data []byte, off int) {
	if !in.fs.sb.metadataCsum() {
		return
	}
	limit, count := in.fs.sb.dxRoom(off), int(binary.LittleEndian.Uint16(data[off+2:]))
	tail := off + limit*dxEntry
	binary.LittleEndian.PutUint32(data[tail+4:], in.dxChecksum(data, off, count, tail))
}

// dxNode reads block n of the directory as a node of its index.
func (in *inode) dxNode(n uint32) (dxNode, error) {
	if n >= in.dirBlocks() {
		return dxNode{}, corrupt("directory index", in.ino, 0, "leads to block %d of %d", n, in.dirBlocks())
	}
	b, err := in.dirBlock(n)
	if err != nil {
		return dxNode{}, err
	}
	x := dxNode{b: b, n: n, off: dxNodeEntries}
	if n == 0 {
		x.off = dxRootEntries
	} else if _, ok := in.dxEntries(b.data, n); !ok {
		return dxNode{}, corrupt("directory index", in.ino, b.blk, "block %d is not a node", n)
	}
	x.room = in.fs.sb.dxRoom(x.off)
	if limit := int(binary.LittleEndian.Uint16(b.data[x.off:])); limit != x.room || x.count() > limit || x.count() == 0 {
		return dxNode{}, corrupt("directory index", in.ino, b.blk, "%d entries of at most %d, room for %d", x.count(), limit, x.room)
	}
	return x, nil
}

// dxRoot reads the root of the index, with the version of its hash and the
// number of levels between it and the leaves.
func (in *inode) dxRoot() (x dxNode, version byte, levels int, err error) {
	if x, err = in.dxNode(0); err != nil {
		return x, 0, 0, err
	}
	data := x.b.data
	bad := func(what string) error { return corrupt("directory index", in.ino, x.b.blk, "%s", what) }
	dot, err := in.dirent(x.b.blk, data, 0)
	if err != nil {
		return x, 0, 0, err
	}
	dotdot, err := in.dirent(x.b.blk, data, direntSize(1))
	if err != nil {
		return x, 0, 0, err
	}
	version, levels = data[dxInfo+4], int(data[dxInfo+6])
	switch {
	case string(dot.name) != "." || string(dotdot.name) != ".." || dot.recLen != direntSize(1) || dotdot.recLen != len(data)-direntSize(1):
		return x, 0, 0, bad(`it does not begin with "." and ".."`)
	case binary.LittleEndian.Uint32(data[dxInfo:]) != 0 || data[dxInfo+5] != 8 || data[dxInfo+7]&1 != 0:
		return x, 0, 0, bad("its head is not as it should be")
	case version > hashTEA:
		return x, 0, 0, &UnsupportedError{Features: []string{"an unknown directory hash"}, Writing: true}
	case levels > in.dxMaxLevels():
		return x, 0, 0, bad("it is too deep")
	}
	return x, version, levels, nil
}

func (in *inode) dxMaxLevels() int {
	if in.fs.sb.hasIncompat(incompatLargeDir) {
		return 2
	}
	return 1
}

// probe follows hash through the index, from the root to the lowest node.
func (in *inode) probe(name string) (path []dxNode, hash uint32, version byte, err error) {
	x, version, levels, err := in.dxRoot()
	if err != nil {
		return nil, 0, 0, err
	}
	hash = in.fs.sb.dirHash(version, []byte(name))
	for {
		x.at = sort.Search(x.count()-1, func(i int) bool { return x.hash(i+1) > hash })
		path = append(path, x)
		if len(path) > levels {
			return path, hash, version, nil
		}
		n := x.block(x.at)
		if slices.ContainsFunc(path, func(p dxNode) bool { return p.n == n }) {
			return nil, 0, 0, corrupt("directory index", in.ino, x.b.blk, "it leads back to itself")
		}
		if x, err = in.dxNode(n); err != nil {
			return nil, 0, 0, err
		}
	}
}

// advance moves path on to the next leaf, if names with the given hash may go on there.
func (in *inode) advance(path []dxNode, hash uint32) (bool, error) {
	level := len(path) - 1
	for path[level].at++; path[level].at >= path[level].count(); path[level].at++ {
		if level--; level < 0 {
			return false, nil
		}
	}
	// The lowest bit of a hash in the index says that the block before has names with it too.
	if h := path[level].hash(path[level].at); h&^1 != hash {
		return false, nil
	}
	for ; level+1 < len(path); level++ {
		x, err := in.dxNode(path[level].block(path[level].at))
		if err != nil {
			return false, err
		}
		path[level+1] = x
	}
	return true, nil
}

// leaf is the block that the path leads to.
func leaf(path []dxNode) uint32 {
	x := path[len(path)-1]
	return x.block(x.at)
}

// seekIndexed finds the entry name by the index.
func (in *inode) seekIndexed(name string) (spot, error) {
	if name == "." || name == ".." {
		s, _, err := in.seekBlock(0, name)
		return s, err
	}
	path, hash, _, err := in.probe(name)
	if err != nil {
		return spot{}, err
	}
	for range in.dirBlocks() {
		n := leaf(path)
		if err := in.checkLeaf(path, n); err != nil {
			return spot{}, err
		}
		if s, ok, err := in.seekBlock(n, name); err != nil || ok {
			return s, err
		}
		if more, err := in.advance(path, hash); err != nil || !more {
			return spot{}, err
		}
	}
	return spot{}, corrupt("directory index", in.ino, path[0].b.blk, "it leads to more blocks than there are")
}

// checkLeaf refuses an index that leads to a block which is none of entries.
func (in *inode) checkLeaf(path []dxNode, n uint32) error {
	if n == 0 || n >= in.dirBlocks() || slices.ContainsFunc(path, func(p dxNode) bool { return p.n == n }) {
		return corrupt("directory index", in.ino, path[len(path)-1].b.blk, "it leads to block %d of %d", n, in.dirBlocks())
	}
	return nil
}

// addIndexed adds an entry to the leaf that its hash belongs to. A full leaf is
// split, and so are the nodes above it that have no room for one more; each
// round makes room for the next.
func (in *inode) addIndexed(name string, ino uint32, ftype byte) error {
	for range 16 {
		path, _, version, err := in.probe(name)
		if err != nil {
			return err
		}
		n := leaf(path)
		if err := in.checkLeaf(path, n); err != nil {
			return err
		}
		b, err := in.dirBlock(n)
		if err != nil {
			return err
		}
		if ok, err := in.insertInto(b, name, ino, ftype); err != nil || ok {
			return err
		}
		if x := path[len(path)-1]; x.count() < x.room {
			err = in.splitLeaf(x, b, version)
		} else {
			err = in.growIndex(path)
		}
		if err != nil {
			return err
		}
	}
	return corrupt("directory index", in.ino, 0, "no room could be made for %q", name)
}

// growIndex makes room in a node of the path that is full: it splits the
// uppermost of the full nodes at its end, or adds a level below the root.
func (in *inode) growIndex(path []dxNode) error {
	level := len(path) - 1
	for level > 0 && path[level-1].count() >= path[level-1].room {
		level--
	}
	x := path[level]
	if level == 0 && len(path) > in.dxMaxLevels() {
		return errDirFull
	}
	b, n, err := in.appendBlock()
	if err != nil {
		return err
	}
	in.setRecLen(b.data, 0, len(b.data))
	node := dxNode{b: b, n: n, off: dxNodeEntries, room: in.fs.sb.dxRoom(dxNodeEntries)}
	data, count := in.fs.edit(x.b), x.count()
	keep := 0
	if level > 0 {
		keep = count / 2
	}
	copy(b.data[node.off:], data[x.off+dxEntry*keep:x.off+dxEntry*count])
	node.setCount(b.data, count-keep)
	in.sealIndex(b.data, node.off)
	if level > 0 {
		hash := x.hash(keep)
		clear(data[x.off+dxEntry*keep : x.off+dxEntry*count])
		x.setCount(data, keep)
		in.sealIndex(data, x.off)
		path[level-1].insert(in, path[level-1].at, hash, n)
		return nil
	}
	clear(data[x.off+dxEntry : x.off+dxEntry*count])
	x.setCount(data, 1)
	binary.LittleEndian.PutUint32(data[x.off+4:], n)
	data[dxInfo+6]++
	in.sealIndex(data, x.off)
	return nil
}

// hashed is an entry of a leaf with its hash.
type hashed struct {
	hash, ino uint32
	ftype     byte
	name      string
}

// splitLeaf moves the upper half of a full leaf, by hash, to a new block, and
// tells the node x, which led to the leaf and has room.
func (in *inode) splitLeaf(x dxNode, b *buffer, version byte) error {
	var list []hashed
	err := in.entries(b.blk, b.data[:in.leafEnd()], func(d dirent) bool {
		if d.ino != 0 {
			list = append(list, hashed{in.fs.sb.dirHash(version, d.name), d.ino, d.ftype, string(d.name)})
		}
		return false
	})
	if err != nil {
		return err
	}
	if len(list) < 2 {
		return corrupt("directory index", in.ino, b.blk, "a full block of %d entries cannot be split", len(list))
	}
	slices.SortStableFunc(list, func(a, b hashed) int { return cmp.Compare(a.hash, b.hash) })
	// The new block's place in the index is where its names will be looked for
	// only if the index is in order around it.
	if x.at > 0 && list[0].hash < x.hash(x.at)&^1 || x.at+1 < x.count() && list[len(list)-1].hash >= x.hash(x.at+1) {
		return corrupt("directory index", in.ino, b.blk, "the block has names whose hashes belong elsewhere")
	}
	split, size := len(list), 0
	for split > 1 {
		n := direntSize(len(list[split-1].name))
		if size+n/2 > len(b.data)/2 {
			break
		}
		size += n
		split--
	}
	if split == len(list) || split == 1 {
		split = len(list) / 2
	}
	hash := list[split].hash
	if hash == list[split-1].hash {
		hash |= 1
	}
	upper, n, err := in.appendBlock()
	if err != nil {
		return err
	}
	in.fillLeaf(upper.data, list[split:])
	in.fillLeaf(in.fs.edit(b), list[:split])
	x.insert(in, x.at, hash, n)
	return nil
}

// fillLeaf makes data a block of exactly the given entries.
func (in *inode) fillLeaf(data []byte, list []hashed) {
	clear(data)
	off, end := 0, in.leafEnd()
	for i, e := range list {
		n := direntSize(len(e.name))
		if i == len(list)-1 {
			n = end - off
		}
		in.putDirent(data, off, n, e.ino, e.ftype, e.name)
		off += n
	}
	if len(list) == 0 {
		in.setRecLen(data, 0, end)
	}
	in.sealLeaf(data)
}

// makeIndex turns a directory of one block into one with an index: the entries
// move to a second block, and the first becomes the root.
func (in *inode) makeIndex() error {
	b, err := in.dirBlock(0)
	if err != nil {
		return err
	}
	var list []hashed
	err = in.entries(b.blk, b.data[:in.leafEnd()], func(d dirent) bool {
		if d.ino != 0 {
			list = append(list, hashed{0, d.ino, d.ftype, string(d.name)})
		}
		return false
	})
	if err != nil {
		return err
	}
	if len(list) < 2 || list[0].name != "." || list[1].name != ".." {
		return corrupt("directory", in.ino, b.blk, `it does not begin with "." and ".."`)
	}
	below, n, err := in.appendBlock()
	if err != nil {
		return err
	}
	in.fillLeaf(below.data, list[2:])
	data := in.fs.edit(b)
	clear(data)
	in.putDirent(data, 0, direntSize(1), list[0].ino, list[0].ftype, ".")
	in.putDirent(data, direntSize(1), len(data)-direntSize(1), list[1].ino, list[1].ftype, "..")
	version := in.fs.sb.hashVersion
	if version > hashTEA {
		version = hashHalfMD4
	}
	data[dxInfo+4], data[dxInfo+5] = version, 8
	root := dxNode{b: b, off: dxRootEntries, room: in.fs.sb.dxRoom(dxRootEntries)}
	root.setCount(data, 1)
	binary.LittleEndian.PutUint32(data[root.off+4:], n)
	in.put32(iFlags, in.flags()|flagIndex)
	in.sealIndex(data, root.off)
	return nil
}
