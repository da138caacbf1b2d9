package ext4

import (
	"encoding/binary"
	"io/fs"
	"time"
)

// Offsets in an inode. Those from iExtraIsize on exist in inodes larger than 128 bytes only.
const (
	iMode       = 0x00
	iUID        = 0x02
	iSizeLo     = 0x04
	iAtime      = 0x08
	iCtime      = 0x0C
	iMtime      = 0x10
	iDtime      = 0x14
	iGID        = 0x18
	iLinks      = 0x1A
	iBlocksLo   = 0x1C
	iFlags      = 0x20
	iVersion    = 0x24
	iBlock      = 0x28
	iBlockLen   = 60
	iGeneration = 0x64
	iFileACLLo  = 0x68
	iSizeHi     = 0x6C
	iFaddr      = 0x70
	iBlocksHi   = 0x74
	iFileACLHi  = 0x76
	iUIDHi      = 0x78
	iGIDHi      = 0x7A
	iChecksumLo = 0x7C
	iExtraIsize = 0x80
	iChecksumHi = 0x82
	iCtimeExtra = 0x84
	iMtimeExtra = 0x88
	iAtimeExtra = 0x8C
	iCrtime     = 0x90
	iCrtimeExt  = 0x94
)

// Inode flags.
const (
	flagImmutable  = 0x10
	flagAppend     = 0x20
	flagEncrypt    = 0x800
	flagIndex      = 0x1000
	flagImagic     = 0x2000
	flagHugeFile   = 0x40000
	flagExtents    = 0x80000
	flagVerity     = 0x100000
	flagEAInode    = 0x200000
	flagInlineData = 0x10000000
	flagCasefold   = 0x40000000
)

// File types in i_mode, and in directory entries.
const (
	modeType    = 0xF000
	modeFIFO    = 0x1000
	modeChar    = 0x2000
	modeDir     = 0x4000
	modeBlock   = 0x6000
	modeRegular = 0x8000
	modeSymlink = 0xA000
	modeSocket  = 0xC000

	maxLinks = 65000
)

// inode is one inode, as it is on disk, and the map of its blocks once that
// has been needed. Its changes reach the buffers by store.
type inode struct {
	fs  *FS
	ino uint32
	raw []byte
	m   *blockMap

	refs int // open files
	// stale says that blocks from the end of the file on still hold what was
	// there before it was truncated: they are re-used by writes, or else
	// freed when the file is closed.
	stale   bool
	removed bool
	orphan  bool // it may have no links: recovery frees it
}

// locate finds the block that holds inode ino, and the offset in it.
func (fs *FS) locate(ino uint32) (*buffer, int, error) {
	if ino == 0 || ino > fs.sb.inodes {
		return nil, 0, corrupt("inode number", ino, 0, "there are %d inodes", fs.sb.inodes)
	}
	g, err := fs.group((ino - 1) / fs.sb.inodesPerGroup)
	if err != nil {
		return nil, 0, err
	}
	off := uint64((ino-1)%fs.sb.inodesPerGroup) * uint64(fs.sb.inodeSize)
	b, err := fs.block(g.inodeTable() + off/uint64(fs.sb.blockSize))
	if err != nil {
		return nil, 0, err
	}
	return b, int(off % uint64(fs.sb.blockSize)), nil
}

// inode returns inode ino, which must be in use.
func (fs *FS) inode(ino uint32) (*inode, error) {
	if in, ok := fs.open[ino]; ok {
		return in, nil
	}
	if fs.tx != nil {
		if in, ok := fs.tx.inodes[ino]; ok {
			return in, nil
		}
	}
	in, ok := fs.kept[ino]
	if !ok {
		in = &inode{fs: fs, ino: ino}
		if err := in.load(); err != nil {
			return nil, err
		}
	}
	if fs.tx != nil {
		fs.tx.inodes[ino] = in
	}
	return in, nil
}

