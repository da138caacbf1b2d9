package imagebuild

import (
	"errors"
	"fmt"

	"github.com/piimg/piimg/imagebuild/bmap"
	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/fat"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/tally"
)

// freeAround returns the blocks of an image that are free outside of some of its
// partitions: those that no partition has, and those that the file systems of the
// others have to spare.
func freeAround(l *layer.Layer, without ...disk.Partition) (*bmap.Free, error) {
	d, err := disk.Open(l, l.Size())
	if err != nil {
		return nil, err
	}
	free := bmap.NewFree(l.Size())
	if err := d.EachFree(free.Add); err != nil {
		return nil, err
	}
	left := map[int]bool{}
	for _, p := range without {
		left[p.Index] = true
	}
	for _, p := range d.Partitions {
		if left[p.Index] {
			continue
		}
		if err := addFree(free, l, p); err != nil {
			return nil, fmt.Errorf("partition %d: %w", p.Index, err)
		}
	}
	return free, nil
}

// addFree adds the free blocks of a partition's file system. A partition whose
// content cannot be made out is in use from end to end.
func addFree(free *bmap.Free, l *layer.Layer, p disk.Partition) error {
	switch p.Content {
	case "ext4":
		if f, err := ext4.Open(l, p.Start, p.Size, ext4.Options{ReadOnly: true}); err == nil {
			defer f.Close()
			return addFreeExt4(free, f, p)
		}
	case "fat16", "fat32":
		if f, err := fat.Open(l, p.Start, p.Size, fat.Options{ReadOnly: true}); err == nil {
			defer f.Close()
			return addFreeFAT(free, f, p)
		}
	}
	return nil
}

// addFreeExt4 adds the blocks that are free by the bitmaps. Where a journal is still
// to be replayed, or the kernel has recorded errors, those are not to be trusted.
func addFreeExt4(free *bmap.Free, f *ext4.FS, p disk.Partition) error {
	if !f.Info().Clean {
		return nil
	}
	return f.EachFree(func(off, n int64) { free.Add(p.Start+off, n) })
}

// addFreeFAT adds the clusters that are free.
func addFreeFAT(free *bmap.Free, f *fat.FS, p disk.Partition) error {
	if f.Info().Dirty {
		return nil
	}
	return f.EachFree(func(off, n int64) { free.Add(p.Start+off, n) })
}

// freeBlocks knows which blocks of a build's images are free.
type freeBlocks struct {
	parts  partitions
	around *bmap.Free // outside of the two partitions that are edited
	shared *tally.Shared
}

// findFree begins the tallies of a build, once what all nodes share is applied.
func (p *prepared) findFree() (*freeBlocks, error) {
	around, err := freeAround(p.shared, p.parts.boot, p.parts.root)
	if err != nil {
		return nil, err
	}
	fs, err := p.parts.open(p.shared, true, p.time)
	if err != nil {
		return nil, err
	}
	f := &freeBlocks{parts: p.parts, around: around}
	free, err := f.of(fs)
	if err := errors.Join(err, fs.close()); err != nil {
		return nil, err
	}
	p.tallies = tally.NewShared(p.shared.Size(), free)
	f.shared = p.tallies
	return f, nil
}

// of returns the blocks that are free in an image with these file systems.
func (f *freeBlocks) of(fs *filesystems) (*bmap.Free, error) {
	free := f.around.Clone()
	if err := addFreeFAT(free, fs.boot, f.parts.boot); err != nil {
		return nil, fmt.Errorf("partition %d: %w", f.parts.boot.Index, err)
	}
	if err := addFreeExt4(free, fs.root, f.parts.root); err != nil {
		return nil, fmt.Errorf("partition %d: %w", f.parts.root.Index, err)
	}
	return free, nil
}

// tally begins the tally of a node's image with these file systems.
func (f *freeBlocks) tally(fs *filesystems) (*tally.Tally, error) {
	free, err := f.of(fs)
	if err != nil {
		return nil, err
	}
	return f.shared.Node(free), nil
}
