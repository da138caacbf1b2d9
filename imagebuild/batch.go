package imagebuild

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/piimg/piimg/imagebuild/hostfile"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/sink"
	"github.com/piimg/piimg/imagebuild/source"
)

// maxBatch is how many images are written in one pass over the base, each of which
// takes a file descriptor and some 100 KiB of memory. With fewer of them a build
// takes the longer, with more hardly less time.
const maxBatch = 128

// batchSize is how many images are written at once. What they become does not
// depend on it.
func batchSize(o Options) int {
	if o.batch > 0 {
		return o.batch
	}
	return min(maxBatch, max(1, hostfile.MaxOpen()/2))
}

// madeNode is what is left of a node once its files are in the stage.
type madeNode struct {
	image, blockMap sink.Result
	unpacked        [sha256.Size]byte
	records         []plan.Record // of the edits that not all nodes share
	differences     []string      // from an earlier build
}

// buildImages makes the layers of all chosen nodes and writes their images, some at
// a time, into a stage. When all of them are complete, and do not differ from an earlier
// build, if there is to be one, they are published.
func (p *prepared) buildImages(ctx context.Context, o Options, earlier *earlierBuild) (made []madeNode, err error) {
	free, err := p.shareLayer(ctx)
	if err != nil {
		return nil, p.orChanged(ctx, KindPlan.as(err))
	}
	size := batchSize(o)
	batches := slices.Collect(slices.Chunk(p.chosen, size))
	if len(batches) > 1 {
		// What cannot be applied is found before a byte is written.
		err := parallel(o.Jobs, len(p.chosen), func(_, i int) error {
			return p.tryLayer(ctx, p.chosen[i], func(*layer.Layer) {})
		})
		if err != nil {
			return nil, p.orChanged(ctx, KindPlan.as(err))
		}
	}
	b := &batch{prepared: p, o: o, free: free}
	if earlier != nil {
		b.against = &against{earlierBuild: earlier, p: p, o: o}
	}
	// A build that failed meanwhile may have removed the folder, which was new to it, too.
	if err := p.makeOut(o.Out); err != nil {
		return nil, KindOutput.as(err)
	}
	if b.stage, err = sink.NewStage(o.Out); err != nil {
		return nil, KindOutput.as(err)
	}
	defer func() { err = errors.Join(err, b.stage.Close()) }()
	if b.format, b.image, err = p.openFormat(ctx, o); err != nil {
		return nil, p.orChanged(ctx, writeError(err))
	}
	total := int64(len(batches)) * p.shared.Size()
	for i, some := range batches {
		b.nodes, b.left = some, len(p.chosen)-i*size
		b.progress = func(done int64) { o.Progress(stepWriting, int64(i)*p.shared.Size()+done, total) }
		more, err := b.build(ctx)
		if err != nil {
			return nil, p.orChanged(ctx, err)
		}
		made = append(made, more...)
	}
	if err := p.image.Unchanged(); err != nil {
		return nil, KindImage.as(err)
	}
	if b.against != nil {
		if err := b.against.err(made); err != nil {
			return nil, err
		}
	}
	// The last moment at which stopping leaves everything as it was, but for the one at
	// which publish waits for another build.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return made, KindOutput.as(p.publish(ctx, o, b.stage, made))
}

// shareLayer applies what all nodes share to a layer over the base's.
func (p *prepared) shareLayer(ctx context.Context) (*freeBlocks, error) {
	p.shared = p.base.Fork()
	split := p.plans.split
	if err := p.apply(ctx, p.shared, append(split.Shared(), split.Reserved()...)); err != nil {
		return nil, forWantOfRoom(err)
	}
	return p.findFree()
}

// tryLayer applies what is a node's own to a layer, shows it, and keeps nothing of it.
func (p *prepared) tryLayer(ctx context.Context, node int, show func(*layer.Layer)) error {
	l := p.shared.Fork()
	_, own, err := p.plans.own(node)
	if err == nil {
		err = p.apply(ctx, l, own)
	}
	if err == nil {
		show(l)
	}
	return p.ofNode(node, errors.Join(err, l.Close()))
}

