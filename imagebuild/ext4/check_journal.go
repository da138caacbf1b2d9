package ext4

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/piimg/piimg/imagebuild/ext4/jbd2"
)

// content returns where the content of an inode is, and its last file block,
// without finding anything: that was done when all inodes were read.
func (c *checker) content(in *inode) (runs []run, last int64, err error) {
	c.quiet = true
	defer func() { c.quiet = false }()
	w := c.newWalk(in, bitset{})
	w.data = func(r run) { runs = append(runs, r) }
	err = w.run()
	return runs, w.last, err
}

// minJournal is how many blocks a journal has at least.
const minJournal = 1024

// checkJournal checks the journal's inode, its superblock, and whether it is empty.
func (c *checker) checkJournal() error {
	sb := c.sb
	has := sb.hasCompat(compatHasJournal)
	var none [16]byte
	external := !bytes.Equal(c.super[sbJournalUUID:sbJournalUUID+16], none[:])
	bad := func(format string, args ...any) {
		c.find(Finding{Code: CodeJournal, Inode: sb.journalIno, Group: -1}, format, args...)
	}
	if sb.hasIncompat(incompatRecover) {
		c.global(CodeRecovery, "the file system was not unmounted: its journal has to be replayed first")
	}
	switch {
	case !has && (sb.journalIno != 0 || sb.journalDev != 0 || external):
		bad("the superblock knows one, but the file system has no has_journal")
		return nil
	case !has, external:
		return nil
	case sb.journalIno == 0 || sb.journalIno > sb.inodes:
		bad("there is no inode %d", sb.journalIno)
		return nil
	}
	in, err := c.inode(sb.journalIno)
	if err != nil || in == nil {
		return err
	}
	blocks := uint64(in.size()) / uint64(sb.blockSize)
	if in.links() == 0 || !in.isRegular() || in.has(flagEncrypt) || blocks < minJournal {
		bad("mode %#o, with %d links and %d bytes, is not a journal's", in.mode(), in.links(), in.size())
		return nil
	}
	runs, last, err := c.content(in)
	if err != nil {
		return err
	}
	if uint64(last+1) < blocks || len(runs) == 0 || runs[0].logical != 0 {
		bad("it has %d blocks, the last one is %d", blocks, last)
		return nil
	}
	return c.checkJournalSuper(runs[0].phys, uint32(min(blocks, maxLogical)), bad)
}

// checkJournalSuper checks the superblock of a journal that begins at block phys.
func (c *checker) checkJournalSuper(phys uint64, blocks uint32, bad func(format string, args ...any)) error {
	var super []byte
	j, err := jbd2.Open(func(n uint32, p []byte) error {
		super = p
		return c.read(phys+uint64(n), p)
	}, c.sb.blockSize, blocks)
	var damaged *jbd2.CorruptError
	var unsupported *jbd2.UnsupportedError
	switch {
	case errors.As(err, &damaged), errors.As(err, &unsupported):
		bad("%v", err)
		return nil
	case err != nil:
		return err
	case !j.Empty() && !c.sb.hasIncompat(incompatRecover):
		bad("it holds transactions, but the superblock does not say so")
	case j.Errno() != 0:
		bad("the kernel recorded error %d in it", j.Errno())
	}
	be := binary.BigEndian
	const v1, features, users = 3, 0x24, 0x40
	if n := be.Uint32(super[users:]); n > 1 {
		bad("%d file systems use it", n)
	} else if be.Uint32(super[4:]) == v1 && (n != 0 || !isZero(super[features:features+12])) {
		bad("its superblock is of version 1, but has fields of version 2")
	}
	return nil
}

// checkOrphanFile checks that no inodes wait in the orphan file for being released.
func (c *checker) checkOrphanFile() error {
	sb := c.sb
	if !sb.hasCompat(compatOrphanFile) {
		return nil
	}
	where := Finding{Code: CodeOrphanFile, Inode: sb.orphanFileIno, Group: -1}
	if sb.orphanFileIno == 0 || sb.orphanFileIno > sb.inodes {
		c.find(where, "there is no inode %d", sb.orphanFileIno)
		return nil
	}
	in, err := c.inode(sb.orphanFileIno)
	if err != nil || in == nil {
		return err
	}
	in = &inode{fs: c.fs, ino: in.ino, raw: bytes.Clone(in.raw)}
	runs, last, err := c.content(in)
	if err != nil {
		return err
	}
	n := uint64(0)
	for _, r := range runs {
		n += uint64(r.count)
	}
	if size := uint64(in.size()); size%uint64(sb.blockSize) != 0 || size/uint64(sb.blockSize) > n || n != uint64(last+1) {
		c.find(where, "%d blocks up to %d for %d bytes", n, last, size)
		return nil
	}
	b := &buffer{data: make([]byte, sb.blockSize)}
	empty := true
	for _, r := range runs {
		for b.blk = r.phys; b.blk < r.phys+uint64(r.count); b.blk++ {
			if err := c.read(b.blk, b.data); err != nil {
				return err
			}
			if where.Block = b.blk; !c.checkOrphanBlock(in, b, where) {
				empty = false
			}
		}
	}
	if empty && sb.hasROCompat(roCompatOrphanPresent) {
		where.Block = 0
		c.find(where, "the superblock says that there are orphans in it")
	}
	return nil
}

// checkOrphanBlock checks one block of the orphan file, and says whether it is as it should be.
func (c *checker) checkOrphanBlock(in *inode, b *buffer, where Finding) bool {
	if p := in.orphanProblem(b); p != "" {
		c.find(where, "%s", p)
		return false
	}
	if !isZero(b.data[:len(b.data)-orphanTail]) {
		c.find(where, "inodes in it wait for being released")
		return false
	}
	return true
}
