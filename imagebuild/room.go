package imagebuild

import (
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/sink"
)

// zstLeast is how many times smaller than its files an .img.zst can be expected to be
// at best.
const zstLeast = 8

// room returns how many bytes an image of this batch takes at least, beside what its
// node changes. An estimate that is too high would refuse what fits; one that is too
// low does no harm, since a disk that fills up is told as such.
func (b *batch) room() int64 {
	switch f := b.format.(type) {
	case *sink.XZ:
		return b.image.Packing().PackedSize // of which nearly all is copied
	case *sink.Zst:
		return min(b.used/zstLeast, b.image.Packing().PackedSize)
	case sink.Raw:
		if f.Clones(b.stage.Path("clone")) {
			return 0
		}
	}
	return b.used // the rest becomes holes
}

// checkSpace compares the room that the images of a batch and of those behind it will
// take with what is free. The nodes behind it are taken to be like its own.
func (b *batch) checkSpace(outputs []*output) error {
	free, err := sink.Free(b.o.Out)
	if err != nil {
		return err
	}
	each := b.room()
	if b.format.Name() == FormatImg {
		var own int64
		for _, out := range outputs {
			own += changed(out.layer)
		}
		each += own / int64(len(outputs))
	}
	if need := each * int64(b.left); need > free {
		return &sink.SpaceError{Dir: b.o.Out, Need: need, Free: free}
	}
	return nil
}

// changed returns how many bytes a layer itself changes.
func changed(l *layer.Layer) (n int64) {
	for _, e := range l.Extents() {
		n += e.Len
	}
	return n
}
