package ext4

import (
	"encoding/binary"
)

// putDirent writes an entry at off, recLen bytes long.
func (in *inode) putDirent(data []byte, off, recLen int, ino uint32, ftype byte, name string) {
	le := binary.LittleEndian
	le.PutUint32(data[off:], ino)
	le.PutUint16(data[off+4:], in.fs.sb.encodeRecLen(recLen))
	data[off+6], data[off+7] = byte(len(name)), ftype
	clear(data[off+direntHeader : off+direntSize(len(name))])
	copy(data[off+direntHeader:], name)
}

func (in *inode) setRecLen(data []byte, off, recLen int) {
	binary.LittleEndian.PutUint16(data[off+4:], in.fs.sb.encodeRecLen(recLen))
}

// leafEnd is where the entries of a directory block end: at its checksum, or at its end.
func (in *inode) leafEnd() int {
	if in.fs.sb.metadataCsum() {
		return in.fs.sb.blockSize - dirTail
	}
	return in.fs.sb.blockSize
}

// sealLeaf writes the checksum at the end of a block of entries.
func (in *inode) sealLeaf(data []byte) {
	if !in.fs.sb.metadataCsum() {
		return
	}
	tail := len(data) - dirTail
	in.putDirent(data, tail, dirTail, 0, 0, "")
	data[tail+7] = dirTailType
	binary.LittleEndian.PutUint32(data[tail+8:], crc32c(in.seed(), data[:tail]))
}

// insertInto puts an entry into a block of entries, if it has room.
func (in *inode) insertInto(b *buffer, name string, ino uint32, ftype byte) (bool, error) {
	need, end := direntSize(len(name)), in.leafEnd()
	var spot dirent
	found := false
	err := in.entries(b.blk, b.data[:end], func(d dirent) bool {
		spot, found = d, d.recLen-d.used() >= need
		return found
	})
	if err != nil || !found {
		return false, err
	}
	data := in.fs.edit(b)
	off, room := spot.off, spot.recLen
	if n := spot.used(); n > 0 {
		in.setRecLen(data, off, n)
		off, room = off+n, room-n
	}
	in.putDirent(data, off, room, ino, ftype, name)
	in.sealLeaf(data)
	return true, nil
}

// appendBlock adds a block of zeros to the end of the directory.
func (in *inode) appendBlock() (*buffer, uint32, error) {
	n := in.dirBlocks()
	size := in.size() + int64(in.fs.sb.blockSize)
	if size >= 1<<31 && !in.fs.sb.hasIncompat(incompatLargeDir) {
		return nil, 0, errFileTooBig
	}
	m, err := in.blocks()
	if err != nil {
		return nil, 0, err
	}
	if uint64(n) >= m.maxBlocks() {
		return nil, 0, errFileTooBig
	}
	// Blocks behind the end would be taken for entries: a directory has none.
	if r := m.lookup(n); r.phys != 0 {
		return nil, 0, corrupt("directory", in.ino, r.phys, "a block behind its end")
	}
	if err := in.mapBlocks(m, n, n); err != nil {
		return nil, 0, err
	}
	in.setSize(size)
	b, err := in.fs.fresh(m.lookup(n).phys)
	return b, n, err
}

// add gives inode ino the name name in the directory, where there is none such yet.
func (in *inode) add(name string, ino uint32, ftype byte) error {
	if len(name) > maxName {
		return errNameTooLong
	}
	if err := in.checkEditable(); err != nil {
		return err
	}
	if in.has(flagIndex) && !in.isIndexed() {
		return &UnsupportedError{Features: []string{"an indexed directory, but no dir_index"}, Writing: true}
	}
	in.touch()
	if in.isIndexed() {
		if err := in.addIndexed(name, ino, ftype); err != nil {
			return err
		}
		return in.store()
	}
	blocks := in.dirBlocks()
	for n := range blocks {
		b, err := in.dirBlock(n)
		if err != nil {
			return err
		}
		if ok, err := in.insertInto(b, name, ino, ftype); err != nil {
			return err
		} else if ok {
			return in.store()
		}
	}
	if blocks == 1 && in.fs.sb.hasCompat(compatDirIndex) {
		if err := in.makeIndex(); err != nil {
			return err
		}
		if err := in.addIndexed(name, ino, ftype); err != nil {
			return err
		}
		return in.store()
	}
	b, _, err := in.appendBlock()
	if err != nil {
		return err
	}
	in.setRecLen(b.data, 0, in.leafEnd())
	if _, err := in.insertInto(b, name, ino, ftype); err != nil {
		return err
	}
	return in.store()
}