// makeLayer makes a layer over the shared one, applies what is a node's own to it,
// and reads the whole plan back. The caller closes the layer, also after an error.
func (p *prepared) makeLayer(ctx context.Context, node int, free *freeBlocks) (*output, plan.Plan, error) {
	out := &output{layer: p.shared.Fork()}
	pl, own, err := p.plans.own(node)
	if err == nil {
		err = p.apply(ctx, out.layer, own)
	}
	if err == nil {
		out.records = records(own)
		out.tally, err = p.verify(ctx, out.layer, pl.Edits, free)
	}
	return out, pl, p.ofNode(node, err)
}

// ofNode adds to an error of applying a plan which node it is, and what may help.
func (p *prepared) ofNode(node int, err error) error {
	if err == nil {
		return nil
	}
	return forWantOfRoom(fmt.Errorf("%s: %w", p.config.Nodes[node].Hostname, err))
}

// batch is some of the nodes, whose images are written in one pass over the base.
type batch struct {
	*prepared
	o        Options
	free     *freeBlocks
	stage    *sink.Stage
	format   sink.Format
	image    *source.Image // that the pass reads
	against  *against      // nil without an earlier build to compare with
	nodes    []int
	left     int // how many nodes there are still to be built, with these
	progress func(done int64)
}

func (b *batch) hostname(i int) string { return b.config.Nodes[b.nodes[i]].Hostname }

// build makes the nodes' layers, and writes their images and block maps into the stage.
func (b *batch) build(ctx context.Context) (_ []madeNode, err error) {
	outputs := make([]*output, len(b.nodes))
	defer func() { err = errors.Join(err, closeLayers(outputs)) }()
	err = parallel(b.o.Jobs, len(b.nodes), func(_, i int) (err error) {
		outputs[i], _, err = b.makeLayer(ctx, b.nodes[i], b.free)
		return err
	})
	if err != nil {
		return nil, KindPlan.as(err)
	}
	if err := b.checkSpace(outputs); err != nil {
		return nil, KindOutput.as(err)
	}
	made, err := b.write(ctx, outputs)
	return made, writeError(err)
}

// write writes the files of a batch into the stage, in one pass over the base.
func (b *batch) write(ctx context.Context, outputs []*output) ([]madeNode, error) {
	for i, out := range outputs {
		s, err := b.format.Create(b.stage.Path(filepath.Base(imagePath(b.o, b.hostname(i)))), b.shared.Size())
		if err != nil {
			return nil, err
		}
		defer s.Abort()
		out.sink = s
		if b.format.Name() == FormatImg {
			out.tally.MapOnly()
		}
	}
	way := pass{image: b.image, shared: b.shared, format: b.format, tallies: b.tallies, outputs: outputs, jobs: b.o.Jobs}
	if err := way.run(ctx, func(done, _ int64) { b.progress(done) }); err != nil {
		return nil, err
	}
	made := make([]madeNode, len(outputs))
	return made, parallel(b.o.Jobs, len(outputs), func(_, i int) (err error) {
		made[i], err = b.finish(ctx, b.hostname(i), outputs[i])
		return err
	})
}

// finish ends a node's files. They lie in the stage from then on, without being open.
func (b *batch) finish(ctx context.Context, hostname string, out *output) (made madeNode, err error) {
	made.records = out.records
	if made.image, err = out.sink.Finish(); err != nil {
		return made, err
	}
	if err := out.sink.Publish(); err != nil { // within the stage
		return made, err
	}
	made.image.Path = imagePath(b.o, hostname)
	unpacked, ok := out.tally.SHA256()
	if !ok {
		unpacked = made.image.SHA256
	}
	made.unpacked = unpacked
	if made.blockMap, err = b.writeMap(hostname, out.tally); err != nil || b.against == nil {
		return made, err
	}
	made.differences, err = b.against.node(ctx, hostname, out.layer, made)
	return made, err
}
