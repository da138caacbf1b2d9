package imagebuild

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/manifest"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/sink"
	"github.com/piimg/piimg/imagebuild/source"
	"github.com/piimg/piimg/imagebuild/tally"
)

// Report says what a build made. Its JSON form is stable.
type Report struct {
	Base  BaseReport   `json:"base"`
	Nodes []NodeReport `json:"nodes"`
	// Files are the paths of the files beside the images.
	Files []string `json:"files"`
}

// BaseReport says which base image was used.
type BaseReport struct {
	Name    string `json:"name"`
	SHA256  string `json:"sha256"` // of the file as it is packed, hex
	Release string `json:"release"`
	Arch    string `json:"arch"`
}

// NodeReport says what was made for one node.
type NodeReport struct {
	Hostname string   `json:"hostname"`
	Image    string   `json:"image"`  // its path
	Map      string   `json:"map"`    // path of its block map, for bmaptool
	Size     int64    `json:"size"`   // in bytes
	SHA256   string   `json:"sha256"` // of the file, hex
	Edits    int      `json:"edits"`  // how many paths were changed
	Notices  []string `json:"notices,omitempty"`
}

// Build makes one image for every chosen node, with a block map for bmaptool, and
// beside them SHA256SUMS, manifest.json and what the operator needs: known_hosts,
// ssh_config, hosts, inventory.ini, and with a kubernetes block kubeconfig. The
// secrets file is made if there is none. On an error nothing has been published,
// unless publishing itself failed half-way: then every file under its final name is
// whole, and the build can be run again.
func Build(ctx context.Context, o Options) (_ *Report, err error) {
	o = o.withDefaults()
	o.NoCreateSecrets = o.NoCreateSecrets || o.Shard.Count > 1 // all slices need the same
	p, err := prepare(ctx, o, newSecrets{draw: secrets.Draw, keep: func(drawn *secrets.Secrets) (*secrets.Secrets, error) {
		s, created, err := drawn.Keep(o.Unlock)
		if created {
			o.Notice(createdNotice(s.Path()))
		}
		return s, err
	}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := checkOutputs(ctx, p, o); err != nil {
		return nil, KindOutput.as(err)
	}
	p.plans.tell(p.chosen, o.Notice)
	outputs, err := p.makeLayers(ctx, o.Jobs)
	defer func() { err = errors.Join(err, closeLayers(outputs)) }()
	if err != nil {
		p.removeOut(o.Out)
		return nil, KindPlan.as(err)
	}
	results, err := p.writeImages(ctx, o, outputs)
	if err != nil {
		p.removeOut(o.Out)
		return nil, writeError(err)
	}
	return p.report(o, results), nil
}

// makeLayers applies the plans: what all nodes share to a layer over the base's,
// and the rest to a layer for each chosen node, which it then reads back.
func (p *prepared) makeLayers(ctx context.Context, jobs int) ([]*output, error) {
	p.shared = p.base.Fork()
	split := p.plans.split
	if err := p.apply(ctx, p.shared, append(split.Shared(), split.Reserved()...)); err != nil {
		return nil, forWantOfRoom(err)
	}
	free, err := p.findFree()
	if err != nil {
		return nil, err
	}
	outputs := make([]*output, len(p.chosen))
	for i := range outputs {
		outputs[i] = &output{layer: p.shared.Fork()}
	}
	return outputs, parallel(jobs, len(outputs), func(_, i int) error {
		pl, own, err := p.plans.own(p.chosen[i])
		if err == nil {
			err = p.apply(ctx, outputs[i].layer, own)
		}
		if err == nil {
			outputs[i].records = records(own)
			outputs[i].tally, err = p.verify(ctx, outputs[i].layer, pl.Edits, free)
		}
		if err != nil {
			return forWantOfRoom(fmt.Errorf("%s: %w", p.hostname(i), err))
		}
		return nil
	})
}

// forWantOfRoom adds what helps where the root file system is too small.
func forWantOfRoom(err error) error {
	if errors.Is(err, ext4.ErrNoSpace) || errors.Is(err, ext4.ErrNoInodes) {
		return fmt.Errorf("%w; image.rootSize in nodes.yaml makes it larger", err)
	}
	return err
}

func (p *prepared) apply(ctx context.Context, l *layer.Layer, edits []plan.Edit) error {
	if len(edits) == 0 {
		return nil
	}
	fs, err := p.parts.open(l, false, p.time)
	if err != nil {
		return err
	}
	return errors.Join(plan.Apply(ctx, edits, fs.boot, fs.root), fs.close())
}

// verify opens the file systems anew and finds every edit in them. It begins the
// node's tally with the blocks that are free now.
func (p *prepared) verify(ctx context.Context, l *layer.Layer, edits []plan.Edit, free *freeBlocks) (*tally.Tally, error) {
	fs, err := p.parts.open(l, true, p.time)
	if err != nil {
		return nil, fmt.Errorf("the edited image cannot be read back, which is a mistake in piimg: %w", err)
	}
	t, freeErr := free.tally(fs)
	if err := errors.Join(plan.Verify(ctx, edits, fs.boot, fs.root), freeErr, fs.close()); err != nil {
		return nil, fmt.Errorf("the edited image reads back wrongly, which is a mistake in piimg: %w", err)
	}
	return t, nil
}

func closeLayers(outputs []*output) error {
	var errs []error
	for _, out := range outputs {
		errs = append(errs, out.layer.Close())
	}
	return errors.Join(errs...)
}

// writeImages writes all images under temporary names, then publishes them.
func (p *prepared) writeImages(ctx context.Context, o Options, outputs []*output) ([]sink.Result, error) {
	if err := checkSpace(p.used, outputs, o.Out); err != nil {
		return nil, err
	}
	format, image, err := p.openFormat(ctx, o, outputs)
	if err != nil {
		return nil, err
	}
	for i, out := range outputs {
		s, err := format.Create(imagePath(o, p.hostname(i)), p.base.Size())
		if err != nil {
			return nil, err
		}
		defer s.Abort()
		out.sink = s
		if format.Name() == "img" {
			out.tally.MapOnly()
		}
	}
	way := pass{image: image, shared: p.shared, format: format, tallies: p.tallies, outputs: outputs, jobs: o.Jobs}
	err = way.run(ctx, func(done, total int64) { o.Progress(stepWriting, done, total) })
	if err != nil {
		return nil, err
	}
	results := make([]sink.Result, len(outputs))
	err = parallel(o.Jobs, len(outputs), func(_, i int) (err error) {
		results[i], err = outputs[i].sink.Finish()
		return err
	})
	if err != nil {
		return nil, err
	}
	// The last moment at which stopping leaves everything as it was.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return results, p.publish(o, format.Name(), outputs, results)
}

// writeError marks an error of writing: damage in the middle of a packed base
// comes out only when all of it is read.
func writeError(err error) error {
	var damaged *source.Error
	if errors.As(err, &damaged) {
		return KindImage.as(err)
	}
	return KindOutput.as(err)
}

// removeOut removes the output folder, if this build made it and nothing is in it.
func (p *prepared) removeOut(dir string) {
	if p.madeOut {
		_ = os.Remove(dir) // which fails, as it should, unless the folder is empty
	}
}

func (p *prepared) hostname(i int) string { return p.config.Nodes[p.chosen[i]].Hostname }

// stepWriting names the pass over the base for Options.Progress.
const stepWriting = "writing images"

func (p *prepared) baseReport() BaseReport {
	return BaseReport{Name: p.baseName(), SHA256: p.sha256, Release: string(p.facts.Release), Arch: p.facts.Architecture}
}

func (p *prepared) report(o Options, results []sink.Result) *Report {
	r := &Report{Base: p.baseReport(), Files: []string{filepath.Join(o.Out, sink.SumsName), filepath.Join(o.Out, manifest.Name)}}
	for _, c := range companions(p.config) {
		r.Files = append(r.Files, filepath.Join(o.Out, c.name))
	}
	for i, res := range results {
		k := p.chosen[i]
		r.Nodes = append(r.Nodes, NodeReport{
			Hostname: p.hostname(i), Image: res.Path, Map: bmapPath(o.Out, p.hostname(i)),
			Size: res.Size, SHA256: hex.EncodeToString(res.SHA256[:]), Edits: p.plans.edits[k], Notices: p.plans.notices[k],
		})
	}
	return r
}

// Schema returns the JSON Schema of nodes.yaml.
func Schema() []byte { return nodes.Schema() }
