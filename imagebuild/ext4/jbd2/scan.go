package jbd2

import "encoding/binary"

// scan walks the log from its oldest transaction on, as far as transactions are complete.
type scan struct {
	j    *Journal
	next uint32 // the block that comes now
	left uint32 // blocks of the ring that were not seen yet: no log is longer
	buf  []byte

	tags    []entry
	revokes []revokeBlock
	// complete is how much of the lists belongs to complete transactions.
	complete struct {
		transactions  uint32
		tags, revokes int
		seconds       uint64 // when the last one was committed
	}
	// Of the transaction that is being read:
	number   uint32 // counted from the first of the log
	doubtful uint32 // a block whose checksum is wrong, or 0
	sum      uint32 // checksum v1 so far

	failed uint32 // a commit block whose checksum is wrong, or 0
}

// entry is a block's content that waits in the journal.
type entry struct {
	tag
	block  uint32 // of the journal
	number uint32 // of the transaction, counted from the first of the log
}

// revokeBlock is a block of revoke records.
type revokeBlock struct{ block, number uint32 }

func (j *Journal) scan() (*scan, error) {
	s := &scan{j: j, next: j.start, left: j.end - j.first, buf: make([]byte, j.blockSize), sum: ^uint32(0)}
	for s.left > 0 {
		more, err := s.step()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
	}
	// What no commit block followed never happened.
	s.tags, s.revokes = s.tags[:s.complete.tags], s.revokes[:s.complete.revokes]
	return s, nil
}

// advance goes on by n blocks, round the ring.
func (s *scan) advance(n uint32) {
	s.left -= n
	s.next = s.after(n)
}

// after is the block n blocks on, which is at most once round the ring.
func (s *scan) after(n uint32) uint32 {
	at := uint64(s.next) + uint64(n)
	if at >= uint64(s.j.end) {
		at -= uint64(s.j.end - s.j.first)
	}
	return uint32(at)
}

// step takes the next block that has a header, and what belongs to it. The log
// ends at a block that is none, or is of a transaction that is not to be there.
func (s *scan) step() (more bool, err error) {
	block := s.next
	if err := s.j.read(block, s.buf); err != nil {
		return false, err
	}
	h, ok := parseHeader(s.buf)
	if !ok || h.sequence != s.j.sequence+s.number {
		return false, nil
	}
	s.advance(1)
	switch h.kind {
	case kindDescriptor:
		s.checkTail(block)
		return s.descriptor()
	case kindRevoke:
		s.checkTail(block)
		s.revokes = append(s.revokes, revokeBlock{block, s.number})
		return true, nil
	case kindCommit:
		return s.commit(block)
	}
	return false, nil
}

func (s *scan) checkTail(block uint32) {
	if !s.j.tailRight(s.buf) {
		s.doubtful = block
	}
}

// descriptor takes the tags of the descriptor block in buf, and the blocks after it.
func (s *scan) descriptor() (more bool, err error) {
	tags := s.j.tags(s.buf)
	if uint64(len(tags)) > uint64(s.left) {
		return false, nil // no commit block fits behind it
	}
	for i, t := range tags {
		s.tags = append(s.tags, entry{t, s.after(uint32(i)), s.number})
	}
	if s.j.sumsTransactions() {
		s.sum = crc32BE(s.sum, s.buf)
		for i := range tags {
			if err := s.j.read(s.after(uint32(i)), s.buf); err != nil {
				return false, err
			}
			s.sum = crc32BE(s.sum, s.buf)
		}
	}
	s.advance(uint32(len(tags)))
	return true, nil
}

// commit ends the transaction with the commit block in buf. If a checksum of
// the transaction is wrong, that means one of three things. The commit block
// is older than the last one: then the transaction is one of a former journal
// that happens to lie here, and the log has ended. Or with async_commit, by
// which a commit block may reach the disk before the rest: the transaction was
// torn, if it is the last one. Or else the journal is damaged.
func (s *scan) commit(block uint32) (more bool, err error) {
	seconds := binary.BigEndian.Uint64(s.buf[commitSeconds:])
	right := s.doubtful == 0 && s.j.commitRight(s.buf, s.sum)
	old := seconds < s.complete.seconds
	switch {
	case s.failed != 0 && !old:
		return false, corrupt(s.failed, "checksum of a transaction is wrong, and more were committed after it")
	case right && s.failed == 0:
		s.complete.transactions++
		s.complete.tags, s.complete.revokes = len(s.tags), len(s.revokes)
		s.complete.seconds = seconds
	case old:
		return false, nil
	case s.doubtful != 0:
		return false, corrupt(s.doubtful, "checksum is wrong, of a transaction that was committed")
	case !s.j.hasIncompat(incompatAsyncCommit):
		return false, corrupt(block, "checksum of transaction %d is wrong", s.j.sequence+s.number)
	default:
		s.failed = block
	}
	s.number++
	s.doubtful, s.sum = 0, ^uint32(0)
	return true, nil
}
