package imagebuild

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/kube"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/raspios"
	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/source"
	"github.com/piimg/piimg/imagebuild/tally"
)

// prepared is everything that is decided before a byte is written.
type prepared struct {
	config  *nodes.Config
	secrets *secrets.Secrets
	image   *source.Image
	sha256  string       // of the base image as it is packed
	base    *layer.Layer // over the image, at most replayed and enlarged
	shared  *layer.Layer // over base, with what all nodes share
	// spliceable is a copy of the image that img.xz can be spliced from, if it cannot.
	spliceable *source.Image
	parts      partitions
	used       int64 // bytes that the base's two file systems use
	facts      *raspios.Facts
	time       time.Time
	// artifacts is what nodes are set up from without the internet; nil without.
	artifacts *artifacts.Set
	rootSize  int64     // what the root partition is enlarged to, in bytes; 0 if it is not
	plans     *planning // of all nodes, in the order of nodes.yaml
	chosen    []int     // which of them are wanted
	madeOut   []string  // the folders that were made for the output, the innermost first
	tallies   *tally.Shared
}

// newSecrets makes the secrets of a cluster that has none yet. What is wrong with
// the plans is told before they are kept.
type newSecrets struct {
	draw func(path, cluster string) (*secrets.Secrets, error)
	// keep returns the cluster's secrets: those drawn, once they are kept, or others
	// that were made meanwhile.
	keep func(drawn *secrets.Secrets) (*secrets.Secrets, error)
}

// load reads all inputs but the base image. The caller closes what it returns.
func load(ctx context.Context, o Options) (*prepared, error) {
	config, err := nodes.Load(o.NodesFile, nodes.Env{Lookup: o.Env})
	if err != nil {
		return nil, KindConfig.as(err)
	}
	for _, n := range config.Notices {
		o.Notice(fmt.Sprintf("%s:%d:%d: %s", n.File, n.Line, n.Column, n.Message))
	}
	p := &prepared{config: config}
	if p.chosen, err = choose(config, o.Only, o.Shard); err != nil {
		return nil, err
	}
	if len(p.chosen) == 0 {
		o.Notice(emptyShard(o, len(config.Nodes)))
	}
	if p.secrets, err = o.loadSecrets(config); err != nil {
		return nil, KindConfig.as(err)
	}
	if err := p.openArtifacts(ctx); err != nil {
		return nil, KindConfig.as(err)
	}
	return p, nil
}

// decide reads the base image, and makes the plans.
func (p *prepared) decide(ctx context.Context, o Options, fresh newSecrets) error {
	if err := p.openImage(ctx, o); err != nil {
		return KindImage.as(err)
	}
	if err := kube.Check(p.config, p.facts, p.artifacts); err != nil {
		return KindConfig.as(err)
	}
	if err := p.checkArtifacts(); err != nil {
		return KindConfig.as(err)
	}
	return p.makePlans(ctx, o, fresh)
}

// makePlans makes the plans of all nodes, and the secrets if there are none.
func (p *prepared) makePlans(ctx context.Context, o Options, fresh newSecrets) (err error) {
	drawn := p.secrets == nil
	if drawn {
		if p.secrets, err = fresh.draw(o.secretsPath(p.config.Path), p.config.Cluster.Name); err != nil {
			return KindConfig.as(err)
		}
	}
	if p.plans, err = p.planAll(ctx, o, p.secrets); err != nil {
		return err
	}
	if drawn {
		kept, err := fresh.keep(p.secrets)
		if err != nil {
			return KindConfig.as(err)
		}
		if kept != p.secrets { // another build was faster
			p.secrets = kept
			plans, err := p.planAll(ctx, o, kept)
			if err != nil {
				return err
			}
			if err := p.plans.close(); err != nil {
				return errors.Join(err, plans.close())
			}
			p.plans = plans
		}
	}
	for _, n := range p.secrets.Notices() {
		o.Notice(n)
	}
	return nil
}

// openArtifacts reads the folder that nodes are set up from without the internet.
func (p *prepared) openArtifacts(ctx context.Context) (err error) {
	if k := p.config.Kubernetes; k != nil && k.Artifacts != "" {
		p.artifacts, err = artifacts.Open(ctx, k.Artifacts)
	}
	return err
}

// checkArtifacts sees to it that the folder and the base image have what all nodes need.
func (p *prepared) checkArtifacts() error {
	if p.artifacts == nil {
		return nil
	}
	p.artifacts = p.artifacts.On(p.facts.Installed)
	return p.artifacts.Check(requirements(p.config, p.facts.Architecture))
}

