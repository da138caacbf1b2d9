// Package plan describes what is to be changed in one image, as data.
//
// An [Edit] is one declarative change to one path of one partition. A plan is a
// list of them, at most one for each path, so that plans can be printed
// ([WriteText], [WriteJSON]), compared, joined ([Merge]), checked before
// anything is touched ([Validate]), split into what all nodes share and what is
// one node's own ([Split]), carried out ([Apply]) and read back ([Verify]). The
// package knows nothing of Raspberry Pi OS: what is to be changed, and why, is
// decided by the packages that make plans.
//
// The order of the edits in a plan means nothing. Apply takes them in an order
// of its own: renames, then removals, then directories, then files and links.
package plan

import (
	"io/fs"
	"time"
)

// Partition names one of the two file systems that a plan edits.
type Partition string

// The partitions of a Raspberry Pi OS image.
const (
	Boot Partition = "boot" // the FAT firmware partition
	Root Partition = "root" // the ext4 root partition
)

// Op is the kind of an edit.
type Op string

// The kinds of edits. What an edit leaves behind does not depend on what was at
// its path before, except for what Write says of extended attributes.
const (
	// Write leaves a regular file with exactly Edit.Content. An existing
	// regular file keeps its inode and extended attributes; a symbolic link at
	// the path is replaced, not followed.
	Write Op = "write"
	// Mkdir leaves a directory with the edit's mode and owner.
	Mkdir Op = "mkdir"
	// Symlink leaves a symbolic link to Edit.Target.
	Symlink Op = "symlink"
	// Remove leaves nothing at the path; a path that is not there is no error.
	// A directory is removed with all that is below it, except for what other
	// edits of the plan put there: they come later.
	Remove Op = "remove"
	// Rename leaves at Path what was at Edit.From, and nothing at From. It comes
	// before all other edits, which therefore name what is below by its new path.
	Rename Op = "rename"
)

// Edit is one change to one path of one partition.
type Edit struct {
	Partition Partition
	// Path is slash-separated, relative to the partition's root, without "."
	// and "..": "etc/hostname". Symbolic links in its parents are followed
	// within the partition.
	Path string
	Op   Op
	// From is the old path of a Rename, in the same partition.
	From string
	// Mode holds the permission bits, with fs.ModeSetuid, fs.ModeSetgid and
	// fs.ModeSticky where wanted. Ignored on a FAT partition, for symlinks and renames.
	Mode fs.FileMode
	// UID and GID own the path. Ignored on a FAT partition and for renames.
	UID, GID int
	// Content is what Write leaves, unless Source is set.
	Content []byte
	// Source, if not nil, is the file on the host whose content Write leaves: for files
	// that are too large to be held in memory.
	Source *Source
	// Target is where a symlink points.
	Target string
	// Time, if not zero, is the modification time of a Write or Mkdir; else the
	// file system's own stamp, which is the build's, stays.
	Time time.Time
	// Secret marks content that must never be printed.
	Secret bool
	// Why says in a few words what the edit is for: "hostname", "swap off".
	Why string

	// unknown is whether the content is not known, in an edit made of a Record.
	unknown bool
}

// Source is a file on the host: its size and hash are taken when the plan is
// made, and checked when it is applied.
type Source struct {
	Path   string // in the host's own form
	Size   int64  // in bytes
	SHA256 [32]byte
}

// Plan is what is to be changed in one node's image.
type Plan struct {
	Node  string // the hostname
	Edits []Edit // sorted by partition and path, each path at most once
	// Notices are things that the user should know about this node, in plain
	// words, one sentence each.
	Notices []string
}
