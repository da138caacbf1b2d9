package imagebuild

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/fat"
	"github.com/piimg/piimg/imagebuild/layer"
)

// checkPartition checks what a partition holds. The error is one of reading it.
//
// A partition that should hold a FAT or ext4 file system, by its first bytes or
// else by its type, and holds none that can be made out is damaged; one with
// features that cannot be checked is a problem; all others are skipped.
func checkPartition(r *reads, l *layer.Layer, p disk.Partition) (*PartitionChecked, error) {
	c := &PartitionChecked{Index: p.Index, Start: p.Start, Size: p.Size, Label: p.Label, Findings: []Finding{}}
	switch {
	case p.Content == "ext4":
		return c, c.checkExt4(r, l)
	case p.Content != "", isFAT(p.Type):
		return c, c.checkFAT(r)
	case !isLinux(p.Type):
		c.Skipped = fmt.Sprintf("a partition of type %s, which piimg doesn't check", p.Type)
		return c, nil
	}
	other, err := otherContent(r, p)
	if other != "" || err != nil {
		c.Skipped = fmt.Sprintf("%s, which piimg doesn't check", other)
		return c, err
	}
	return c, c.checkExt4(r, l)
}

// isFAT reports whether partitions of that type, in an MBR or a GPT, hold a FAT
// file system and nothing else.
func isFAT(kind string) bool {
	switch kind {
	case "01", "04", "06", "0b", "0c", "0e", "ef", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b":
		return true
	}
	return false
}

// isLinux reports whether partitions of that type hold what Linux knows.
func isLinux(kind string) bool {
	return kind == "83" || kind == "0fc63daf-8483-4772-8e79-3d69d8477de4"
}

// otherContent names what else than ext4 a partition for Linux holds, or "".
func otherContent(r io.ReaderAt, p disk.Partition) (string, error) {
	for _, known := range [...]struct {
		at          int64
		magic, name string
	}{
		{0, "XFSB", "an XFS file system"},
		{0, "hsqs", "a SquashFS file system"},
		{0, "LUKS\xba\xbe", "an encrypted volume (LUKS)"},
		{1024, "\x10\x20\xf5\xf2", "an F2FS file system"},
		{512, "LABELONE", "a volume of LVM"},
		{4086, "SWAPSPACE2", "swap space"},
		{0x10040, "_BHRfS_M", "a Btrfs file system"},
	} {
		b := make([]byte, len(known.magic))
		if known.at+int64(len(b)) > p.Size {
			continue
		}
		if _, err := r.ReadAt(b, p.Start+known.at); err != nil && err != io.EOF {
			return "", err
		}
		if bytes.Equal(b, []byte(known.magic)) {
			return known.name, nil
		}
	}
	return "", nil
}

func (c *PartitionChecked) checkFAT(r io.ReaderAt) error {
	c.FileSystem = "fat"
	report, err := fat.Check(r, c.Start, c.Size, fat.CheckOptions{})
	var unsupported *fat.UnsupportedError
	switch {
	case errors.As(err, &unsupported):
		c.Problem = err.Error()
		return nil
	case err != nil:
		return err
	}
	c.FileSystem = strings.ToLower(cmp.Or(report.Type, c.FileSystem))
	c.Label = cmp.Or(report.Label, c.Label)
	c.BlockSize, c.Blocks, c.Omitted = report.ClusterSize, report.Clusters, report.Omitted
	for _, f := range report.Findings {
		c.Findings = append(c.Findings, Finding{Code: string(f.Code), Path: f.Path, Cluster: f.Cluster, Detail: f.Detail})
	}
	return nil
}

func (c *PartitionChecked) checkExt4(r io.ReaderAt, l *layer.Layer) error {
	report, err := ext4.Check(r, c.Start, c.Size, ext4.CheckOptions{})
	var corrupt *ext4.CorruptError
	var unsupported *ext4.UnsupportedError
	switch {
	case errors.As(err, &unsupported):
		c.FileSystem, c.Problem = "ext4", err.Error()
		return nil
	case errors.As(err, &corrupt):
		c.Findings = append(c.Findings, Finding{Code: codeNoFileSystem, Detail: "no ext4 file system can be made out: " + corrupt.Error()})
		return nil
	case err != nil:
		return err
	}
	c.FileSystem, c.Omitted, c.Unchecked = "ext4", report.Omitted, report.Unchecked
	// What cannot be opened, the findings tell.
	if f, err := ext4.Open(l, c.Start, c.Size, ext4.Options{ReadOnly: true}); err == nil {
		i := f.Info()
		c.Label, c.BlockSize, c.Blocks = cmp.Or(i.Label, c.Label), int64(i.BlockSize), int64(i.Blocks)
		c.State = i.State
		if err := f.Close(); err != nil {
			return err
		}
	}
	for _, f := range report.Findings {
		found := Finding{Code: string(f.Code), Path: f.Path, Inode: f.Inode, Block: f.Block, Detail: f.Detail}
		if f.Group >= 0 {
			found.Group = &f.Group
		}
		c.Findings = append(c.Findings, found)
	}
	return nil
}
