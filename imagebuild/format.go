package imagebuild

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/sink"
	"github.com/piimg/piimg/imagebuild/source"
)

// The formats of images, for Options.Format: what the names of their files end in.
const (
	FormatImg = "img"
	FormatXZ  = "img.xz"
	FormatZst = "img.zst"
)

// Formats returns all formats.
func Formats() []string { return []string{FormatImg, FormatXZ, FormatZst} }

// checkFormat returns an error unless there is such a format.
func checkFormat(name string) error {
	if slices.Contains(Formats(), name) {
		return nil
	}
	return KindUsage.as(fmt.Errorf("there is no format %q: it is one of %s", name, strings.Join(Formats(), ", ")))
}

// openFormat returns the format of a build, and the image that the pass reads: the
// base, or a copy of it that can be spliced from.
func (p *prepared) openFormat(ctx context.Context, o Options) (sink.Format, *source.Image, error) {
	switch o.Format {
	case FormatZst:
		f, err := sink.NewZst(o.Jobs)
		return f, p.image, err
	case FormatXZ:
		hot, err := p.hot(ctx, o)
		if err != nil {
			return nil, nil, err
		}
		if x := p.image.XZ(); x != nil {
			f, err := sink.NewXZ(x, hot)
			if !errors.Is(err, sink.ErrNoSplice) {
				return f, p.image, err
			}
		}
		if p.spliceable, err = p.image.Repack(ctx); err != nil {
			return nil, nil, err
		}
		f, err := sink.NewXZ(p.spliceable.XZ(), hot)
		return f, p.spliceable, err
	}
	return sink.Raw{Base: p.image.Flat()}, p.image, nil
}

const (
	// hotSample is how many nodes show where nodes differ.
	hotSample = 16
	// hotGap is how close to each other such places are for what is between them not
	// to be worth being packed apart: that takes a model that has learned nothing.
	hotGap = 8 << 10
)

// hot returns where the nodes of the cluster differ from each other. That decides
// which bytes come out, so it depends on all nodes, and not on those that are wanted
// now; a few of them show it, since nearly all files that differ have their place in
// the shared layer.
func (p *prepared) hot(ctx context.Context, o Options) ([]layer.Extent, error) {
	n := len(p.config.Nodes)
	sample := make([]int, min(n, hotSample))
	for i := range sample {
		sample[i] = i * n / len(sample)
	}
	found := make([][]layer.Extent, len(sample))
	err := parallel(o.Jobs, len(sample), func(_, i int) error {
		return p.tryLayer(ctx, sample[i], func(l *layer.Layer) { found[i] = l.Extents() })
	})
	return layer.Merge(hotGap, found...), err
}
