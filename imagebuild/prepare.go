package imagebuild

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/kube"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/raspios"
	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/source"
)

// prepared is everything that is decided before a byte is written.
type prepared struct {
	config  *nodes.Config
	secrets *secrets.Secrets
	image   *source.Image
	sha256  string       // of the base image as it is packed
	base    *layer.Layer // over the image, until plans are applied at most replayed and enlarged
	parts   partitions
	used    int64 // bytes that the base's two file systems use
	facts   *raspios.Facts
	time    time.Time
	// artifacts is what nodes are set up from without the internet; nil without.
	artifacts *artifacts.Set
	rootSize  int64       // what the root partition is enlarged to, in bytes; 0 if it is not
	plans     []plan.Plan // of all nodes, in the order of nodes.yaml
	chosen    []int       // which of them are wanted
	madeOut   bool        // whether the output folder is new
}

// secretsSource gives the secrets of a cluster that has none yet, once nodes.yaml
// and the base image are known to be good.
type secretsSource func(path, cluster string) (*secrets.Secrets, error)

// prepare reads all inputs and makes the plans. The caller closes what it returns.
func prepare(ctx context.Context, o Options, getSecrets secretsSource) (_ *prepared, err error) {
	config, err := nodes.Load(o.NodesFile, nodes.Env{Lookup: o.Env})
	if err != nil {
		return nil, KindConfig.as(err)
	}
	for _, n := range config.Notices {
		o.Notice(fmt.Sprintf("%s:%d:%d: %s", n.File, n.Line, n.Column, n.Message))
	}
	p := &prepared{config: config}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.chosen, err = choose(config, o.Only); err != nil {
		return nil, err
	}
	if p.secrets, err = o.loadSecrets(config); err != nil {
		return nil, KindConfig.as(err)
	}
	if err := p.openArtifacts(ctx); err != nil {
		return nil, KindConfig.as(err)
	}
	if err := p.openImage(ctx, o); err != nil {
		return nil, KindImage.as(err)
	}
	if err := kube.Check(config, p.facts, p.artifacts); err != nil {
		return nil, KindConfig.as(err)
	}
	if err := p.checkArtifacts(); err != nil {
		return nil, KindConfig.as(err)
	}
	if p.secrets == nil {
		// What is wrong with the plans is told before secrets are made.
		p.secrets = secrets.Placeholder(config.Cluster.Name)
		if err := p.makePlans(o); err != nil {
			return nil, err
		}
		if p.secrets, err = getSecrets(o.secretsPath(config.Path), config.Cluster.Name); err != nil {
			return nil, KindConfig.as(err)
		}
	}
	for _, n := range p.secrets.Notices() {
		o.Notice(n)
	}
	return p, p.makePlans(o)
}

// choose resolves --only to indexes into the nodes; all of them without names.
func choose(config *nodes.Config, names []string) ([]int, error) {
	var chosen []int
	var known []string
	for i, n := range config.Nodes {
		known = append(known, n.Hostname)
		if len(names) == 0 || slices.Contains(names, n.Hostname) {
			chosen = append(chosen, i)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, KindUsage.as(fmt.Errorf("%s has no node %q; it has %s", config.Path, name, strings.Join(known, ", ")))
		}
	}
	return chosen, nil
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
	var all []artifacts.Requirement
	for _, n := range p.config.Nodes {
		all = append(all, kube.Requirements(p.config, p.facts.Architecture, n)...)
	}
	return p.artifacts.Check(all)
}

// openImage finds out what the base image is.
func (p *prepared) openImage(ctx context.Context, o Options) (err error) {
	in := p.config.Image
	so := sourceOptions(o, in.SHA256)
	path := in.Path
	if in.URL != "" {
		if path, err = source.Fetch(ctx, in.URL, so); err != nil {
			return err
		}
	}
	if p.image, err = source.Open(ctx, path, so); err != nil {
		return err
	}
	if p.sha256, err = p.image.SHA256(ctx); err != nil {
		return err
	}
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
		o.Notice(fmt.Sprintf("%s is already the image of node %s: what nodes.yaml does not mention stays as it is there; a stock image is the better base", path, n.Hostname))
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

// makePlans plans all nodes, also those that are not wanted now: a mistake in
// one is told at once, and what the nodes share does not depend on the choice.
func (p *prepared) makePlans(o Options) error {
	fs, err := p.parts.open(p.base, true, p.time)
	if err != nil {
		return KindImage.as(err)
	}
	p.plans = nil
	var errs []error
	for _, n := range p.config.Nodes {
		cluster, err := kube.Plan(kube.Input{
			Config: p.config, Node: n, Facts: p.facts, Secrets: p.secrets, Artifacts: p.artifacts,
		})
		errs = append(errs, err)
		pl, err := raspios.Plan(raspios.Input{
			Config: p.config, Node: n, Facts: p.facts, Boot: fs.boot, Root: fs.root, Secrets: p.secrets,
			Base:    raspios.BaseInfo{Name: p.baseName(), SHA256: p.sha256},
			Version: o.Version, Time: p.time, Additions: []raspios.Addition{cluster},
		})
		errs = append(errs, err)
		p.plans = append(p.plans, pl)
	}
	return KindConfig.as(errors.Join(append(errs, fs.close())...))
}

// baseName is the base image's file name as the user knows it.
func (p *prepared) baseName() string {
	if u := p.config.Image.URL; u != "" {
		return u[strings.LastIndexByte(u, '/')+1:]
	}
	return filepath.Base(p.config.Image.Path)
}

func (p *prepared) close() error {
	var errs []error
	if p.base != nil {
		errs = append(errs, p.base.Close())
	}
	if p.image != nil {
		errs = append(errs, p.image.Close())
	}
	return errors.Join(errs...)
}