// load reads the inode and checks what every use of it relies on.
func (in *inode) load() error {
	b, off, err := in.fs.locate(in.ino)
	if err != nil {
		return err
	}
	sb := in.fs.sb
	in.raw = append(in.raw[:0], b.data[off:off+sb.inodeSize]...)
	in.m = nil
	if in.links() == 0 && !in.orphan || in.mode() == 0 {
		return corrupt("inode", in.ino, b.blk, "it is referred to, but not in use")
	}
	if x := in.extraIsize(); x > sb.inodeSize-goodOldInodeSize || x%4 != 0 {
		return corrupt("inode", in.ino, b.blk, "extra part of %d bytes", x)
	}
	if sb.metadataCsum() {
		if got, want := in.checksum(), sb.inodeChecksum(in.ino, in.raw); got != want {
			return corrupt("inode", in.ino, b.blk, "checksum is %#08x, should be %#08x", got, want)
		}
	}
	if s := in.size(); s < 0 || s > maxLogical*int64(sb.blockSize) {
		return corrupt("inode", in.ino, b.blk, "size is %d", uint64(s))
	}
	if in.isDir() && uint64(in.size()) > sb.blocks*uint64(sb.blockSize) {
		return corrupt("inode", in.ino, b.blk, "directory of %d bytes", in.size())
	}
	return nil
}

// store writes the inode to its buffer, with its checksum, and the map of its
// blocks if that was changed.
func (in *inode) store() error {
	if in.m != nil && len(in.m.tree.dirty) > 0 {
		if err := in.m.store(in); err != nil {
			return err
		}
	}
	le := binary.LittleEndian
	if in.fs.sb.metadataCsum() {
		c := in.fs.sb.inodeChecksum(in.ino, in.raw)
		le.PutUint16(in.raw[iChecksumLo:], uint16(c))
		if hasChecksumHi(in.raw) {
			le.PutUint16(in.raw[iChecksumHi:], uint16(c>>16))
		}
	}
	b, off, err := in.fs.locate(in.ino)
	if err != nil {
		return err
	}
	if string(b.data[off:off+len(in.raw)]) != string(in.raw) {
		copy(in.fs.edit(b)[off:], in.raw)
	}
	return nil
}

func (in *inode) checksum() uint32 {
	c := uint32(in.u16(iChecksumLo))
	if hasChecksumHi(in.raw) {
		c |= uint32(in.u16(iChecksumHi)) << 16
	}
	return c
}

func (in *inode) u16(off int) uint16      { return binary.LittleEndian.Uint16(in.raw[off:]) }
func (in *inode) u32(off int) uint32      { return binary.LittleEndian.Uint32(in.raw[off:]) }
func (in *inode) put16(off int, v uint16) { binary.LittleEndian.PutUint16(in.raw[off:], v) }
func (in *inode) put32(off int, v uint32) { binary.LittleEndian.PutUint32(in.raw[off:], v) }

func (in *inode) mode() uint16       { return in.u16(iMode) }
func (in *inode) links() uint16      { return in.u16(iLinks) }
func (in *inode) flags() uint32      { return in.u32(iFlags) }
func (in *inode) has(f uint32) bool  { return in.flags()&f != 0 }
func (in *inode) isDir() bool        { return in.mode()&modeType == modeDir }
func (in *inode) isRegular() bool    { return in.mode()&modeType == modeRegular }
func (in *inode) isSymlink() bool    { return in.mode()&modeType == modeSymlink }
func (in *inode) generation() uint32 { return in.u32(iGeneration) }
func (in *inode) seed() uint32       { return in.fs.sb.inodeSeed(in.ino, in.generation()) }

func (in *inode) extraIsize() int {
	if len(in.raw) <= goodOldInodeSize {
		return 0
	}
	return int(in.u16(iExtraIsize))
}

// reaches says whether the field that ends at byte end is part of the inode.
func (in *inode) reaches(end int) bool { return end <= goodOldInodeSize+in.extraIsize() }

