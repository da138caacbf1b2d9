package artifacts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// maxDepth bounds how deep indexes of images may be nested.
const maxDepth = 4

// found is an image of an archive, for one architecture.
type found struct {
	ref    string // "" for one without a name
	arch   string // dpkg's
	os     string
	config string // digest of the configuration
}

// readImages reads an archive of container images, in either of the forms that
// containerd imports: that of docker save, and an OCI layout.
func readImages(ctx context.Context, r io.ReaderAt, size int64, packing string) (Item, error) {
	a, err := readArchive(ctx, r, size, packing)
	if err != nil {
		return Item{}, err
	}
	var images []found
	// As containerd does: an OCI layout comes first, where docker wrote both.
	switch {
	case a.docs["oci-layout"] != nil && a.docs["index.json"] != nil:
		images, err = a.layout("index.json", "", 0)
	case a.docs["manifest.json"] != nil:
		images, err = a.dockerSave()
	default:
		err = fmt.Errorf("%w: it has neither a manifest.json nor an index.json; unpack programs into bin, and CNI plugins into cni", errNotImage)
	}
	if err != nil {
		return Item{}, err
	}
	it, err := imageItem(images)
	it.packing = packing
	return it, err
}

// imageItem describes an archive with these images.
func imageItem(images []found) (Item, error) {
	it := Item{Kind: Image, digests: map[string]string{}}
	arches := map[string]bool{}
	unnamed := 0
	for _, f := range images {
		if f.os != "linux" {
			return Item{}, fmt.Errorf("%w for linux, but for %q", errNotImage, f.os)
		}
		arches[f.arch] = true
		if f.ref == "" {
			unnamed++
			continue
		}
		ref, err := FullName(f.ref)
		if err != nil {
			return Item{}, err
		}
		it.digests[ref] = f.config
	}
	it.Images = slices.Sorted(maps.Keys(it.digests))
	switch {
	case len(images) == 0:
		return Item{}, fmt.Errorf("%w: it holds none", errNotImage)
	case unnamed == len(images):
		return Item{}, errors.New("its images have no names: save them by name, as NAME:TAG")
	case len(arches) > 1:
		all := slices.Sorted(maps.Keys(arches))
		return Item{}, fmt.Errorf("it holds images for several architectures, %s: save them for one", strings.Join(all, " and "))
	}
	it.Arch = images[0].arch
	if len(it.Images) == 1 {
		it.Name = it.Images[0]
		if i := strings.LastIndexByte(it.Name, ':'); i > strings.LastIndexByte(it.Name, '/') && !strings.Contains(it.Name, "@") {
			it.Version = strings.TrimPrefix(it.Name[i+1:], "v")
		}
	}
	return it, nil
}

// FullName writes the reference of an image in full, as containerd does:
// "busybox" is docker.io/library/busybox:latest.
func FullName(ref string) (string, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return "", fmt.Errorf("%.200q is no reference of an image", ref)
	}
	full := parsed.Name()
	if rest, ok := strings.CutPrefix(full, name.DefaultRegistry+"/"); ok {
		full = "docker.io/" + rest
	}
	return full, nil
}

// dockerSave reads manifest.json, the table of what docker save writes.
func (a *archive) dockerSave() ([]found, error) {
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(a.docs["manifest.json"], &manifest); err != nil {
		return nil, fmt.Errorf("%w: manifest.json: %w", errNotImage, err)
	}
	var all []found
	for _, m := range manifest {
		f, err := a.config(path.Clean(m.Config))
		if err != nil {
			return nil, err
		}
		for _, l := range m.Layers {
			if !a.names[path.Clean(l)] {
				return nil, fmt.Errorf("damaged archive: the layer %s of %s is missing", l, strings.Join(m.RepoTags, ", "))
			}
		}
		if len(m.RepoTags) == 0 {
			all = append(all, f)
		}
		for _, tag := range m.RepoTags {
			f.ref = tag
			all = append(all, f)
		}
	}
	return all, nil
}

// config reads what an image's configuration says it is for.
func (a *archive) config(file string) (found, error) {
	var c struct{ Architecture, OS string }
	doc, err := a.doc(file)
	if err != nil {
		return found{}, err
	}
	if doc == nil {
		return found{}, fmt.Errorf("damaged archive: the configuration %s is missing", file)
	}
	if err := json.Unmarshal(doc, &c); err != nil {
		return found{}, fmt.Errorf("damaged archive: %s: %w", file, err)
	}
	if c.Architecture == "" {
		return found{}, fmt.Errorf("damaged archive: the configuration %s names no architecture", file)
	}
	return found{arch: dpkgArch(c.Architecture), os: strings.ToLower(c.OS), config: digestOf(doc)}, nil
}

// descriptor points from one document of an OCI layout to another.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Annotations map[string]string `json:"annotations"`
	Platform    *struct {
		Architecture string `json:"architecture"`
	} `json:"platform"`
}

// file is where the layout holds what the descriptor points to.
func (d descriptor) file() string { return "blobs/" + strings.Replace(d.Digest, ":", "/", 1) }

// ref is the name that containerd gives the image.
func (d descriptor) ref() string {
	if n := d.Annotations["io.containerd.image.name"]; n != "" {
		return n
	}
	// A tag alone is no name.
	if n := d.Annotations["org.opencontainers.image.ref.name"]; strings.ContainsAny(n, "/:") {
		return n
	}
	return ""
}

// layout reads the images that an index of an OCI layout points to. Those within
// an index have its name.
func (a *archive) layout(file, ref string, depth int) ([]found, error) {
	if depth == maxDepth {
		return nil, fmt.Errorf("%w: its indexes are nested too deep", errNotImage)
	}
	var index struct {
		Manifests []descriptor `json:"manifests"`
		Config    *descriptor  `json:"config"`
		Layers    []descriptor `json:"layers"`
	}
	doc, err := a.doc(file)
	if err != nil {
		return nil, err
	}
	if doc == nil {
		return nil, fmt.Errorf("damaged archive: %s is missing", file)
	}
	if err := json.Unmarshal(doc, &index); err != nil {
		return nil, fmt.Errorf("damaged archive: %s: %w", file, err)
	}
	if index.Config != nil {
		f, err := a.config(index.Config.file())
		if err != nil {
			return nil, err
		}
		for _, l := range index.Layers {
			if !a.names[l.file()] {
				return nil, fmt.Errorf("damaged archive: the layer %s of %s is missing", l.Digest, ref)
			}
		}
		f.ref = ref
		return []found{f}, nil
	}
	var all []found
	for _, m := range index.Manifests {
		if !m.isImage() || depth > 0 && !a.names[m.file()] {
			continue // an index may point to images that were not saved
		}
		named := ref
		if n := m.ref(); n != "" {
			named = n
		}
		more, err := a.layout(m.file(), named, depth+1)
		if err != nil {
			return nil, err
		}
		if all = append(all, more...); len(all) > maxEntries {
			return nil, fmt.Errorf("%w: it has more than %d", errNotImage, maxEntries)
		}
	}
	return all, nil
}

// isImage reports whether a descriptor points to an image or an index, not to a
// statement about one, as builders add.
func (d descriptor) isImage() bool {
	return d.Annotations["vnd.docker.reference.type"] == "" &&
		(d.Platform == nil || d.Platform.Architecture != "unknown")
}
