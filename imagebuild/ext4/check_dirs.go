package ext4

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// dirInfo is what is remembered of a directory.
type dirInfo struct {
	ino    uint32
	blocks uint32 // up to the last one that is mapped
	first  int    // where its blocks begin in checker.dirBlocks; they go on to the next directory's
	parent uint32 // the directory with the entry that leads here, 0 so far
	dotdot uint32 // the one that ".." leads to
}

// dirBlock is where block n of a directory is.
type dirBlock struct {
	n   uint32
	blk uint64
}

// dirCheck goes through one directory.
type dirCheck struct {
	c     *checker
	in    *inode
	info  *dirInfo
	index *indexCheck // nil without a hash index
	blk   uint64      // the block at hand
	k     int         // its place among those of the directory
	names []dirent    // of the block at hand
}

// dir finds what is remembered of directory ino.
func (c *checker) dir(ino uint32) *dirInfo {
	i, ok := slices.BinarySearchFunc(c.dirList, ino, func(d dirInfo, ino uint32) int { return cmp.Compare(d.ino, ino) })
	if !ok {
		return nil
	}
	return &c.dirList[i]
}

// blocksOf returns where the blocks of the i-th directory are.
func (c *checker) blocksOf(i int) []dirBlock {
	if i+1 < len(c.dirList) {
		return c.dirBlocks[c.dirList[i].first:c.dirList[i+1].first]
	}
	return c.dirBlocks[c.dirList[i].first:]
}

// checkDirs reads all directories.
func (c *checker) checkDirs() error {
	if d := c.dir(rootIno); d != nil {
		d.parent = rootIno
	}
	p := make([]byte, c.sb.blockSize)
	for i := range c.dirList {
		in, err := c.inode(c.dirList[i].ino)
		if err != nil {
			return err
		}
		in.raw = bytes.Clone(in.raw)
		d := &dirCheck{c: c, in: in, info: &c.dirList[i]}
		if in.has(flagInlineData) && c.sb.hasIncompat(incompatInlineData) {
			d.inline()
			continue
		}
		for k, b := range c.blocksOf(i) {
			if k == 0 && b.n > 0 {
				d.bad(CodeDirectory, "it does not begin with block 0")
			}
			if err := c.read(b.blk, p); err != nil {
				return err
			}
			d.block(k, b, p)
		}
		if err := d.finishIndex(c.blocksOf(i)); err != nil {
			return err
		}
	}
	return nil
}

func (d *dirCheck) bad(code Code, format string, args ...any) {
	d.c.find(Finding{Code: code, Inode: d.in.ino, Block: d.blk, Group: -1}, format, args...)
}

// block checks block b, the k-th of the directory that there is.
func (d *dirCheck) block(k int, b dirBlock, p []byte) {
	d.blk, d.k = b.blk, k
	end := len(p)
	switch {
	case b.n == 0 && d.in.isIndexed():
		d.startIndex(p)
	case d.index != nil && d.index.addNode(k, p):
	case d.c.sb.metadataCsum():
		end -= dirTail
		d.checkLeafSum(p)
	}
	d.entries(p[:end], 0, b.n == 0)
}

// checkLeafSum checks the checksum at the end of a block of entries.
func (d *dirCheck) checkLeafSum(p []byte) {
	le := binary.LittleEndian
	tail := len(p) - dirTail
	if le.Uint32(p[tail:]) != 0 || le.Uint16(p[tail+4:]) != dirTail || p[tail+6] != 0 || p[tail+7] != dirTailType {
		d.bad(CodeDirChecksum, "the block ends without one")
		return
	}
	if got, want := le.Uint32(p[tail+8:]), crc32c(d.in.seed(), p[:tail]); got != want {
		d.bad(CodeDirChecksum, "it is %#08x, should be %#08x", got, want)
	}
}

// inline checks a directory that lives in its inode: the number of its parent,
// then entries in i_block, then more in an attribute.
func (d *dirCheck) inline() {
	head, tail, err := d.in.inlineData()
	if err != nil {
		return // found with the inode
	}
	if n := len(tail); n%4 != 0 || n > 0 && n < direntSize(1) {
		d.bad(CodeInlineData, "%d bytes of entries in the attribute", n)
	}
	ino := d.in.ino
	d.names = d.names[:0]
	d.entry(dirent{ino: ino, recLen: direntSize(1), ftype: d.c.dirType(), name: []byte(".")}, 0)
	d.entry(dirent{ino: binary.LittleEndian.Uint32(head), recLen: direntSize(2), ftype: d.c.dirType(), name: []byte("..")}, 1)
	d.entries(head[4:], 2, false)
	d.entries(tail, 2, false)
}

func (c *checker) dirType() byte { return c.sb.direntType(modeDir) }

// entries checks how data is cut into entries, and each of them. The first
// has the given place in the directory, of which only 0 and 1 differ from all others.
func (d *dirCheck) entries(data []byte, place int, first bool) {
	if !first {
		place = 2
	}
	d.names = d.names[:0]
	off := 0
	for ; off < len(data); place++ {
		e, ok := d.c.decodeEntry(data, off)
		if !ok {
			d.bad(CodeDirectory, "the entry at byte %d, of %d bytes with a name of %d, does not fit", off, e.recLen, len(e.name))
			return
		}
		if after := off + direntHeader + len(e.name); place < 2 && e.ino != 0 && after < len(data) && data[after] != 0 {
			d.bad(CodeDirEntry, "a zero byte should follow %q", e.name)
		}
		d.entry(e, place)
		off += e.recLen
	}
	d.checkDuplicates()
}

// decodeEntry reads the entry at off as far as it is inside of data.
func (c *checker) decodeEntry(data []byte, off int) (e dirent, ok bool) {
	sb := c.sb
	e.off = off
	if len(data)-off < direntHeader {
		return e, false
	}
	e.ino = binary.LittleEndian.Uint32(data[off:])
	e.recLen = sb.decodeRecLen(binary.LittleEndian.Uint16(data[off+4:]))
	n := int(data[off+6])
	e.ftype = data[off+7]
	e.name = data[off+direntHeader : min(len(data), off+direntHeader+n)]
	if e.recLen < direntSize(1) || e.recLen%4 != 0 || e.recLen > len(data)-off || direntSize(n) > e.recLen {
		return e, false
	}
	return e, true
}

// checkDuplicates looks for a name that a block has twice. Equal names in
// different blocks of a directory are not looked for, as e2fsck does not.
func (d *dirCheck) checkDuplicates() {
	slices.SortFunc(d.names, func(a, b dirent) int { return bytes.Compare(a.name, b.name) })
	for i := 1; i < len(d.names); i++ {
		if bytes.Equal(d.names[i].name, d.names[i-1].name) {
			d.bad(CodeDirEntry, "the name %q is there twice", d.names[i].name)
			return
		}
	}
}
