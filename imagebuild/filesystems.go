package imagebuild

import (
	"errors"
	"fmt"
	"time"

	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/fat"
	"github.com/piimg/piimg/imagebuild/layer"
)

// partitions are the two partitions that plans edit.
type partitions struct {
	boot, root disk.Partition
}

// filesystems are the two file systems of one layer, open.
type filesystems struct {
	boot *fat.FS
	root *ext4.FS
}

func (p partitions) open(l *layer.Layer, readOnly bool, t time.Time) (*filesystems, error) {
	boot, err := fat.Open(l, p.boot.Start, p.boot.Size, fat.Options{Time: t, ReadOnly: readOnly})
	if err != nil {
		return nil, fmt.Errorf("partition %d: %w", p.boot.Index, err)
	}
	root, err := ext4.Open(l, p.root.Start, p.root.Size, ext4.Options{Time: t, ReadOnly: readOnly})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("partition %d: %w", p.root.Index, err), boot.Close())
	}
	return &filesystems{boot: boot, root: root}, nil
}

// close writes what is still in memory to the layer.
func (f *filesystems) close() error {
	return errors.Join(f.boot.Close(), f.root.Close())
}

// used returns how many bytes the two file systems use for anything but zeros.
func (f *filesystems) used() int64 {
	boot, root := f.boot.Info(), f.root.Info()
	return (boot.Clusters-boot.FreeClusters)*boot.ClusterSize + int64(root.Blocks-root.FreeBlocks)*int64(root.BlockSize)
}
