package imagebuild

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/piimg/piimg/imagebuild/hostfile"
	"github.com/piimg/piimg/imagebuild/manifest"
	"github.com/piimg/piimg/imagebuild/raspios"
	"github.com/piimg/piimg/imagebuild/sink"
	"github.com/piimg/piimg/imagebuild/source"
)

// imagePath is where a node's image is published.
func imagePath(o Options, hostname string) string {
	return filepath.Join(o.Out, hostname+"."+o.Format)
}

// checkOutputs makes sure that the output folder exists, can be written to, and that
// nothing would be replaced that is not to be.
func checkOutputs(ctx context.Context, p *prepared, o Options) error {
	if err := p.makeOut(o.Out); err != nil {
		return err
	}
	err := sink.RemoveStale(o.Out)
	if err == nil {
		err = sink.Probe(o.Out)
	}
	if err != nil {
		return fmt.Errorf("the output folder %s cannot be written to: %w; choose another with --out", o.Out, err)
	}
	errs := []error{parallel(min(o.Jobs, builtAtOnce), len(p.chosen), func(_, i int) error {
		return checkReplace(ctx, p, o, p.hostname(i))
	})}
	companion := func(path string, ours func([]byte) error) { errs = append(errs, checkCompanion(path, o.Force, ours)) }
	companion(filepath.Join(o.Out, sink.SumsName), sink.CheckSums)
	for _, c := range companions(p.config) {
		companion(filepath.Join(o.Out, c.name), c.check)
	}
	companion(filepath.Join(o.Out, manifest.Name), checkManifest)
	for i := range p.chosen {
		companion(bmapPath(o.Out, p.hostname(i)), checkMap)
	}
	return errors.Join(errs...)
}

// maxCompanion is the size in bytes of the largest file beside the images that is read.
const maxCompanion = manifest.MaxFile

// checkCompanion refuses to replace a file that is not piimg's, unless it is forced to;
// in any case, what is no regular file, or too large to be looked at, stays.
func checkCompanion(path string, force bool, ours func([]byte) error) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s exists and is no regular file: remove it, or choose another folder with --out", path)
	}
	content, err := hostfile.ReadSmall(path, maxCompanion)
	if err != nil {
		return fmt.Errorf("%w: move it away, or choose another folder with --out", err)
	}
	if err := ours(content); err != nil && !force {
		return fmt.Errorf("%s exists and was not made by piimg (%w): move it away, choose another folder with --out, or replace it with --force", path, err)
	}
	return nil
}

// checkReplace says whether a node's image may be put in place of what is there.
func checkReplace(ctx context.Context, p *prepared, o Options, hostname string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path := imagePath(o, hostname)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s exists and is no regular file: remove it, or choose another folder with --out", path)
	}
	if base, err := os.Stat(p.config.Image.Path); err == nil && os.SameFile(base, info) {
		return fmt.Errorf("%s is the base image itself: choose another folder with --out", path)
	}
	if o.Force {
		return nil
	}
	switch node, err := nodeOf(ctx, path, o); {
	case err != nil:
		var e *source.Error
		if errors.As(err, &e) {
			e.Remedy = "" // for who wants to use the image
		}
		return fmt.Errorf("%s exists and is no image made by piimg (%w): remove it, or replace it with --force", path, err)
	case node.Hostname != hostname:
		return fmt.Errorf("%s exists and is the image of node %s: remove it, or replace it with --force", path, printable(node.Hostname))
	case node.Cluster != p.config.Cluster.Name:
		return fmt.Errorf("%s exists and is the image of a node of the cluster %s: choose another folder with --out, or replace it with --force", path, printable(node.Cluster))
	}
	return nil
}

// nodeOf returns which node piimg made an image for.
func nodeOf(ctx context.Context, path string, o Options) (node *raspios.NodeFacts, err error) {
	image, err := openBuilt(ctx, path, o.CacheDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	return image.node()
}
