package ext4

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"math"
)

const (
	maxName = 255
	// direntHeader is what an entry has before its name: inode number, length
	// of the entry, length of the name, type.
	direntHeader = 8
	// dirTail is the size of the false entry that carries a block's checksum.
	dirTail     = 12
	dirTailType = 0xDE
)

// dirent is one entry of a directory block. One with inode 0 is free space.
type dirent struct {
	off, recLen int
	ino         uint32
	ftype       byte
	name        []byte // in the block's buffer
}

// used is how many bytes the entry needs.
func (d dirent) used() int {
	if d.ino == 0 {
		return 0
	}
	return direntSize(len(d.name))
}

// direntSize is the room that an entry with a name of n bytes takes.
func direntSize(n int) int { return (direntHeader + n + 3) &^ 3 }

// decodeRecLen turns the 16 bits on disk into a length: blocks of 64 KiB need one bit more.
func (sb *superblock) decodeRecLen(v uint16) int {
	if sb.blockSize < 1<<16 {
		return int(v)
	}
	if v == math.MaxUint16 || v == 0 {
		return sb.blockSize
	}
	return int(v)&0xFFFC | int(v)&3<<16
}

func (sb *superblock) encodeRecLen(n int) uint16 {
	if n < 1<<16 {
		return uint16(n)
	}
	return math.MaxUint16
}

// dirent decodes the entry at off of a directory block.
func (in *inode) dirent(blk uint64, data []byte, off int) (dirent, error) {
	sb := in.fs.sb
	bad := func(what string) (dirent, error) {
		return dirent{}, corrupt("directory", in.ino, blk, "entry at byte %d: %s", off, what)
	}
	if off+direntHeader > len(data) {
		return bad("reaches past the block")
	}
	d := dirent{off: off, ino: binary.LittleEndian.Uint32(data[off:])}
	d.recLen = sb.decodeRecLen(binary.LittleEndian.Uint16(data[off+4:]))
	// Where types are not recorded, their byte is the upper half of the length
	// of a name, which is never set but in the false entry of a checksum.
	n := int(data[off+6])
	if sb.hasIncompat(incompatFiletype) {
		d.ftype = data[off+7]
	}
	switch {
	case d.recLen < direntSize(1) || d.recLen%4 != 0 || off+d.recLen > len(data):
		return bad("length out of range")
	case n > maxName || direntSize(n) > d.recLen:
		return bad("name longer than the entry")
	case d.ino > sb.inodes:
		return bad("inode number past the last one")
	}
	d.name = data[off+direntHeader : off+direntHeader+n]
	if d.ino != 0 && (n == 0 || bytes.IndexByte(d.name, 0) >= 0 || bytes.IndexByte(d.name, '/') >= 0) {
		return bad("name is empty, or has a slash or a zero byte in it")
	}
	return d, nil
}

// entries calls fn for every entry in data, until it says stop.
func (in *inode) entries(blk uint64, data []byte, fn func(dirent) (stop bool)) error {
	for off := 0; off < len(data); {
		d, err := in.dirent(blk, data, off)
		if err != nil {
			return err
		}
		if fn(d) {
			return nil
		}
		off += d.recLen
	}
	return nil
}

// isIndexed says whether the directory has a hash index.
func (in *inode) isIndexed() bool {
	return in.has(flagIndex) && in.fs.sb.hasCompat(compatDirIndex)
}

// dirBlocks is the number of blocks of a directory.
func (in *inode) dirBlocks() uint32 {
	return uint32(in.size() / int64(in.fs.sb.blockSize))
}

// dirBlock returns block n of a directory, verified.
func (in *inode) dirBlock(n uint32) (*buffer, error) {
	m, err := in.blocks()
	if err != nil {
		return nil, err
	}
	r := m.lookup(n)
	if r.phys == 0 || r.unwritten {
		return nil, corrupt("directory", in.ino, 0, "hole at block %d of the directory", n)
	}
	b, err := in.fs.block(r.phys)
	if err != nil {
		return nil, err
	}
	return b, in.verifyDirBlock(b, n)
}

// dxEntries says where the index entries begin, if block n of the directory
// is the root or an inner node of its hash index.
func (in *inode) dxEntries(data []byte, n uint32) (off int, ok bool) {
	if !in.has(flagIndex) {
		return 0, false
	}
	if n == 0 {
		return dxRootEntries, true
	}
	if in.fs.sb.decodeRecLen(binary.LittleEndian.Uint16(data[4:])) == len(data) && binary.LittleEndian.Uint32(data) == 0 {
		return dxNodeEntries, true
	}
	return 0, false
}

