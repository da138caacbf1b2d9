package jbd2

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// Log is what a journal holds that has to be written.
type Log struct {
	// Transactions is how many complete ones there are.
	Transactions int
	// Revoked is how many blocks in them are not written because a revoke
	// record says so.
	Revoked int
	// Writes are what has to be written, one for each block of the file
	// system, in the order of their targets.
	Writes []Write
	// Superblock is the journal's superblock, 1024 bytes, as it has to be once
	// all was written: an empty journal, which goes on with the next number.
	Superblock []byte

	j *Journal
}

// Write is the last content of one block of the file system.
type Write struct {
	Target uint64 // block of the file system: any number, the caller checks it

	block   uint32 // of the journal
	escaped bool
}

// Scan finds what has to be replayed, of a journal that is not [Journal.Empty],
// and reads all of it once. Nothing is written, and nothing is kept of the
// blocks' contents: the memory in use is bounded by the number of the
// journal's blocks.
//
// The log ends where no complete transaction follows: one that was torn never
// happened. A checksum that is wrong in a transaction that was committed is a
// [CorruptError], as for the kernel, even where the kernel would still replay
// what it can; but a transaction older than the one before is taken for one of
// a former journal, and with async_commit a wrong checksum in the last commit
// block is taken for a torn transaction. Fast commits that would have to be
// replayed are an [UnsupportedError].
func (j *Journal) Scan() (*Log, error) {
	s, err := j.scan()
	if err != nil {
		return nil, err
	}
	next := j.sequence + s.complete.transactions
	if err := j.refuseFastCommits(next, s.buf); err != nil {
		return nil, err
	}
	revoked, err := s.findRevoked()
	if err != nil {
		return nil, err
	}
	l := &Log{j: j, Transactions: int(s.complete.transactions), Superblock: j.emptied(next)}
	last := map[uint64]Write{}
	for _, e := range s.tags {
		if e.number < revoked[e.target] {
			l.Revoked++
			continue
		}
		if err := j.read(e.block, s.buf); err != nil {
			return nil, err
		}
		if !j.dataRight(e.tag, j.sequence+e.number, s.buf) {
			return nil, corrupt(e.block, "checksum is wrong, of what is to be block %d of the file system", e.target)
		}
		last[e.target] = Write{e.target, e.block, e.flags&flagEscaped != 0}
	}
	l.Writes = make([]Write, 0, len(last))
	for _, w := range last {
		l.Writes = append(l.Writes, w)
	}
	slices.SortFunc(l.Writes, func(a, b Write) int { return cmp.Compare(a.Target, b.Target) })
	return l, nil
}

// findRevoked reads the revoke records. For each block that the log holds, and
// that was revoked, it returns the number of the first transaction whose
// content for it counts again. Records for blocks that the log does not hold
// are not kept: there may be very many.
func (s *scan) findRevoked() (map[uint64]uint32, error) {
	from := map[uint64]uint32{}
	if len(s.revokes) == 0 {
		return from, nil
	}
	for _, e := range s.tags {
		from[e.target] = 0
	}
	for _, r := range s.revokes {
		if err := s.j.read(r.block, s.buf); err != nil {
			return nil, err
		}
		err := s.j.revoked(r.block, s.buf, func(target uint64) {
			if _, ok := from[target]; ok {
				from[target] = r.number + 1
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return from, nil
}

// refuseFastCommits looks for fast commits that continue transaction next-1.
func (j *Journal) refuseFastCommits(next uint32, p []byte) error {
	if j.fast == 0 {
		return nil
	}
	// The kernel leaves the first block of the area unused.
	for _, block := range []uint32{j.fast, j.fast + 1} {
		if block >= j.fastEnd {
			break
		}
		if err := j.read(block, p); err != nil {
			return err
		}
		le := binary.LittleEndian
		if le.Uint16(p) == fastHeadTag && le.Uint16(p[2:]) == fastHeadSize && le.Uint32(p[8:]) == next {
			return &UnsupportedError{Features: []string{"fast commits that have to be replayed"}}
		}
	}
	return nil
}

// Read fills p, which has the size of a block, with the content of w.
func (l *Log) Read(w Write, p []byte) error {
	if err := l.j.read(w.block, p); err != nil {
		return fmt.Errorf("content of block %d: %w", w.Target, err)
	}
	if w.escaped {
		binary.BigEndian.PutUint32(p, magic)
	}
	return nil
}