// spot is where an entry of a directory was found.
type spot struct {
	n    uint32 // block of the directory
	b    *buffer
	d    dirent
	prev int // offset of the entry before it in the block, or -1
}

// seek finds the entry name.
func (in *inode) seek(name string) (spot, error) {
	if in.isIndexed() {
		return in.seekIndexed(name)
	}
	for n := range in.dirBlocks() {
		if s, ok, err := in.seekBlock(n, name); err != nil || ok {
			return s, err
		}
	}
	return spot{}, nil
}

// seekBlock looks for the entry name in block n.
func (in *inode) seekBlock(n uint32, name string) (spot, bool, error) {
	b, err := in.dirBlock(n)
	if err != nil {
		return spot{}, false, err
	}
	s, prev, ok := spot{n: n, b: b}, -1, false
	err = in.entries(b.blk, b.data, func(d dirent) bool {
		if ok = d.ino != 0 && string(d.name) == name; ok {
			s.d, s.prev = d, prev
		}
		prev = d.off
		return ok
	})
	return s, ok, err
}

// sealBlock makes the checksum right of block n, whatever it holds.
func (in *inode) sealBlock(n uint32, data []byte) {
	if !in.fs.sb.metadataCsum() {
		return
	}
	if off, ok := in.dxEntries(data, n); ok {
		in.sealIndex(data, off)
		return
	}
	in.sealLeaf(data)
}

// drop removes the entry name, which must be there.
func (in *inode) drop(name string) error {
	if err := in.checkEditable(); err != nil {
		return err
	}
	s, err := in.seek(name)
	if err != nil {
		return err
	}
	if s.b == nil {
		return corrupt("directory", in.ino, 0, "entry %q is not where the index says", name)
	}
	data := in.fs.edit(s.b)
	clear(data[s.d.off+direntHeader : s.d.off+direntSize(len(s.d.name))])
	if s.prev >= 0 {
		prev, err := in.dirent(s.b.blk, data, s.prev)
		if err != nil {
			return err
		}
		clear(data[s.d.off : s.d.off+direntHeader])
		in.setRecLen(data, s.prev, prev.recLen+s.d.recLen)
	} else {
		binary.LittleEndian.PutUint32(data[s.d.off:], 0)
		data[s.d.off+6], data[s.d.off+7] = 0, 0
	}
	in.sealBlock(s.n, data)
	in.touch()
	return in.store()
}

// redirect makes the entry name, which must be there, lead to another inode.
func (in *inode) redirect(name string, ino uint32, ftype byte) error {
	if err := in.checkEditable(); err != nil {
		return err
	}
	var s spot
	var err error
	if name == ".." {
		s, _, err = in.seekBlock(0, name)
	} else {
		s, err = in.seek(name)
	}
	if err != nil {
		return err
	}
	if s.b == nil || len(s.d.name) == 0 {
		return corrupt("directory", in.ino, 0, "no entry %q", name)
	}
	data := in.fs.edit(s.b)
	binary.LittleEndian.PutUint32(data[s.d.off:], ino)
	if in.fs.sb.hasIncompat(incompatFiletype) {
		data[s.d.off+7] = ftype
	}
	in.sealBlock(s.n, data)
	return in.store()
}

// initDir makes the first block of a new directory.
func (in *inode) initDir(parent uint32) error {
	b, _, err := in.appendBlock()
	if err != nil {
		return err
	}
	t := in.fs.sb.direntType(modeDir)
	in.putDirent(b.data, 0, direntSize(1), in.ino, t, ".")
	in.putDirent(b.data, direntSize(1), in.leafEnd()-direntSize(1), parent, t, "..")
	in.sealLeaf(b.data)
	return nil
}

// isEmpty says whether a directory has no entries but "." and "..".
func (in *inode) isEmpty() (bool, error) {
	empty := true
	err := in.scan(func(d dirent) bool {
		if n := string(d.name); d.ino != 0 && n != "." && n != ".." {
			empty = false
		}
		return !empty
	})
	return empty, err
}
