package imagebuild

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/fat"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/raspios"
	"github.com/piimg/piimg/imagebuild/source"
)

// Inspection says what an image is. Its JSON form is stable; fields may be added.
type Inspection struct {
	Path       string               `json:"path"`
	SHA256     string               `json:"sha256"` // of the file as it is packed, hex
	Packing    PackingInspection    `json:"packing"`
	Size       int64                `json:"size"`  // unpacked, in bytes
	Table      string               `json:"table"` // "mbr" or "gpt"
	DiskID     string               `json:"diskID"`
	Partitions []PartitionInspected `json:"partitions"`
	// System is what the image says about itself; nil if it cannot be told, and
	// then Problems say why.
	System   *raspios.Facts `json:"system,omitempty"`
	Problems []string       `json:"problems,omitempty"`
}

// PackingInspection says how an image is packed.
type PackingInspection struct {
	Kind   string `json:"kind"`
	Detail string `json:"detail,omitempty"`
	Size   int64  `json:"size"` // of the packed file, in bytes
}

// PartitionInspected is one partition.
type PartitionInspected struct {
	Index      int                  `json:"index"`
	Start      int64                `json:"start"` // in bytes
	Size       int64                `json:"size"`  // in bytes
	Type       string               `json:"type"`
	PARTUUID   string               `json:"partuuid"`
	FileSystem *FileSystemInspected `json:"fileSystem,omitempty"`
	Problem    string               `json:"problem,omitempty"`
}

// FileSystemInspected is the file system of a partition.
type FileSystemInspected struct {
	Type       string    `json:"type"`
	Label      string    `json:"label"`
	UUID       string    `json:"uuid,omitempty"` // of a FAT: the volume ID
	Features   []string  `json:"features,omitempty"`
	BlockSize  int64     `json:"blockSize"` // of a FAT: of a cluster; in bytes
	Size       int64     `json:"size"`      // in bytes
	Free       int64     `json:"free"`      // in bytes
	Inodes     int64     `json:"inodes,omitempty"`
	FreeInodes int64     `json:"freeInodes,omitempty"`
	Made       time.Time `json:"made,omitzero"`
	State      []string  `json:"state,omitempty"` // what is not clean
}

// Inspect says what the image at path is. An image that is no Raspberry Pi OS
// is described as far as it can be; one that is no disk image is an error.
func Inspect(ctx context.Context, path string, o Options) (_ *Inspection, err error) {
	o = o.withDefaults()
	image, err := source.Open(ctx, path, sourceOptions(o, ""))
	if err != nil {
		return nil, KindImage.as(err)
	}
	l := layer.New(image, image.Size())
	defer func() { err = errors.Join(err, l.Close(), image.Close()) }()
	packing := image.Packing()
	in := &Inspection{
		Path: path, Size: image.Size(),
		Packing: PackingInspection{Kind: packing.Kind, Detail: packing.Detail, Size: packing.PackedSize},
	}
	if in.SHA256, err = image.SHA256(ctx); err != nil {
		return nil, KindImage.as(err)
	}
	d, err := disk.Open(l, l.Size())
	if err != nil {
		return nil, KindImage.as(fmt.Errorf("%s: %w", path, err))
	}
	in.Table, in.DiskID = d.Table, d.ID
	for _, p := range d.Partitions {
		in.Partitions = append(in.Partitions, inspectPartition(l, p))
	}
	if in.System, err = inspectSystem(l); err != nil {
		in.Problems = append(in.Problems, err.Error())
	}
	return in, nil
}

func inspectPartition(l *layer.Layer, p disk.Partition) PartitionInspected {
	out := PartitionInspected{Index: p.Index, Start: p.Start, Size: p.Size, Type: p.Type, PARTUUID: p.PARTUUID}
	var err error
	switch p.Content {
	case "ext4":
		out.FileSystem, err = inspectExt4(l, p)
	case "fat16", "fat32":
		out.FileSystem, err = inspectFAT(l, p)
	}
	if err != nil {
		out.Problem = err.Error()
	}
	return out
}

func inspectExt4(l *layer.Layer, p disk.Partition) (*FileSystemInspected, error) {
	f, err := ext4.Open(l, p.Start, p.Size, ext4.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	i := f.Info()
	size := int64(i.BlockSize)
	return &FileSystemInspected{
		Type: p.Content, Label: i.Label, UUID: i.UUID, Features: i.Features,
		BlockSize: size, Size: int64(i.Blocks) * size, Free: int64(i.FreeBlocks) * size,
		Inodes: int64(i.Inodes), FreeInodes: int64(i.FreeInodes), Made: i.Made, State: i.State,
	}, f.Close()
}

func inspectFAT(l *layer.Layer, p disk.Partition) (*FileSystemInspected, error) {
	f, err := fat.Open(l, p.Start, p.Size, fat.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	i := f.Info()
	out := &FileSystemInspected{
		Type: p.Content, Label: i.Label, UUID: i.VolumeID,
		BlockSize: i.ClusterSize, Size: i.Clusters * i.ClusterSize, Free: i.FreeClusters * i.ClusterSize,
	}
	if i.Dirty {
		out.State = append(out.State, "not unmounted")
	}
	if i.LostClusters > 0 {
		out.State = append(out.State, fmt.Sprintf("%d lost clusters", i.LostClusters))
	}
	return out, f.Close()
}

func inspectSystem(l *layer.Layer) (*raspios.Facts, error) {
	parts, err := locate(l)
	if err != nil {
		return nil, err
	}
	// As for writing, so that what the journal holds counts; it is replayed in the layer.
	fs, err := parts.open(l, false, time.Time{})
	if err != nil {
		fs, err = parts.open(l, true, time.Time{})
	}
	if err != nil {
		return nil, err
	}
	facts, err := raspios.Detect(fs.boot, fs.root)
	return facts, errors.Join(err, fs.close())
}