func (in *inode) size() int64 {
	s := int64(in.u32(iSizeLo))
	if in.isRegular() || in.isDir() && in.fs.sb.hasIncompat(incompatLargeDir) {
		s |= int64(in.u32(iSizeHi)) << 32
	}
	return s
}

func (in *inode) setSize(s int64) {
	in.put32(iSizeLo, uint32(s))
	if in.isRegular() || in.isDir() && in.fs.sb.hasIncompat(incompatLargeDir) {
		in.put32(iSizeHi, uint32(s>>32))
	}
}

func (in *inode) uid() int { return int(in.u16(iUID)) | int(in.u16(iUIDHi))<<16 }
func (in *inode) gid() int { return int(in.u16(iGID)) | int(in.u16(iGIDHi))<<16 }

func (in *inode) setOwner(uid, gid int) {
	if uid >= 0 {
		in.put16(iUID, uint16(uid))
		in.put16(iUIDHi, uint16(uid>>16))
	}
	if gid >= 0 {
		in.put16(iGID, uint16(gid))
		in.put16(iGIDHi, uint16(gid>>16))
	}
}

// xattrBlock is the block that holds extended attributes, or 0.
func (in *inode) xattrBlock() uint64 {
	b := uint64(in.u32(iFileACLLo))
	if in.fs.sb.hasIncompat(incompat64Bit) {
		b |= uint64(in.u16(iFileACLHi)) << 32
	}
	return b
}

// sectors is how much space the inode owns, in units of 512 bytes.
func (in *inode) sectors() uint64 {
	n := uint64(in.u32(iBlocksLo))
	if in.fs.sb.hasROCompat(roCompatHugeFile) {
		n |= uint64(in.u16(iBlocksHi)) << 32
		if in.has(flagHugeFile) {
			n *= uint64(in.fs.sb.blockSize / 512)
		}
	}
	return n
}

// addBlocks accounts for n more blocks, or fewer.
func (in *inode) addBlocks(n int64) error {
	per := int64(in.fs.sb.blockSize / 512)
	total := int64(in.sectors()) + n*per
	if total < 0 {
		return corrupt("inode", in.ino, 0, "owns more blocks than it counts")
	}
	huge := in.fs.sb.hasROCompat(roCompatHugeFile)
	if huge && in.has(flagHugeFile) {
		total /= per
	}
	if total >= 1<<48 || total >= 1<<32 && !huge {
		return errFileTooBig
	}
	in.put32(iBlocksLo, uint32(total))
	if huge {
		in.put16(iBlocksHi, uint16(total>>32))
	}
	return nil
}

// isFastSymlink says whether the target of a symlink is in the inode itself.
func (in *inode) isFastSymlink() bool {
	if !in.isSymlink() || in.has(flagExtents|flagInlineData) || in.size() >= iBlockLen {
		return false
	}
	own := in.sectors()
	if in.xattrBlock() != 0 {
		own -= min(own, uint64(in.fs.sb.blockSize/512))
	}
	return own == 0
}

// hasMap says whether i_block describes where the inode's blocks are.
func (in *inode) hasMap() bool {
	switch in.mode() & modeType {
	case modeRegular, modeDir:
		return !in.has(flagInlineData)
	case modeSymlink:
		return !in.has(flagInlineData) && !in.isFastSymlink()
	}
	return false
}

// checkOrdinary refuses inodes that are no files but parts of the file system.
// An ext3 of old may have its journal under a name.
func (in *inode) checkOrdinary() error {
	sb := in.fs.sb
	if in.ino < sb.firstIno && in.ino != rootIno || in.ino == sb.orphanFileIno || in.ino == sb.journalIno {
		return corrupt("inode", in.ino, 0, "a reserved inode has a name in a directory")
	}
	return nil
}