// requirements returns what the nodes need to run Kubernetes, each of it once.
func requirements(c *nodes.Config, arch string) []artifacts.Requirement {
	var all []artifacts.Requirement
	seen := map[string]bool{}
	for _, n := range c.Nodes {
		for _, r := range kube.Requirements(c, arch, n) {
			if k := fmt.Sprintf("%+v", r); !seen[k] {
				seen[k] = true
				all = append(all, r)
			}
		}
	}
	return all
}

// openImage finds out what the base image is.
func (p *prepared) openImage(ctx context.Context, o Options) (err error) {
	in := p.config.Image
	so := sourceOptions(o, in.SHA256)
	so.VerifyLater = true
	path := in.Path
	if in.URL != "" {
		if path, err = source.Fetch(ctx, in.URL, so); err != nil {
			return err
		}
	}
	if p.image, err = source.Open(ctx, path, so); err != nil {
		return err
	}
	err = p.examine(o, path)
	var wrong error // if so, it is the reason of all else
	if p.sha256, wrong = p.image.SHA256(ctx); wrong != nil {
		err = wrong
	}
	return p.orChanged(ctx, err)
}

// orChanged returns an error that came up while the base image was read; or, if that was
// written to meanwhile, this, which is the reason of all else.
func (p *prepared) orChanged(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if changed := p.image.Unchanged(); changed != nil {
		return KindImage.as(changed)
	}
	return err
}

// examine looks into the base image.
func (p *prepared) examine(o Options, path string) (err error) {
	p.base = layer.New(p.image, p.image.Size())
	if p.parts, err = locate(p.base); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := errors.Join(p.sizeRoot(), p.enlarge()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	// As for writing: what cannot be edited is refused here, with the base's name.
	fs, err := p.parts.open(p.base, false, time.Time{})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if r := fs.root.Recovery(); r != (ext4.Recovery{}) {
		o.Notice(fmt.Sprintf("%s was not unmounted cleanly: replayed %d transactions of its journal, removed %d files without a name, and cut %d files to their size",
			path, r.Transactions, r.Removed, r.Truncated))
	}
	if err := p.grow(fs); err != nil {
		return fmt.Errorf("%s: %w", path, errors.Join(err, fs.close()))
	}
	if p.facts, err = raspios.Detect(fs.boot, fs.root); err != nil {
		return fmt.Errorf("%s: %w", path, errors.Join(err, fs.close()))
	}
	if n := p.facts.Node; n != nil {
		o.Notice(fmt.Sprintf("%s is already the image of node %s: what nodes.yaml does not mention stays as it is there; a stock image is the better base", path, printable(n.Hostname)))
	}
	p.used = fs.used()
	p.time = o.Time
	if p.time.IsZero() {
		p.time = baseTime(p.facts, fs)
	}
	return fs.close()
}

// baseTime is when the base image was made: the day that it names itself, or
// else the time at which its root file system was made.
func baseTime(facts *raspios.Facts, fs *filesystems) time.Time {
	if day, err := time.Parse(time.DateOnly, facts.Date); err == nil {
		return day
	}
	return fs.root.Info().Made.UTC()
}

func sourceOptions(o Options, sum string) source.Options {
	return source.Options{CacheDir: o.CacheDir, SHA256: sum, Workers: o.Jobs, Notice: o.Notice, Progress: o.Progress}
}

// locate finds the boot and the root partition of an image.
func locate(l *layer.Layer) (partitions, error) {
	d, err := disk.Open(l, l.Size())
	if err != nil {
		return partitions{}, err
	}
	boot, bootErr := d.FindBoot()
	root, rootErr := d.FindRoot()
	return partitions{boot: boot, root: root}, errors.Join(bootErr, rootErr)
}

// baseName is the base image's file name as the user knows it.
func (p *prepared) baseName() string { return imageName(p.config.Image) }

// imageName leaves out what stands behind the ? of an address: that may be the key to
// a download, and the name is told to whoever has an image or a manifest.
func imageName(im nodes.Image) string {
	if im.URL == "" {
		return filepath.Base(im.Path)
	}
	address, _, _ := strings.Cut(im.URL, "?")
	return path.Base(address)
}

func (p *prepared) close() error {
	var errs []error
	if p.plans != nil {
		errs = append(errs, p.plans.close())
	}
	if p.shared != nil {
		errs = append(errs, p.shared.Close())
	}
	if p.base != nil {
		errs = append(errs, p.base.Close())
	}
	for _, image := range []*source.Image{p.spliceable, p.image} {
		if image != nil {
			errs = append(errs, image.Close())
		}
	}
	return errors.Join(errs...)
}
