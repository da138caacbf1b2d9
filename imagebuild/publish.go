package imagebuild

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/piimg/piimg/imagebuild/bmap"
	"github.com/piimg/piimg/imagebuild/manifest"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/sink"
	"github.com/piimg/piimg/imagebuild/tally"
)

// publish writes what stands beside the images into the stage, too, and when all of it
// is there, gives the files their names. SHA256SUMS comes last: where it is right, all
// is there.
func (p *prepared) publish(ctx context.Context, o Options, stage *sink.Stage, nodes []madeNode) (err error) {
	// From here on, what is there is read and replaced: of two builds into one folder,
	// the later one's files are there, and not some of each.
	unlock, err := sink.Lock(ctx, o.Out, func() {
		o.Notice(fmt.Sprintf("another build is publishing into %s; waiting for it", o.Out))
	})
	if err != nil {
		return err
	}
	defer unlock()
	var all []sink.Result
	for _, n := range nodes {
		all = append(all, n.image, n.blockMap)
	}
	for _, c := range companions(p.config) {
		r, err := c.write(stage.Path(c.name), p.config, p.secrets)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	m := p.manifest(o, nodes)
	r, err := p.writeManifest(o, stage, m)
	if err != nil {
		return err
	}
	all = append(all, r)
	sums, err := sink.UpdatedSums(o.Out, all)
	if err != nil {
		return err
	}
	if err := sink.WriteFile(stage.Path(sink.SumsName), sums, 0o644); err != nil {
		return err
	}
	names := make([]string, len(all))
	for i, r := range all {
		names[i] = filepath.Base(r.Path)
	}
	others, err := strangers(o.Out, m)
	if err != nil {
		return err
	}
	if err := stage.Publish(names); err != nil {
		return err
	}
	if err := stage.Publish([]string{sink.SumsName}); err != nil {
		return err
	}
	tellStrangers(o, others)
	return nil
}

// publishFile writes a small file, and says what it wrote.
func publishFile(path string, content []byte, mode fs.FileMode) (sink.Result, error) {
	r := sink.Result{Path: path, Size: int64(len(content)), SHA256: sha256.Sum256(content)}
	return r, sink.WriteFile(path, content, mode)
}

// bmapPath is where the block map of a node's image is published. It is the same for
// all formats, and bmaptool finds it beside any of them.
func bmapPath(dir, hostname string) string { return filepath.Join(dir, hostname+".img.bmap") }

// checkMap returns an error unless content is a block map.
func checkMap(content []byte) error {
	_, err := bmap.Decode(content)
	return err
}

// writeMap writes a node's block map into the stage. It is as private as the image:
// the digest of a block tells as much about a weak password in it as its hash does.
func (b *batch) writeMap(hostname string, t *tally.Tally) (sink.Result, error) {
	content, err := t.Map().Encode()
	if err != nil {
		return sink.Result{}, fmt.Errorf("%s: %w", hostname, err)
	}
	path := bmapPath(b.o.Out, hostname)
	r, err := publishFile(b.stage.Path(filepath.Base(path)), content, 0o600)
	r.Path = path
	return r, err
}

// checkManifest returns an error unless content is a manifest.
func checkManifest(content []byte) error {
	_, err := manifest.Decode(content)
	return err
}

// records returns the records of edits.
func records(edits []plan.Edit) []plan.Record {
	out := make([]plan.Record, len(edits))
	for i, e := range edits {
		out[i] = e.Record()
	}
	return out
}

// manifest describes this build.
func (p *prepared) manifest(o Options, nodes []madeNode) *manifest.Manifest {
	m := &manifest.Manifest{
		Schema: manifest.Version, Piimg: o.Version,
		Base: manifest.Base{
			Name: p.baseName(), Release: string(p.facts.Release), Arch: p.facts.Architecture,
			SHA256: p.sha256, Size: p.image.Packing().PackedSize, UnpackedSize: p.image.Size(),
		},
		Config: manifest.NodesFile{SHA256: p.config.SHA256},
		Time:   p.time.UTC().Format(time.RFC3339),
		Edits:  records(p.plans.split.Shared()),
		Nodes:  make([]manifest.Node, len(nodes)),
	}
	for i, made := range nodes {
		n := p.config.Nodes[p.chosen[i]]
		m.Nodes[i] = manifest.Node{
			Hostname: n.Hostname, Role: string(n.Role),
			Unpacked: manifest.Sum{Size: p.base.Size(), SHA256: hex.EncodeToString(made.unpacked[:])},
			Images:   []manifest.Image{{File: manifestFile(made.image), Format: o.Format}},
			Map:      manifestFile(made.blockMap), Edits: made.records,
		}
	}
	return m
}

func manifestFile(r sink.Result) manifest.File {
	return manifest.File{Name: filepath.Base(r.Path), Sum: manifest.Sum{Size: r.Size, SHA256: hex.EncodeToString(r.SHA256[:])}}
}

// writeManifest writes the manifest into the stage. What is there already of the same
// inputs is taken over into it, so that building some of the nodes again keeps the others.
func (p *prepared) writeManifest(o Options, stage *sink.Stage, m *manifest.Manifest) (sink.Result, error) {
	path := filepath.Join(o.Out, manifest.Name)
	content, err := os.ReadFile(path)
	if err == nil {
		err = p.mergeManifest(o, m, content)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return sink.Result{}, fmt.Errorf("failed to take over %s: %w", path, err)
	}
	if content, err = m.Encode(); err != nil {
		return sink.Result{}, err
	}
	return publishFile(stage.Path(manifest.Name), content, 0o644)
}

func (p *prepared) mergeManifest(o Options, m *manifest.Manifest, content []byte) error {
	old, err := manifest.Decode(content)
	if err != nil {
		return nil // with --force, what is no manifest is replaced
	}
	_, err = m.Merge(old, func(name string) bool {
		_, err := os.Lstat(filepath.Join(o.Out, name))
		return err == nil
	})
	return err
}

// tellStrangers says which images are left in the folder that are not of this build: a
// node that was renamed leaves one behind, with all the secrets that are in it.
func tellStrangers(o Options, names []string) {
	if len(names) == 0 {
		return
	}
	for i := range names {
		names[i] = printable(names[i])
	}
	o.Notice(fmt.Sprintf("%s has images of a build of other inputs (nodes.yaml, base image or version of piimg): %s; build again what is still wanted, and remove the rest",
		o.Out, someOf(names)))
}

// strangers returns the names of the images in a folder that its manifest does not have.
// The base image, which may lie there, too, is none of them.
func strangers(dir string, m *manifest.Manifest) (names []string, err error) {
	known := map[string]bool{}
	for _, n := range m.Nodes {
		for _, i := range n.Images {
			known[i.Name] = true
		}
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if _, packing, _ := strings.Cut(e.Name(), "."); !slices.Contains(Formats(), packing) || known[e.Name()] {
			continue
		}
		if e.Name() == m.Base.Name {
			if info, err := e.Info(); err == nil && info.Size() == m.Base.Size {
				continue
			}
		}
		names = append(names, e.Name())
	}
	return names, err
}

// printable returns a name, in quotes if a terminal would obey something in it.
func printable(name string) string {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}