// checkEditable refuses files that carry what this package does not write.
func (in *inode) checkEditable() error {
	if err := in.checkOrdinary(); err != nil {
		return err
	}
	var what []string
	for _, f := range []struct {
		flag uint32
		name string
	}{
		{flagEncrypt, "an encrypted file"}, {flagVerity, "a verity file"}, {flagInlineData, "inline data"},
		{flagCasefold, "a casefolded directory"}, {flagEAInode, "a file that holds an extended attribute"},
	} {
		if in.has(f.flag) {
			what = append(what, f.name)
		}
	}
	if what != nil {
		return &UnsupportedError{Features: what, Writing: true}
	}
	return nil
}

// time decodes the time at off, whose upper bits and nanoseconds are at extra.
func (in *inode) time(off, extra int) time.Time {
	sec, nsec := int64(int32(in.u32(off))), int64(0)
	if in.reaches(extra + 4) {
		x := in.u32(extra)
		sec += int64(x&3) << 32
		nsec = int64(x >> 2)
	}
	return time.Unix(sec, nsec).UTC()
}

// setTime encodes t. What the inode has no room for becomes the nearest that
// fits: December 1901, and January 2038 in inodes of 128 bytes, May 2446 in others.
func (in *inode) setTime(off, extra int, t time.Time) {
	if !in.reaches(off + 4) {
		return
	}
	wide := in.reaches(extra + 4)
	sec := t.Unix()
	last := int64(1)<<31 - 1
	if wide {
		last = 1<<34 - 1 - 1<<31
	}
	nsec := uint32(t.Nanosecond())
	if cut := min(max(sec, -1<<31), last); cut != sec {
		sec, nsec = cut, 0
	}
	in.put32(off, uint32(sec))
	if wide {
		in.put32(extra, uint32((sec-int64(int32(sec)))>>32&3)|nsec<<2)
	}
}

func (in *inode) setMtime(t time.Time)  { in.setTime(iMtime, iMtimeExtra, t) }
func (in *inode) setCtime(t time.Time)  { in.setTime(iCtime, iCtimeExtra, t) }
func (in *inode) setAtime(t time.Time)  { in.setTime(iAtime, iAtimeExtra, t) }
func (in *inode) setCrtime(t time.Time) { in.setTime(iCrtime, iCrtimeExt, t) }

// rdev decodes the device number of a device node, as Linux's makedev(3) packs it.
func (in *inode) rdev() uint64 {
	if t := in.mode() & modeType; t != modeChar && t != modeBlock {
		return 0
	}
	if old := in.u32(iBlock); old != 0 {
		return makedev(old>>8&0xFF, old&0xFF)
	}
	d := in.u32(iBlock + 4)
	return makedev(d>>8&0xFFF, d&0xFF|d>>12&0xFFF00)
}

func makedev(major, minor uint32) uint64 {
	ma, mi := uint64(major), uint64(minor)
	return ma&0xFFF<<8 | mi&0xFF | mi&0xFFFFFF00<<12 | ma&0xFFFFF000<<32
}

// goMode turns i_mode into an fs.FileMode.
func goMode(m uint16) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & modeType {
	case modeFIFO:
		mode |= fs.ModeNamedPipe
	case modeChar:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case modeDir:
		mode |= fs.ModeDir
	case modeBlock:
		mode |= fs.ModeDevice
	case modeSymlink:
		mode |= fs.ModeSymlink
	case modeSocket:
		mode |= fs.ModeSocket
	case modeRegular:
	default:
		mode |= fs.ModeIrregular
	}
	for _, b := range permBits() {
		if m&b.unix != 0 {
			mode |= b.mode
		}
	}
	return mode
}

// unixPerm turns the permission bits of an fs.FileMode into those of i_mode.
func unixPerm(mode fs.FileMode) uint16 {
	m := uint16(mode.Perm())
	for _, b := range permBits() {
		if mode&b.mode != 0 {
			m |= b.unix
		}
	}
	return m
}

type permBit struct {
	unix uint16
	mode fs.FileMode
}

func permBits() [3]permBit {
	return [3]permBit{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}}
}
