package imagebuild

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/kube"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/raspios"
)

// enlarged is an image with zeros behind its end.
type enlarged struct {
	image io.ReaderAt
	size  int64 // of the image
}

func (e enlarged) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(max(e.size-off, 0), int64(len(p))))
	if n > 0 {
		if got, err := e.image.ReadAt(p[:n], off); got < n {
			return got, err
		}
	}
	clear(p[n:])
	return len(p), nil
}

// Room for what a file system needs beside the bytes of its files.
const (
	rootSlack   = 64 << 20 // bytes, for directories, logs and the first boot itself
	rootStep    = 64 << 20 // enlarged sizes are multiples of it
	rootPercent = 3        // of the files, for inodes and what ext4 keeps of them
)

// sizeRoot decides how large the root partition is to be: what nodes.yaml says, or
// else large enough for the files that every node gets beside its configuration.
func (p *prepared) sizeRoot() error {
	p.rootSize = p.config.Image.RootSize
	if p.rootSize != 0 || p.artifacts == nil {
		return nil
	}
	fs, err := p.parts.open(p.base, true, time.Time{})
	if err != nil {
		return err
	}
	facts, err := raspios.Detect(fs.boot, fs.root)
	info := fs.root.Info()
	if err := errors.Join(err, fs.close()); err != nil {
		return err
	}
	var need int64
	for _, n := range p.config.Nodes {
		need = max(need, artifacts.Size(p.artifacts.For(kube.Requirements(p.config, facts.Architecture, n))))
	}
	need += need*rootPercent/100 + rootSlack
	free := int64(info.FreeBlocks-min(info.FreeBlocks, info.Reserved)) * int64(info.BlockSize)
	if need <= free {
		return nil
	}
	p.rootSize = (p.parts.root.Size + need - free + rootStep - 1) / rootStep * rootStep
	return nil
}

// enlarge makes the root partition as large as it is to be, and the image with it,
// in the base's layer. The file system is left to [filesystems.grow].
func (p *prepared) enlarge() error {
	if p.rootSize == 0 || p.rootSize == p.parts.root.Size {
		return nil
	}
	d, err := disk.Open(p.base, p.base.Size())
	if err != nil {
		return err
	}
	index := p.parts.root.Index
	need, err := d.GrownSize(index, p.rootSize)
	if err != nil {
		return p.badRootSize(err)
	}
	if err := p.base.Close(); err != nil {
		return err
	}
	p.base = layer.New(enlarged{p.image, p.image.Size()}, need)
	if d, err = disk.Open(p.base, need); err != nil {
		return err
	}
	if err := d.Grow(index, p.rootSize); err != nil {
		return err
	}
	p.parts.root.Size = p.rootSize
	return nil
}

// grow makes the root file system fill its partition, where that was enlarged.
func (p *prepared) grow(fs *filesystems) error {
	if p.rootSize == 0 {
		return nil
	}
	if err := fs.root.Grow(p.parts.root.Size); err != nil {
		return p.badRootSize(err)
	}
	return nil
}

// badRootSize says that the image cannot have the size that it is to have.
func (p *prepared) badRootSize(err error) error {
	why := "image.rootSize is"
	if p.config.Image.RootSize == 0 {
		why = "the artifacts need a root of"
	}
	return KindConfig.as(fmt.Errorf("%s: %s %d MiB, the image's root has %d MiB: %w",
		p.config.Path, why, p.rootSize>>20, p.parts.root.Size>>20, err))
}
