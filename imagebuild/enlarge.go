package imagebuild

import (
	"fmt"
	"io"

	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/layer"
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

// enlarge makes the root partition as large as nodes.yaml wants it, and the image
// with it, in the base's layer. The file system is left to [filesystems.grow].
func (p *prepared) enlarge() error {
	size := p.config.Image.RootSize
	if size == 0 || size == p.parts.root.Size {
		return nil
	}
	d, err := disk.Open(p.base, p.base.Size())
	if err != nil {
		return err
	}
	index := p.parts.root.Index
	need, err := d.GrownSize(index, size)
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
	if err := d.Grow(index, size); err != nil {
		return err
	}
	p.parts.root.Size = size
	return nil
}

// grow makes the root file system fill its partition, where that was enlarged.
func (p *prepared) grow(fs *filesystems) error {
	if p.config.Image.RootSize == 0 {
		return nil
	}
	if err := fs.root.Grow(p.parts.root.Size); err != nil {
		return p.badRootSize(err)
	}
	return nil
}

// badRootSize says that the image cannot have the size that nodes.yaml wants.
func (p *prepared) badRootSize(err error) error {
	return KindConfig.as(fmt.Errorf("%s: image.rootSize is %d MiB, the image's root has %d MiB: %w",
		p.config.Path, p.config.Image.RootSize>>20, p.parts.root.Size>>20, err))
}
