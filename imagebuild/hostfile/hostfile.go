// Package hostfile does with files of the host what package os leaves to each
// system: advisory locks and holes; and it reads what is small, and only that.
package hostfile

import "os"

// TryLock locks f for this process alone and reports whether it could: false
// without an error means that another process, or another open file of this
// one, holds the lock. The operating system releases it when the file is closed
// or its process ends, however it ends. On systems without such locks it always
// succeeds.
func TryLock(f *os.File) (bool, error) { return tryLock(f) }

// TryShare locks f as TryLock does, but so that others can, too, who share it: none
// of them can be alone with it.
func TryShare(f *os.File) (bool, error) { return tryShare(f) }

// Unlock ends the lock of f, if there is one, at once. Closing f alone may not: between
// fork and exec, a program that this process starts has f open, too, and Windows
// unlocks what was closed when it finds the time.
func Unlock(f *os.File) error { return unlock(f) }

// Allocated returns how many bytes a file takes on the disk, which is less than its
// size if it has holes, or its size where the system does not say.
func Allocated(info os.FileInfo) int64 { return allocated(info) }

// MakeSparse lets a new file have holes where nothing is written. File systems
// that cannot have any lose nothing but space.
func MakeSparse(f *os.File) { makeSparse(f) }

// Clone makes dst, which is new and empty, another name for what src holds, as it
// were: both share the bytes on the disk until either is written to. Few file
// systems can do it (btrfs, and XFS as it is made today), and only within
// themselves; so far, piimg asks for it on Linux alone. After an error, dst may
// hold anything.
func Clone(dst, src *os.File) error { return clone(dst, src) }

const (
	fewOpen  = 64      // what every system lets a process have
	manyOpen = 1 << 20 // more than anybody opens
)

// MaxOpen returns how many files this process may have open at once.
func MaxOpen() int { return maxOpen() }
