// Package jbd2 reads the journal of an ext3 or ext4 file system, and says what
// has to be written where to bring the file system up to date. It knows the
// journal's format and nothing of the file system's.
//
// A journal is a ring of blocks behind a superblock of its own. Transactions
// follow one another in it, each with a number one higher than the last: some
// descriptor blocks, which list the blocks of the file system ("tags") whose
// new contents follow; revoke blocks, which list blocks whose contents from
// this or any earlier transaction must not be written; and a commit block,
// without which the transaction never happened. All numbers are big-endian.
//
// The format is described in the Linux kernel under
// Documentation/filesystems/ext4/journal.rst. Where that leaves open what
// recovery does, this package does what the kernel (6.x) and e2fsprogs (1.47)
// do, except where those would go on in silence: see [Journal.Scan].
package jbd2

import (
	"fmt"
	"strings"
)

// UnsupportedError names what a journal needs and this package does not have.
type UnsupportedError struct {
	Features []string
}

func (e *UnsupportedError) Error() string {
	return "a journal with " + strings.Join(e.Features, ", ") + " is not supported"
}

// CorruptError says which block of the journal cannot be right.
type CorruptError struct {
	Block  uint32 // of the journal, 0 is its superblock
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt journal, block %d: %s", e.Block, e.Reason)
}

func corrupt(block uint32, format string, args ...any) error {
	return &CorruptError{Block: block, Reason: fmt.Sprintf(format, args...)}
}
