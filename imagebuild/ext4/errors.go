package ext4

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that callers branch on. They come wrapped, with the figures.
var (
	// ErrNoSpace says that a request needs more blocks than are free beside
	// those reserved for root.
	ErrNoSpace = errors.New("no space left in the ext4 file system")
	// ErrNoInodes says that every inode is in use.
	ErrNoInodes = errors.New("no free inodes left in the ext4 file system")
	// ErrNoXattr says that a file has no extended attribute of that name. It is
	// not fs.ErrNotExist, which says that there is no such file.
	ErrNoXattr = errors.New("no such extended attribute")
	// ErrXattrSpace says that a file's extended attributes would not fit into
	// its inode and one block.
	ErrXattrSpace = errors.New("no room left for the file's extended attributes")
)

// Errors of paths, as the operating system calls them.
var (
	errNotDir      = errors.New("not a directory")
	errIsDir       = errors.New("is a directory")
	errNotEmpty    = errors.New("directory not empty")
	errLoop        = errors.New("too many levels of symbolic links")
	errNameTooLong = errors.New("name longer than 255 bytes")
	errTooManyLink = errors.New("too many links")
	errDirFull     = errors.New("the directory's index is full")
	errFileTooBig  = errors.New("file too large")
	errNotLink     = errors.New("not a symbolic link")
	errNotWritable = errors.New("file was not opened for writing")
	errNotReadable = errors.New("file was not opened for reading")
	errRemoved     = errors.New("file was removed while open")
)

// UnsupportedError says that the file system, or one file of it, uses
// something that this package does not read, or does not write.
type UnsupportedError struct {
	// Features are the names of what is not supported, as dumpe2fs prints
	// them where it has a name for them.
	Features []string
	// Writing is true if reading would be possible (Options.ReadOnly).
	Writing bool
	// Checking is true if it is Check that does not know them.
	Checking bool
	// Remedy says what the user can do, or is empty.
	Remedy string
}

func (e *UnsupportedError) Error() string {
	what := "reading"
	switch {
	case e.Checking:
		what = "checking"
	case e.Writing:
		what = "writing to"
	}
	s := fmt.Sprintf("%s an ext4 file system with %s is not supported", what, strings.Join(e.Features, ", "))
	if e.Remedy != "" {
		s += ": " + e.Remedy
	}
	return s
}

// CorruptError says which structure on disk contradicts itself. Nothing is
// written on its account.
type CorruptError struct {
	Structure string // "superblock", "inode", "directory", "extent tree", …
	Inode     uint32 // 0 if it is no inode's
	Block     uint64 // block of the file system, 0 if not known
	Reason    string
}

func (e *CorruptError) Error() string {
	var b strings.Builder
	b.WriteString("corrupt ext4 ")
	b.WriteString(e.Structure)
	if e.Inode != 0 {
		fmt.Fprintf(&b, ", inode %d", e.Inode)
	}
	if e.Block != 0 {
		fmt.Fprintf(&b, ", block %d", e.Block)
	}
	b.WriteString(": ")
	b.WriteString(e.Reason)
	b.WriteString(" (run e2fsck on the image)")
	return b.String()
}

func corrupt(structure string, ino uint32, block uint64, format string, args ...any) error {
	return &CorruptError{Structure: structure, Inode: ino, Block: block, Reason: fmt.Sprintf(format, args...)}
}
