package imagebuild

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/source"
)

// CheckReport says what is wrong with an image. Its JSON form is stable; fields
// may be added.
type CheckReport struct {
	Path  string `json:"path"`
	Size  int64  `json:"size"`  // unpacked, in bytes
	Table string `json:"table"` // "mbr", "gpt"; "" if the image is one file system, or the table useless
	// Findings are those about the partition table.
	Findings   []Finding          `json:"findings"`
	Partitions []PartitionChecked `json:"partitions"`
}

// PartitionChecked says what is wrong with the file system of a partition.
type PartitionChecked struct {
	Index      int    `json:"index"` // from 1; 0 if the image is one file system
	Start      int64  `json:"start"` // in bytes
	Size       int64  `json:"size"`  // in bytes
	FileSystem string `json:"fileSystem,omitempty"`
	Label      string `json:"label,omitempty"`
	BlockSize  int64  `json:"blockSize,omitempty"` // of a FAT: of a cluster; in bytes
	Blocks     int64  `json:"blocks,omitempty"`    // of a FAT: clusters
	// Findings are what is wrong, Omitted how many more there are than are listed.
	Findings []Finding `json:"findings"`
	Omitted  int       `json:"omitted,omitempty"`
	// State is what the file system notes of itself, such as errors that the kernel
	// met with. It is no finding where nothing is wrong any more.
	State []string `json:"state,omitempty"`
	// Unchecked names what of the file system was not checked.
	Unchecked []string `json:"unchecked,omitempty"`
	// Skipped says why nothing was checked: the partition is of no interest.
	Skipped string `json:"skipped,omitempty"`
	// Problem says why nothing could be checked, although it should have been.
	Problem string `json:"problem,omitempty"`
}

// Finding is one thing that is wrong. What is zero or empty is not what it is about.
type Finding struct {
	Code    string `json:"code"` // see the documentation of ext4.Code and fat.Code
	Path    string `json:"path,omitempty"`
	Inode   uint32 `json:"inode,omitempty"`
	Group   *int   `json:"group,omitempty"`
	Block   uint64 `json:"block,omitempty"`
	Cluster uint32 `json:"cluster,omitempty"`
	Detail  string `json:"detail"`
}

// The codes of findings about what is around the file systems.
const (
	codeTable        = "partition-table"
	codeTruncated    = "truncated"      // the image ends before a partition does
	codeNoFileSystem = "no-file-system" // in a partition of a type that is meant for one that can be checked
)

// Clean reports whether nothing was found. What was not checked does not count.
func (r *CheckReport) Clean() bool {
	for _, p := range r.Partitions {
		if len(p.Findings) > 0 {
			return false
		}
	}
	return len(r.Findings) == 0
}

// Err returns an error if a partition that should have been checked could not be.
func (r *CheckReport) Err() error {
	var errs []error
	for _, p := range r.Partitions {
		if p.Problem != "" {
			errs = append(errs, fmt.Errorf("%s: %s: %s", r.Path, p.name(), p.Problem))
		}
	}
	return KindImage.as(errors.Join(errs...))
}

// Check looks for everything that is wrong with the image at path: with its
// packing, its partition table, and every FAT and ext4 file system in it, but for
// those of logical partitions. The image may also be one such file system
// without a table. Nothing is changed.
//
// What is damaged is in the report. The error says that the image could not be
// read, or is none.
func Check(ctx context.Context, path string, o Options) (_ *CheckReport, err error) {
	o = o.withDefaults()
	so := sourceOptions(o, "")
	so.FileSystems = true
	image, err := source.Open(ctx, path, so)
	if err != nil {
		return nil, KindImage.as(err)
	}
	l := layer.New(image, image.Size())
	defer func() { err = errors.Join(err, l.Close(), image.Close()) }()
	report, err := checkOpened(ctx, path, l, o)
	if err != nil {
		return nil, err
	}
	// Of what is unpacked as it is read, not all has been. Other packings were unpacked, and so checked, as a whole.
	if image.XZ() != nil {
		err := image.Scan(ctx, func(c source.Chunk) error {
			o.Progress(stepUnpack, c.Off+c.Len, image.Size())
			return nil
		})
		if err != nil {
			return nil, KindImage.as(err)
		}
	}
	return report, nil
}

const stepUnpack = "unpacking, to check all of it"

// checkOpened checks the partition table and the file systems of an image.
func checkOpened(ctx context.Context, path string, l *layer.Layer, o Options) (*CheckReport, error) {
	r := &reads{ctx: ctx, from: l, tell: o.Progress}
	report := &CheckReport{Path: path, Size: l.Size(), Findings: []Finding{}, Partitions: []PartitionChecked{}}
	partitions, err := report.readTable(l)
	if err != nil {
		return nil, KindImage.as(err)
	}
	for _, p := range partitions {
		checked, err := checkPartition(r, l, p)
		if err != nil {
			return nil, KindImage.as(fmt.Errorf("%s: %s: %w", path, checked.name(), err))
		}
		report.Partitions = append(report.Partitions, *checked)
	}
	r.end()
	return report, nil
}

// readTable returns the partitions that there are. Without a table, a file
// system is all there is; of a table that is wrong there are none.
func (r *CheckReport) readTable(l *layer.Layer) ([]disk.Partition, error) {
	d, err := disk.Open(l, l.Size())
	var none *disk.NoTableError
	var truncated *disk.TruncatedError
	var unreadable *source.Error
	switch {
	case err == nil:
		r.Table = d.Table
		err := d.CheckCopy()
		if errors.As(err, &unreadable) {
			return nil, err
		}
		if err != nil {
			r.Findings = append(r.Findings, Finding{Code: codeTable, Detail: err.Error()})
		}
		return d.Partitions, nil
	case errors.As(err, &unreadable):
		return nil, err
	case errors.As(err, &none):
		head := make([]byte, min(l.Size(), disk.ProbeSize))
		if _, err := l.ReadAt(head, 0); err != nil {
			return nil, err
		}
		if content := disk.Probe(head); content != "" {
			return []disk.Partition{{Size: l.Size(), Content: content}}, nil
		}
		return nil, fmt.Errorf("%s: %w", r.Path, err)
	case errors.As(err, &truncated):
		r.Findings = append(r.Findings, Finding{Code: codeTruncated, Detail: err.Error()})
	default:
		r.Findings = append(r.Findings, Finding{Code: codeTable, Detail: err.Error()})
	}
	return nil, nil
}

// reads are those of a check: they end with the context, and are counted.
type reads struct {
	ctx        context.Context
	from       io.ReaderAt
	tell       func(step string, done, total int64)
	done, told int64
}

const stepCheck = "check"

func (r *reads) ReadAt(p []byte, off int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.from.ReadAt(p, off)
	if r.done += int64(n); r.done-r.told >= 1<<20 {
		r.told = r.done
		r.tell(stepCheck, r.done, -1) // how much is read depends on what is found
	}
	return n, err
}

func (r *reads) end() { r.tell(stepCheck, r.done, r.done) }
