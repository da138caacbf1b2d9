package imagebuild

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
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
	if err := checkFormat(o.Format); err != nil {
		return nil, err
	}
	o.NoCreateSecrets = o.NoCreateSecrets || o.Shard.Count > 1 // all slices need the same
	earlier, err := openEarlier(o.CheckAgainst)
	if err != nil {
		return nil, KindUsage.as(err)
	}
	p, err := load(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	defer func() {
		if err != nil {
			p.removeOut()
		}
	}()
	// Looking at images that are to be replaced takes memory, as does the base's cache:
	// the one is over before the other begins.
	if err := checkOutputs(ctx, p, o); err != nil {
		return nil, KindOutput.as(err)
	}
	if err := p.decide(ctx, o, newSecrets{draw: secrets.Draw, keep: func(drawn *secrets.Secrets) (*secrets.Secrets, error) {
		s, created, err := drawn.Keep(o.Unlock)
		if created {
			o.Notice(createdNotice(s.Path()))
		}
		return s, err
	}}); err != nil {
		return nil, err
	}
	p.plans.tell(p.chosen, o.Notice)
	made, err := p.buildImages(ctx, o, earlier)
	if err != nil {
		return nil, err
	}
	return p.report(o, made), nil
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
		if out != nil {
			errs = append(errs, out.layer.Close())
		}
	}
	return errors.Join(errs...)
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

// makeOut makes the output folder, with those above it.
func (p *prepared) makeOut(dir string) error {
	var missing []string
	for d, above := dir, ""; d != above; d, above = filepath.Dir(d), d {
		if _, err := os.Lstat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, d)
	}
	p.madeOut = append(missing, p.madeOut...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("the output folder %s cannot be made: %w; choose another with --out", dir, err)
	}
	return nil
}

// removeOut removes the output folder and those above it that this build made, unless
// something is in them.
func (p *prepared) removeOut() {
	for _, dir := range p.madeOut {
		_ = os.Remove(dir) // which fails, as it should, unless the folder is empty
	}
}

func (p *prepared) hostname(i int) string { return p.config.Nodes[p.chosen[i]].Hostname }

// stepWriting names the pass over the base for Options.Progress.
const stepWriting = "writing images"

func (p *prepared) baseReport() BaseReport {
	return BaseReport{Name: p.baseName(), SHA256: p.sha256, Release: string(p.facts.Release), Arch: p.facts.Architecture}
}

func (p *prepared) report(o Options, made []madeNode) *Report {
	r := &Report{Base: p.baseReport(), Files: []string{filepath.Join(o.Out, sink.SumsName), filepath.Join(o.Out, manifest.Name)}}
	for _, c := range companions(p.config) {
		r.Files = append(r.Files, filepath.Join(o.Out, c.name))
	}
	for i, m := range made {
		k := p.chosen[i]
		r.Nodes = append(r.Nodes, NodeReport{
			Hostname: p.hostname(i), Image: m.image.Path, Map: m.blockMap.Path,
			Size: m.image.Size, SHA256: hex.EncodeToString(m.image.SHA256[:]), Edits: p.plans.edits[k], Notices: p.plans.notices[k],
		})
	}
	return r
}

// Schema returns the JSON Schema of nodes.yaml.
func Schema() []byte { return nodes.Schema() }

// ManifestSchema returns the JSON Schema of manifest.json.
func ManifestSchema() []byte { return manifest.Schema() }
