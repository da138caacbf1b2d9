package ext4

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// CheckOptions say how a file system is checked.
type CheckOptions struct {
	// Limit is how many findings are kept; the others are counted. 0 stands for 1000.
	Limit int
}

const defaultFindings = 1000

// Report is what Check found, in the order of its passes and of what they
// walk: the same file system always gives the same report.
type Report struct {
	Findings []Finding
	// Omitted counts the findings past CheckOptions.Limit.
	Omitted int
	// Unchecked names what the file system has and Check does not verify, such
	// as "quota usage". It is empty for everything that Raspberry Pi OS ships.
	Unchecked []string

	// Inodes and Directories are those in use, Blocks those that anything
	// refers to, the file system's own structures included.
	Inodes, Directories uint64
	Blocks              uint64
}

// Clean says that nothing is wrong with what was checked.
func (r *Report) Clean() bool { return len(r.Findings) == 0 && r.Omitted == 0 }

// Finding is one thing that is wrong.
type Finding struct {
	Code  Code
	Inode uint32 // 0 if it is no inode's
	// Path is a name of the inode, relative to the root (which is "."), where
	// the directories lead to it; else "".
	Path   string
	Block  uint64 // the block of the file system that is meant or read; 0 if none is
	Group  int    // -1 if it is no group's
	Detail string // in words, with the figures
}

// String is one line: what, where, and how.
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(string(f.Code))
	if f.Inode != 0 {
		fmt.Fprintf(&b, ", inode %d", f.Inode)
	}
	if f.Path != "" {
		fmt.Fprintf(&b, " (%q)", f.Path)
	}
	if f.Group >= 0 {
		fmt.Fprintf(&b, ", group %d", f.Group)
	}
	if f.Block != 0 {
		fmt.Fprintf(&b, ", block %d", f.Block)
	}
	b.WriteString(": ")
	b.WriteString(f.Detail)
	return b.String()
}

// Code is the short, stable name of a kind of finding.
type Code string

// The kinds of findings, in the order in which they are looked for.
const (
	CodeSuperblock    Code = "superblock"          // a field out of range, or at odds with another
	CodeSuperChecksum Code = "superblock-checksum" //
	CodeSize          Code = "size"                // the image ends before the file system does
	CodeFeatures      Code = "features"            // a combination that must not be, or one that the files need is missing
	CodeJournal       Code = "journal"             // the journal's inode or its superblock
	CodeRecovery      Code = "journal-recovery"    // transactions wait for being replayed
	CodeOrphanList    Code = "orphan-list"         // inodes wait for being released
	CodeResizeInode   Code = "resize-inode"        // the blocks reserved for growing
	CodeGroup         Code = "group-descriptor"    // places, flags, the count of unused inodes
	CodeGroupChecksum Code = "group-checksum"      //
	CodeMMP           Code = "mmp"                 // the block against mounting twice
	CodeInode         Code = "inode"               // a field that does not fit the file's type
	CodeInodeChecksum Code = "inode-checksum"      //
	CodeReservedInode Code = "reserved-inode"      // one of the inodes that are no files
	CodeDeletedInode  Code = "deleted-inode"       // half deleted: time of deletion and links do not agree
	CodeInodeSize     Code = "inode-size"          // the size does not fit the blocks
	CodeInodeBlocks   Code = "inode-blocks"        // the count of blocks is not what the file has
	CodeSymlink       Code = "symlink"             //
	CodeInlineData    Code = "inline-data"         //
	CodeExtents       Code = "extent-tree"         //
	CodeExtentSum     Code = "extent-checksum"     //
	CodeBlockMap      Code = "block-map"           // pointers of a file without extents
	CodeXattr         Code = "xattr"               // extended attributes
	CodeXattrSum      Code = "xattr-checksum"      //
	CodeXattrRefs     Code = "xattr-references"    // how many inodes share a block, or an inode, of attributes
	CodeClaimed       Code = "multiply-claimed"    // a block that is in two places
	CodeDirectory     Code = "directory"           // its blocks, and how they are cut into entries
	CodeDirChecksum   Code = "directory-checksum"  //
	CodeDirEntry      Code = "directory-entry"     // one entry
	CodeDirIndex      Code = "directory-index"     // the hash index
	CodeUnattached    Code = "unattached"          // in use, but in no directory
	CodeParent        Code = "parent"              // directories that do not lead to the root, or say so wrongly
	CodeLinks         Code = "link-count"          //
	CodeBlockBitmap   Code = "block-bitmap"        //
	CodeInodeBitmap   Code = "inode-bitmap"        //
	CodeBitmapSum     Code = "bitmap-checksum"     //
	CodeFreeBlocks    Code = "free-blocks"         // a count of free blocks, of a group or of all
	CodeFreeInodes    Code = "free-inodes"         // a count of free inodes
	CodeUsedDirs      Code = "used-directories"    // a group's count of directories
	CodeOrphanFile    Code = "orphan-file"         //
)

