package fat

import (
	"errors"
	"fmt"
	"io"
)

// CheckOptions are the choices for [Check].
type CheckOptions struct {
	// Limit is how many findings are kept; the others are counted. 0 stands for 1000.
	Limit int
}

const defaultFindings = 1000

// Report is what [Check] has found, in the order in which it walks: the same file
// system always gives the same report.
type Report struct {
	Findings []Finding
	// Omitted counts the findings past CheckOptions.Limit.
	Omitted int

	// What follows is as far as it could be read.

	Type         string // "FAT12", "FAT16" or "FAT32"; "" if the boot sector is useless
	Label        string // in the root directory
	ClusterSize  int64  // bytes
	Clusters     int64  // that can hold data
	FreeClusters int64
	Directories  int64 // without the root
	Files        int64
}

// Clean reports whether nothing was found.
func (r *Report) Clean() bool { return len(r.Findings) == 0 && r.Omitted == 0 }

// Finding is one thing that is wrong.
type Finding struct {
	Code Code
	// Path is that of the file or directory that is meant, relative to the root
	// (which is "."); "" if it is none.
	Path    string
	Cluster uint32 // the cluster that is meant; 0 if none is
	Detail  string // in words, with the figures
}

// String is one line: what, where, and how.
func (f Finding) String() string {
	s := string(f.Code)
	if f.Path != "" {
		s += fmt.Sprintf(" (%q)", f.Path)
	}
	if f.Cluster != 0 {
		s += fmt.Sprintf(", cluster %d", f.Cluster)
	}
	return s + ": " + f.Detail
}

// Code is the short, stable name of a kind of finding.
type Code string

// The kinds of findings.
const (
	CodeBootSector Code = "boot-sector"  // what it says cannot be, or is not supported; nothing else is checked
	CodeBackup     Code = "boot-backup"  // the copy of the boot sector is another, or not where it should be
	CodeFSInfo     Code = "fsinfo"       // not where it should be, without its signatures, or with a wrong count
	CodeMedia      Code = "media"        // entry 0 of the FAT, which repeats the media byte
	CodeCopies     Code = "fats-differ"  // the two copies of the FAT
	CodeDirty      Code = "dirty"        // the file system was not unmounted
	CodeChain      Code = "chain"        // leads to a cluster that is free, bad, or none
	CodeShared     Code = "shared"       // a cluster has several owners, or a chain runs in a circle
	CodeSize       Code = "size"         // the chain is too short or too long, or a directory has a size
	CodeLost       Code = "lost"         // in use, and nobody's
	CodeDirectory  Code = "directory"    // without a cluster, too large, nested too deep, or with bad "." and ".."
	CodeAfterEnd   Code = "after-end"    // entries behind the end of a directory, which some systems show
	CodeShortName  Code = "short-name"   // holds what it must not
	CodeLongName   Code = "long-name"    // parts that are incomplete, out of order or of another file
	CodeDuplicate  Code = "duplicate"    // two entries of a directory have the same name
	CodeLabel      Code = "volume-label" // not valid, not in its place, or not that of the boot sector
)

// Check walks the FAT12, FAT16 or FAT32 file system in the size bytes of r from
// start on, and reports all that is wrong with it. It goes on where [Open] gives
// up, and finds what "fsck.fat -n" finds; nothing is written.
//
// The error is that of a read that failed, or an [*UnsupportedError] if the FAT is
// too large. Check takes memory for the FAT, a bit a cluster, and for the names
// of one directory at a time.
func Check(r io.ReaderAt, start, size int64, o CheckOptions) (*Report, error) {
	if o.Limit <= 0 {
		o.Limit = defaultFindings
	}
	c := &checker{r: r, start: start, size: size, limit: o.Limit, report: &Report{}}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c.report, nil
}

// checker is the state of a [Check].
type checker struct {
	r           io.ReaderAt
	start, size int64
	limit       int
	report      *Report

	boot   []byte
	layout *layout
	table  *table
	used   bitset // clusters that belong to something
	label  *[labelSize]byte
}

func (c *checker) check() error {
	if c.start < 0 || c.size < bootSize {
		c.found(CodeBootSector, "", "there is no room for one in %d bytes", c.size)
		return nil
	}
	c.boot = make([]byte, bootSize)
	if err := c.read(c.boot, 0); err != nil {
		return err
	}
	var err error
	if c.layout, err = parseBoot(c.boot, c.size); err != nil {
		c.found(CodeBootSector, "", "%s", bootProblem(err))
		return nil
	}
	if err := c.layout.checkSize(); err != nil {
		return err
	}
	for _, step := range []func() error{c.checkBoot, c.checkTable, c.checkTree} {
		if err := step(); err != nil {
			return err
		}
	}
	c.checkLabel()
	c.checkUse()
	return c.checkFSInfo()
}

// bootProblem says what [parseBoot] has found.
func bootProblem(err error) string {
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		return corrupt.Problem
	}
	return err.Error()
}

// find records a finding.
func (c *checker) find(f Finding, format string, args ...any) {
	if len(c.report.Findings) == c.limit {
		c.report.Omitted++
		return
	}
	f.Detail = fmt.Sprintf(format, args...)
	c.report.Findings = append(c.report.Findings, f)
}

// found records a finding about a path, or none.
func (c *checker) found(code Code, path, format string, args ...any) {
	c.find(Finding{Code: code, Path: path}, format, args...)
}

// read fills p from off, which counts from the start of the file system.
func (c *checker) read(p []byte, off int64) error {
	if n, err := c.r.ReadAt(p, c.start+off); n < len(p) {
		return fmt.Errorf("failed to read %d bytes at offset %d of the FAT file system: %w", len(p), off, err)
	}
	return nil
}