func (in *inode) verifyDirBlock(b *buffer, n uint32) error {
	if !in.fs.sb.metadataCsum() || b.verified {
		return nil
	}
	le := binary.LittleEndian
	var got, want uint32
	if off, ok := in.dxEntries(b.data, n); ok {
		limit, count := int(le.Uint16(b.data[off:])), int(le.Uint16(b.data[off+2:]))
		tail := off + limit*dxEntry
		if count > limit || tail+dxTail > len(b.data) {
			return corrupt("directory index", in.ino, b.blk, "%d entries of at most %d", count, limit)
		}
		got, want = le.Uint32(b.data[tail+4:]), in.dxChecksum(b.data, off, count, tail)
	} else {
		tail := len(b.data) - dirTail
		if le.Uint32(b.data[tail:]) != 0 || le.Uint16(b.data[tail+4:]) != dirTail || b.data[tail+7] != dirTailType {
			return corrupt("directory", in.ino, b.blk, "no room for a checksum at its end")
		}
		got, want = le.Uint32(b.data[tail+8:]), crc32c(in.seed(), b.data[:tail])
	}
	if got != want {
		return corrupt("directory", in.ino, b.blk, "checksum is %#08x, should be %#08x", got, want)
	}
	b.verified = true
	return nil
}

// scan calls fn for every entry of the directory, those of free space and of
// "." and ".." included, until it says stop.
func (in *inode) scan(fn func(dirent) (stop bool)) error {
	if in.has(flagInlineData) {
		return in.scanInline(fn)
	}
	stop := false
	for n := range in.dirBlocks() {
		b, err := in.dirBlock(n)
		if err != nil {
			return err
		}
		err = in.entries(b.blk, b.data, func(d dirent) bool {
			stop = fn(d)
			return stop
		})
		if err != nil || stop {
			return err
		}
	}
	return nil
}

// lookup finds name in the directory: inode number 0 says that it is not there.
func (in *inode) lookup(name string) (ino uint32, err error) {
	if !in.isDir() {
		return 0, errNotDir
	}
	if in.has(flagEncrypt) {
		return 0, &UnsupportedError{Features: []string{"an encrypted directory"}}
	}
	var s spot
	linear := in.has(flagInlineData)
	if !linear {
		// Without an operation under way nothing will be written on account of
		// a damaged index: what it would have led to can still be read.
		if s, err = in.seek(name); err != nil && in.isIndexed() && in.fs.tx == nil {
			linear = true
		}
	}
	if linear {
		err = in.scan(func(d dirent) bool {
			if d.ino != 0 && string(d.name) == name {
				ino = d.ino
			}
			return ino != 0
		})
		return ino, err
	}
	return s.d.ino, err
}

// list returns the entries of the directory but "." and "..", in the order of the disk.
func (in *inode) list() ([]listed, error) {
	if !in.isDir() {
		return nil, errNotDir
	}
	if in.has(flagEncrypt) {
		return nil, &UnsupportedError{Features: []string{"an encrypted directory"}}
	}
	var out []listed
	err := in.scan(func(d dirent) bool {
		if n := string(d.name); d.ino != 0 && n != "." && n != ".." {
			out = append(out, listed{n, d.ino, d.ftype})
		}
		return false
	})
	return out, err
}

// listed is one entry of a directory, out of its block.
type listed struct {
	name  string
	ino   uint32
	ftype byte
}

// direntType is the type of an entry for an inode with the given mode, 0 where
// the file system does not record types.
func (sb *superblock) direntType(mode uint16) byte {
	if !sb.hasIncompat(incompatFiletype) {
		return 0
	}
	switch mode & modeType {
	case modeRegular:
		return 1
	case modeDir:
		return 2
	case modeChar:
		return 3
	case modeBlock:
		return 4
	case modeFIFO:
		return 5
	case modeSocket:
		return 6
	case modeSymlink:
		return 7
	}
	return 0
}

// typeOfDirent is the reverse of direntType; known is false where only the inode can tell.
func typeOfDirent(t byte) (mode fs.FileMode, known bool) {
	types := [...]uint16{1: modeRegular, modeDir, modeChar, modeBlock, modeFIFO, modeSocket, modeSymlink}
	if t == 0 || int(t) >= len(types) {
		return 0, false
	}
	return goMode(types[t]).Type(), true
}
