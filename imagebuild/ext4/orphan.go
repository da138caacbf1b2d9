package ext4

import (
	"encoding/binary"
	"fmt"
)

// Blocks of the orphan file: numbers of inodes, then a magic number and a checksum.
const (
	orphanMagic = 0x0B10CA04
	orphanTail  = 8
)

// orphan is an inode that was in use without a name, or that was being
// shortened, when the file system was left.
type orphan struct {
	ino uint32
	// Where it is noted: in the list that begins in the superblock, next being
	// the one after it; or at a place in a block of the orphan file.
	next  uint32
	block uint64
	off   int
}

// orphans collects the orphans: those of the list, which is linked through the
// time of deletion in the inodes, then those of the orphan file.
func (f *FS) orphans() ([]orphan, error) {
	var out []orphan
	seen := map[uint32]bool{}
	add := func(o orphan) error {
		if o.ino < f.sb.firstIno || o.ino > f.sb.inodes || o.ino == f.sb.orphanFileIno {
			return corrupt("list of orphans", o.ino, o.block, "no file can have this inode")
		}
		if seen[o.ino] {
			return corrupt("list of orphans", o.ino, o.block, "the inode is in it twice")
		}
		seen[o.ino] = true
		out = append(out, o)
		return nil
	}
	for ino := f.sb.lastOrphan; ino != 0; {
		o := orphan{ino: ino}
		if ino <= f.sb.inodes {
			in, err := f.orphanInode(ino)
			if err != nil {
				return nil, err
			}
			o.next = in.u32(iDtime)
		}
		if err := add(o); err != nil {
			return nil, err
		}
		ino = o.next
		if err := f.trim(); err != nil {
			return nil, err
		}
	}
	return out, f.scanOrphanFile(add)
}

// scanOrphanFile calls fn for every entry of the orphan file.
func (f *FS) scanOrphanFile(fn func(orphan) error) error {
	if !f.sb.hasROCompat(roCompatOrphanPresent) {
		return nil
	}
	if !f.sb.hasCompat(compatOrphanFile) {
		return corrupt("superblock", 0, 0, "orphans are said to be in an orphan file, but there is none")
	}
	in, err := f.inode(f.sb.orphanFileIno)
	if err != nil {
		return err
	}
	m, err := in.blocks()
	if err != nil {
		return err
	}
	for l := range uint32(f.sb.blocksFor(in.size())) {
		r := m.lookup(l)
		if r.phys == 0 || r.unwritten {
			return corrupt("orphan file", in.ino, 0, "block %d of it is missing", l)
		}
		b, err := f.block(r.phys)
		if err != nil {
			return err
		}
		if p := in.orphanProblem(b); p != "" {
			return corrupt("orphan file", in.ino, b.blk, "%s", p)
		}
		for off := 0; off < len(b.data)-orphanTail; off += 4 {
			if ino := binary.LittleEndian.Uint32(b.data[off:]); ino != 0 {
				if err := fn(orphan{ino: ino, block: b.blk, off: off}); err != nil {
					return err
				}
			}
		}
		if err := f.trim(); err != nil {
			return err
		}
	}
	return nil
}

// orphanProblem says what is wrong with the tail of a block of the orphan file in, or "".
func (in *inode) orphanProblem(b *buffer) string {
	tail := b.data[len(b.data)-orphanTail:]
	if got := binary.LittleEndian.Uint32(tail); got != orphanMagic {
		return fmt.Sprintf("magic number is %#08x, not %#08x", got, orphanMagic)
	}
	if in.fs.sb.metadataCsum() {
		if got, want := binary.LittleEndian.Uint32(tail[4:]), in.orphanChecksum(b); got != want {
			return fmt.Sprintf("checksum is %#08x, should be %#08x", got, want)
		}
	}
	return ""
}

// orphanChecksum computes the checksum of a block of the orphan file in.
func (in *inode) orphanChecksum(b *buffer) uint32 {
	var num [8]byte
	binary.LittleEndian.PutUint64(num[:], b.blk)
	return crc32c(crc32c(in.seed(), num[:]), b.data[:len(b.data)-orphanTail])
}

// orphanInode loads an inode that may have no links left. It must be in use.
func (f *FS) orphanInode(ino uint32) (*inode, error) {
	in := &inode{fs: f, ino: ino, orphan: true}
	if err := in.load(); err != nil {
		return nil, err
	}
	g, err := f.group(in.home())
	if err != nil {
		return nil, err
	}
	bits, err := g.inodeBits()
	if err != nil {
		return nil, err
	}
	if !bit(bits, (ino-1)%f.sb.inodesPerGroup) {
		return nil, corrupt("list of orphans", ino, 0, "the inode is not in use")
	}
	return in, nil
}

// settleOrphan frees an orphan, or cuts it to its size, and strikes it out where it is noted.
func (f *FS) settleOrphan(o orphan) error {
	in, err := f.orphanInode(o.ino)
	if err != nil {
		return err
	}
	if in.links() == 0 {
		if err := in.discard(); err != nil {
			return err
		}
		f.recovery.Removed++
	} else {
		if err := in.finishTruncate(); err != nil {
			return err
		}
		f.recovery.Truncated++
	}
	if o.block == 0 {
		d, err := f.editSuper()
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint32(d[sbLastOrphan:], o.next)
		return nil
	}
	file, err := f.inode(f.sb.orphanFileIno)
	if err != nil {
		return err
	}
	b, err := f.block(o.block)
	if err != nil {
		return err
	}
	data := f.edit(b)
	clear(data[o.off : o.off+4])
	if f.sb.metadataCsum() {
		binary.LittleEndian.PutUint32(data[len(data)-4:], file.orphanChecksum(b))
	}
	return nil
}

// finishTruncate frees what the inode has behind its end.
func (in *inode) finishTruncate() error {
	in.put32(iDtime, 0) // it was the next orphan's number
	if in.has(flagInlineData) {
		return in.store()
	}
	if !in.hasMap() {
		return corrupt("list of orphans", in.ino, 0, "it is neither without a name nor a file that can be shortened")
	}
	m, err := in.blocks()
	if err != nil {
		return err
	}
	sb, size := in.fs.sb, in.size()
	if err := in.release(m.cut(uint32(min(sb.blocksFor(size), maxLogical)), maxLogical)); err != nil {
		return err
	}
	if rest := size % int64(sb.blockSize); rest != 0 {
		if r := m.lookup(uint32(size / int64(sb.blockSize))); r.phys != 0 && !r.unwritten {
			// Through the cache, so that nothing is written before all is known to be good.
			b, err := in.fs.block(r.phys)
			if err != nil {
				return err
			}
			clear(in.fs.edit(b)[rest:])
		}
	}
	return in.store()
}
