package imagebuild

import (
	"context"
	"errors"
	"fmt"

	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/fat"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/raspios"
	"github.com/piimg/piimg/imagebuild/source"
)

// builtMemory bounds, in bytes, what reading an image that was built takes. Several may
// be read at once, so it is what one worker needs with the blocks of 24 MiB that xz -6 makes.
// With larger blocks it may take as much as the base, which has the same ones: an image
// with its secrets is not to be unpacked into the cache folder.
const builtMemory = 76 << 20

// builtAtOnce is how many of them are read at once before the base is opened: they take
// no more memory than the pass over the base, however many jobs there are.
const builtAtOnce = passMemory / builtMemory

// builtImage is an image that was built, open to be read.
type builtImage struct {
	*source.Image
	layer *layer.Layer
}

// openBuilt opens the image at path. What has to be unpacked for that goes into cacheDir.
func openBuilt(ctx context.Context, path, cacheDir string) (*builtImage, error) {
	image, err := source.Open(ctx, path, source.Options{
		CacheDir: cacheDir, Workers: 1, Memory: builtMemory, MostMemory: source.DefaultMemory, Again: "build it again",
	})
	if err != nil {
		return nil, err
	}
	return &builtImage{Image: image, layer: layer.New(image, image.Size())}, nil
}

// Close ends the use of the image.
func (b *builtImage) Close() error { return errors.Join(b.layer.Close(), b.Image.Close()) }

// node returns which node piimg made the image for. It reads the boot partition's note,
// and no more than it takes to find that.
func (b *builtImage) node() (node *raspios.NodeFacts, err error) {
	d, err := disk.Open(b.layer, b.Size())
	if err != nil {
		return nil, err
	}
	part, err := d.FindBoot()
	if err != nil {
		return nil, err
	}
	boot, err := fat.Open(b.layer, part.Start, part.Size, fat.Options{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("partition %d: %w", part.Index, err)
	}
	node, err = raspios.ReadNode(boot)
	if err := errors.Join(err, boot.Close()); err != nil {
		return nil, err
	}
	if node == nil {
		return nil, errors.New("it has no piimg-node.txt")
	}
	return node, nil
}
