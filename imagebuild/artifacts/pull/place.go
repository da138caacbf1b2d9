package pull

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/sink"
)

// place returns where in the folder a file goes.
func place(r artifacts.Requirement, s artifacts.Source) string {
	switch {
	case r.Kind == artifacts.Binary:
		return "bin/" + safe(r.Name)
	case r.Kind == artifacts.CNIPlugin:
		return "cni/" + safe(r.Name)
	case s.Image == "":
		return "images/" + safe(path.Base(s.URL))
	}
	return "images/" + safe(r.Name) + "_" + safe(r.Arch) + ".tar"
}

// safe makes a file name of a reference that every file system takes.
func safe(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._-+", r):
			return r
		}
		return '_'
	}, name)
	return strings.TrimLeft(name, ".")
}

// create makes a temporary file in the folder that rel is in.
func (p *puller) create(rel string) (*os.File, error) {
	dir := filepath.Dir(p.path(rel))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return os.CreateTemp(dir, partPattern)
}

// discard removes a temporary file, if it is still there.
func discard(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// accept looks into a temporary file that holds what a part is to be, and
// returns what will be locked of it.
func accept(ctx context.Context, f *os.File, j job, part part, digest string) (artifacts.Locked, error) {
	r := part.requirement
	if err := f.Sync(); err != nil {
		return artifacts.Locked{}, err
	}
	it, err := artifacts.ReadFile(ctx, f.Name(), part.rel, r)
	if err != nil {
		return artifacts.Locked{}, fmt.Errorf("%s is refused: %w", part.rel, err)
	}
	version := it.Version
	if version == "" {
		version = r.Version
	}
	return artifacts.Locked{
		Rel: part.rel, From: j.source.String(), Digest: digest, Kind: r.Kind, Name: r.Name,
		Version: version, Arch: r.Arch, Size: it.Size, SHA256: it.SHA256,
	}, nil
}

// publish gives the temporary file its name, between its entries in the two lists.
func (p *puller) publish(f *os.File, l artifacts.Locked) error {
	if old, ok := p.lock.File(l.Rel); ok && !p.Update && old.From == l.From && old.Arch == l.Arch && old.SHA256 != l.SHA256 {
		return fmt.Errorf("%s is not the file that %s names, which has the sha256 %x, not %x; if it is to be the new one, run piimg artifacts pull --update",
			l.Rel, artifacts.LockName, old.SHA256, l.SHA256)
	}
	mode := os.FileMode(0o644)
	if l.Kind == artifacts.Binary || l.Kind == artifacts.CNIPlugin {
		mode = 0o755
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	p.lock = p.lock.With(l)
	if err := sink.WriteFile(p.path(artifacts.LockName), p.lock.Format(), 0o644); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), p.path(l.Rel)); err != nil {
		return err
	}
	p.sums[l.Rel] = l.SHA256
	if err := p.writeSums(); err != nil {
		return err
	}
	p.result.Fetched = append(p.result.Fetched, l)
	return nil
}