// Check walks the whole file system that occupies size bytes of r from byte
// start on, without writing, and reports what is wrong with it: what
// e2fsck -fn (1.47.0) offers to mend, and where the kernel or this package
// would refuse what e2fsck passes over (such as nodes of an extent tree that
// are of the wrong depth, names that their index does not lead to, a journal
// that has to be replayed) that too. The copies of the superblock are only
// looked at where the original is damaged: then a finding says so, and the
// check goes on with a copy. Those of the group descriptors are not looked at.
//
// Memory is bounded by one bit for every block and a few bytes for every inode
// and every block of a directory that is in use, whatever the image holds.
//
// An error says that nothing was checked, or not all: r could not be read, or
// the superblock and its copies are no ext4 file system's ([CorruptError]), or
// the file system has features whose meaning for a check is not known here
// ([UnsupportedError]).
func Check(r io.ReaderAt, start, size int64, o CheckOptions) (*Report, error) {
	fail := func(err error) (*Report, error) {
		return nil, fmt.Errorf("check ext4 file system at byte %d: %w", start, err)
	}
	if o.Limit <= 0 {
		o.Limit = defaultFindings
	}
	if start < 0 || size < superblockOffset+superblockSize {
		return fail(corrupt("superblock", 0, 0, "%d bytes are too few for a file system", size))
	}
	c := &checker{
		fs: &FS{storage: r, start: start, readOnly: true}, report: &Report{}, limit: o.Limit,
		found: bitset{}, twice: bitset{}, trees: bitset{}, used: bitset{}, dirs: bitset{}, dirSeen: bitset{},
		kinds: perInode[uint8]{}, links: perInode[uint16]{}, refs: perInode[uint16]{},
		xattrs: map[uint64]*xattrShare{}, holders: map[uint32]uint32{},
	}
	err := c.run(size)
	if err != nil && !errors.Is(err, errStopCheck) {
		return fail(err)
	}
	return c.report, nil
}

// errStopCheck ends a check early: what comes after would make no sense.
var errStopCheck = errors.New("the check ends here")

// checker is a check under way. It stops at errors of the storage only.
type checker struct {
	fs     *FS
	sb     *superblock
	super  []byte // the superblock in use
	report *Report
	limit  int
	quiet  bool // findings are not recorded: an inode is walked once more

	desc, table *buffer // the blocks of descriptors and of inodes at hand

	// Blocks, counted from sb.firstData: those that anything refers to, and
	// those that two things do. How often blocks were claimed so far.
	found, twice bitset
	claims       uint64
	overclaimed  bool
	trees        bitset // blocks of maps, as numbered

	// Inodes, counted from 0: those in use, and directories among them. By
	// number: what they are, how many links they say and entries they have.
	used, dirs  bitset
	kinds       perInode[uint8]
	links, refs perInode[uint16]

	xattrs  map[uint64]*xattrShare // blocks of attributes
	holders map[uint32]uint32      // inodes that hold values: how many attributes lead there

	dirList   []dirInfo  // by number
	dirBlocks []dirBlock // of all directories, one after the other
	dirSeen   bitset     // blocks in dirBlocks, as numbered
}

func (c *checker) run(size int64) error {
	for _, pass := range []func() error{
		func() error { return c.checkSuper(size) },
		c.checkGroups,
		c.checkResizeInode,
		c.checkInodes,
		c.checkClaims,
		c.checkXattrShares,
		c.checkDirs,
		c.checkParents,
		c.checkLinks,
		c.checkBitmaps,
		c.checkJournal,
		c.checkOrphanFile,
		c.namePaths,
	} {
		if err := pass(); err != nil {
			return err
		}
	}
	return nil
}

// find records a finding.
func (c *checker) find(f Finding, format string, args ...any) {
	if c.quiet {
		return
	}
	if len(c.report.Findings) >= c.limit {
		c.report.Omitted++
		return
	}
	f.Detail = fmt.Sprintf(format, args...)
	c.report.Findings = append(c.report.Findings, f)
}

func (c *checker) global(code Code, format string, args ...any) {
	c.find(Finding{Code: code, Group: -1}, format, args...)
}

// read fills p, a whole number of blocks, from block blk on.
func (c *checker) read(blk uint64, p []byte) error {
	return c.fs.readStorage(p, int64(blk)*int64(c.sb.blockSize))
}
