package ext4

import (
	"encoding/binary"
	"slices"

	"github.com/diskfs/go-diskfs/backend"
)

// Recovery says what [Open] did to a file system that was not unmounted
// cleanly. All numbers are 0 if it was, or if it was opened for reading only.
type Recovery struct {
	Transactions int // replayed from the journal
	Blocks       int // of the file system that were written from it
	Revoked      int // blocks in those transactions that were not to be written any more
	Removed      int // files that had no name left, and now are freed
	Truncated    int // files that were being shortened, and now are
}

// Recovery says what was done when the file system was opened.
//
// As the kernel does when it mounts, [Open] replays the journal where the
// superblock says that it needs recovery, and then sees to the inodes that were
// left as orphans: those without a name are freed, the others cut to their
// size. No times change. All of that is worked out in memory first, and only
// when it has been found good is it written to the storage; if it fails, the
// storage is as it was. (Should the orphans be so many that what they change
// does not fit the cache, the replayed journal and the orphans that were seen
// to are written before the last one is looked at. The file system is
// consistent then, too.)
//
// Refused are, as an [UnsupportedError], a journal that holds transactions
// although the superblock does not ask for recovery (the kernel would throw
// them away, e2fsck replay them), a journal with an error recorded in it (the
// kernel would mark the file system as faulty), and fast commits.
func (f *FS) Recovery() Recovery { return f.recovery }

// recover makes the file system ready for being written, to what writable
// returns, which is asked for once nothing is left to be found wrong.
func (f *FS) recover(writable func() (backend.WritableFile, error), size int64) error {
	if err := f.sb.checkWritable(); err != nil {
		return err
	}
	replay, err := f.openJournal()
	if err != nil {
		return err
	}
	if replay != nil {
		if err := f.preview(replay, size); err != nil {
			return err
		}
	}
	if err := f.loadRoot(); err != nil {
		return err
	}
	if replay != nil {
		if err := replay.checkMap(); err != nil {
			return err
		}
	}
	orphans, err := f.orphans()
	if err != nil {
		return err
	}
	w, err := writable()
	if err != nil {
		return err
	}
	f.writable = w
	if replay != nil {
		replay.target, f.writable = w, replay
	}
	return f.settle(replay, orphans, size)
}

// settle sees to the orphans, and writes what was recovered, if there is anything to be done.
func (f *FS) settle(replay *replay, orphans []orphan, size int64) error {
	const recoverFlags, orphanFlags = incompatRecover, roCompatOrphanPresent
	if replay == nil && orphans == nil && !f.sb.hasIncompat(recoverFlags) && !f.sb.hasROCompat(orphanFlags) {
		return nil
	}
	if err := f.update(f.recount); err != nil {
		return err
	}
	for _, o := range orphans {
		if err := f.update(func() error { return f.settleOrphan(o) }); err != nil {
			return err
		}
	}
	err := f.update(func() error {
		d, err := f.editSuper()
		if err != nil {
			return err
		}
		le := binary.LittleEndian
		le.PutUint32(d[sbIncompat:], le.Uint32(d[sbIncompat:])&^recoverFlags)
		le.PutUint32(d[sbROCompat:], le.Uint32(d[sbROCompat:])&^orphanFlags)
		if replay != nil {
			copy(d[sbErrors:sbErrorsEnd], replay.errors)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := f.flush(); err != nil {
		return err
	}
	if replay != nil {
		if err := replay.write(); err != nil {
			return err
		}
		f.recovery.Transactions, f.recovery.Blocks, f.recovery.Revoked = replay.log.Transactions, len(replay.log.Writes), replay.log.Revoked
	}
	clear(f.cache)
	return f.loadSuper(size)
}

// preview makes the file system look as it will be once the journal has been
// replayed, and checks the superblock that it has then. The first write brings
// the replay with it.
func (f *FS) preview(r *replay, size int64) error {
	old := f.sb
	d, err := f.super()
	if err != nil {
		return err
	}
	r.errors = slices.Clone(d[sbErrors:sbErrorsEnd])
	f.storage = r
	clear(f.cache)
	if err := f.loadSuper(size); err != nil {
		return err
	}
	if f.sb.blockSize != old.blockSize || f.sb.journalIno != old.journalIno || !f.sb.hasCompat(compatHasJournal) {
		return corrupt("journal", old.journalIno, 0, "it replaces the superblock by that of another file system")
	}
	return f.sb.checkWritable()
}

// recount makes the superblock's counters those of the groups: the kernel
// keeps them up to date in memory only, and counts anew when it mounts.
func (f *FS) recount() error {
	var blocks uint64
	var inodes uint32
	for n := range f.sb.groups {
		g, err := f.group(n)
		if err != nil {
			return err
		}
		blocks += uint64(g.freeBlocks())
		inodes += g.freeInodes()
	}
	d, err := f.editSuper()
	if err != nil {
		return err
	}
	f.setFreeBlocks(d, blocks)
	binary.LittleEndian.PutUint32(d[sbFreeInodes:], inodes)
	return nil
}
