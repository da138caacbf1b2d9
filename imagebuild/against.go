package imagebuild

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/piimg/piimg/imagebuild/hostfile"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/manifest"
)

// DifferenceError says where a build differs from an earlier one.
type DifferenceError struct {
	Dir string // of the earlier build
	// Differences are lines, each of which begins with the name of a file.
	Differences []string
}

func (e *DifferenceError) Error() string {
	return fmt.Sprintf("the build differs from that in %s, and was not published:\n  %s", e.Dir, strings.Join(e.Differences, "\n  "))
}

// earlierBuild is the folder of an earlier build.
type earlierBuild struct {
	dir      string
	manifest *manifest.Manifest // nil without one
}

// openEarlier looks into the folder of an earlier build; "" is none.
func openEarlier(dir string) (*earlierBuild, error) {
	if dir == "" {
		return nil, nil
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("--check-against: %s is no folder of an earlier build", dir)
	}
	e := &earlierBuild{dir: dir}
	content, err := hostfile.ReadSmall(filepath.Join(dir, manifest.Name), manifest.MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err == nil {
		e.manifest, err = manifest.Decode(content)
	}
	if err != nil {
		return nil, fmt.Errorf("--check-against: %s: %w", filepath.Join(dir, manifest.Name), err)
	}
	return e, nil
}

// against is the comparison of a build with an earlier one, before it is published.
type against struct {
	*earlierBuild
	p *prepared
	o Options
	// reading is held while an earlier image is read: one at a time, since what the base
	// was read with is still there.
	reading sync.Mutex
}

// err returns a [*DifferenceError] if any byte differs.
func (a *against) err(made []madeNode) error {
	e := &DifferenceError{Dir: a.dir}
	for _, n := range made {
		e.Differences = append(e.Differences, n.differences...)
	}
	lines, err := a.companions()
	if err != nil {
		return err
	}
	if e.Differences = append(e.Differences, lines...); len(e.Differences) == 0 {
		return nil
	}
	e.Differences = append(a.inputs(), e.Differences...)
	return KindDamage.as(e)
}

// inputs says which inputs of the earlier build were others.
func (a *against) inputs() (lines []string) {
	if a.manifest == nil {
		return nil
	}
	for _, in := range []struct{ what, was, is string }{
		{"the version of piimg", a.manifest.Piimg, a.o.Version},
		{"the base image", a.manifest.Base.SHA256, a.p.sha256},
		{"nodes.yaml", a.manifest.Config.SHA256, a.p.config.SHA256},
	} {
		if in.was != in.is {
			lines = append(lines, fmt.Sprintf("%s: %s was another: %s, and is %s", manifest.Name, in.what, in.was, in.is))
		}
	}
	return lines
}

// node says where what was made for a node, with this layer, differs.
func (a *against) node(ctx context.Context, hostname string, l *layer.Layer, made madeNode) ([]string, error) {
	old := a.files(hostname)
	if old.node == nil && len(old.paths) == 0 {
		return []string{fmt.Sprintf("%s.%s: %s has no image of this node", hostname, a.o.Format, a.dir)}, nil
	}
	if n := old.node; n != nil && n.Unpacked.SHA256 == hex.EncodeToString(made.unpacked[:]) {
		return sameImage(n, made), nil
	}
	name := hostname + "." + a.o.Format
	if len(old.paths) == 0 {
		return []string{name + ": its bytes are others; where cannot be told, since the earlier image is not there"}, nil
	}
	lines, err := a.image(ctx, l, old.paths[0])
	if err != nil {
		return nil, fmt.Errorf("--check-against: %w", err)
	}
	switch {
	case len(lines) > 0:
	case old.node != nil:
		lines = []string{fmt.Sprintf("the same as %s, which is not what %s says of it", old.paths[0], manifest.Name)}
	case filepath.Base(old.paths[0]) == name:
		sum, _, err := hashFile(ctx, old.paths[0])
		if err != nil {
			return nil, fmt.Errorf("--check-against: %w", err)
		}
		if sum != hex.EncodeToString(made.image.SHA256[:]) {
			lines = []string{packedDifferently}
		}
	}
	for i := range lines {
		lines[i] = name + ": " + lines[i]
	}
	return lines, nil
}

// earlier is what there is of a node's earlier build.
type earlier struct {
	node  *manifest.Node // nil without a manifest that has it
	paths []string       // of its images, that of the same format first
}

func (a *against) files(hostname string) (e earlier) {
	if a.manifest != nil {
		for i, n := range a.manifest.Nodes {
			if n.Hostname == hostname {
				e.node = &a.manifest.Nodes[i]
			}
		}
	}
	for _, f := range append([]string{a.o.Format}, Formats()...) {
		path := filepath.Join(a.dir, hostname+"."+f)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			e.paths = append(e.paths, path)
		}
	}
	return e
}

const packedDifferently = "unpacked it is the same, and packed differently"

// sameImage compares the files of an image whose unpacked bytes are the same.
func sameImage(n *manifest.Node, made madeNode) (lines []string) {
	is := manifestFile(made.image)
	for _, i := range n.Images {
		if i.Name == is.Name && i.File != is {
			lines = append(lines, is.Name+": "+packedDifferently)
		}
	}
	if n.Map != manifestFile(made.blockMap) {
		lines = append(lines, n.Map.Name+": the image is the same, and its block map is another")
	}
	return lines
}

// companions compares the files beside the images, where the earlier ones are there.
func (a *against) companions() (lines []string, err error) {
	for _, c := range companions(a.p.config) {
		old, err := hostfile.ReadSmall(filepath.Join(a.dir, c.name), maxCompanion)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("--check-against: %w", err)
		}
		body, err := c.body(a.p.config, a.p.secrets)
		if err != nil {
			return nil, err
		}
		if now := append([]byte(c.head), body...); !bytes.Equal(now, old) {
			lines = append(lines, fmt.Sprintf("%s: line %d is another", c.name, differentLine(now, old)))
		}
	}
	return lines, nil
}

// differentLine returns the number of the first line in which two texts differ.
func differentLine(a, b []byte) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return bytes.Count(a[:n], []byte("\n")) + 1
}

// image says where an image differs from an earlier one.
func (a *against) image(ctx context.Context, now *layer.Layer, path string) (lines []string, err error) {
	a.reading.Lock()
	defer a.reading.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	old, err := openBuilt(ctx, path, a.o.CacheDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	d := differences{now: now, before: old.layer}
	if err := old.Scan(ctx, d.compare); err != nil {
		return nil, err
	}
	return d.lines()
}
