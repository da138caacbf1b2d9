// Package manifest reads and writes manifest.json: what a build was made of and what
// it made, for programs, and for whoever wants to verify a folder of images later.
//
// A manifest depends on the build's inputs and nothing else: no clock, no path of the
// host, no order in which things happened to be done. Of content that is secret it
// holds the path only.
package manifest

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/piimg/piimg/imagebuild/plan"
)

// Name is the manifest's name in the folder of the images.
const Name = "manifest.json"

// Version is the version of the form that is written. Fields may be added within a
// version; none is taken away or changes what it means.
const Version = 1

// MaxFile is the size in bytes of the largest manifest that is read.
const MaxFile = 256 << 20

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of manifest.json.
func Schema() []byte { return bytes.Clone(schema) }

// Manifest is what manifest.json holds.
type Manifest struct {
	Schema int       `json:"schema" jsonschema:"enum=1" jsonschema_description:"the version of this form"`
	Piimg  string    `json:"piimg" jsonschema_description:"the version of piimg"`
	Base   Base      `json:"base"`
	Config NodesFile `json:"nodesFile"`
	Time   string    `json:"time" jsonschema:"format=date-time" jsonschema_description:"of everything that the build changed in the images"`
	// Edits are those that all nodes of the cluster share.
	Edits []plan.Record `json:"edits" jsonschema_description:"what was changed in the images of all nodes, by partition and path"`
	Nodes []Node        `json:"nodes" jsonschema_description:"by hostname"`
}

// Base is the base image.
type Base struct {
	Name         string `json:"name"`
	Release      string `json:"release" jsonschema_description:"the generation of Raspberry Pi OS: stretch to trixie"`
	Arch         string `json:"arch" jsonschema_description:"Debian's name of the architecture"`
	SHA256       string `json:"sha256" jsonschema:"pattern=^[0-9a-f]{64}$" jsonschema_description:"of the file as it is packed"`
	Size         int64  `json:"size" jsonschema:"minimum=1" jsonschema_description:"of the file as it is packed, in bytes"`
	UnpackedSize int64  `json:"unpackedSize" jsonschema:"minimum=1" jsonschema_description:"in bytes"`
}

// NodesFile is the nodes.yaml.
type NodesFile struct {
	SHA256 string `json:"sha256" jsonschema:"pattern=^[0-9a-f]{64}$"`
}

// Node is what was made for a node.
type Node struct {
	Hostname string `json:"hostname"`
	Role     string `json:"role" jsonschema:"enum=control-plane,enum=worker,enum=router,enum=plain"`
	// Unpacked is the image as it is on a card: the same in all formats.
	Unpacked Sum           `json:"unpacked" jsonschema_description:"the image as it is without packing, the same in all formats"`
	Images   []Image       `json:"images" jsonschema_description:"the files that hold it, by name"`
	Map      File          `json:"map" jsonschema_description:"its block map, for bmaptool"`
	Edits    []plan.Record `json:"edits" jsonschema_description:"what was changed in this node's image beside the edits of all nodes, by partition and path"`
}

// Sum is the size and the digest of some bytes.
type Sum struct {
	Size   int64  `json:"size" jsonschema:"minimum=1" jsonschema_description:"in bytes"`
	SHA256 string `json:"sha256" jsonschema:"pattern=^[0-9a-f]{64}$"`
}

// File is a file in the manifest's folder.
type File struct {
	Name string `json:"name"`
	Sum
}

// Image is a file with a node's image.
type Image struct {
	File
	Format string `json:"format" jsonschema_description:"img, img.xz or img.zst"`
}

// Encode returns the manifest as the content of manifest.json. It sorts what it holds.
func (m *Manifest) Encode() ([]byte, error) {
	slices.SortFunc(m.Nodes, func(a, b Node) int { return cmp.Compare(a.Hostname, b.Hostname) })
	for i := range m.Nodes {
		slices.SortFunc(m.Nodes[i].Images, func(a, b Image) int { return cmp.Compare(a.Name, b.Name) })
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("failed to write the manifest: %w", err)
	}
	return b.Bytes(), nil
}

// Decode reads the content of a manifest.json of this version, and checks that its
// names are names and its digests digests.
func Decode(content []byte) (*Manifest, error) {
	if len(content) > MaxFile {
		return nil, fmt.Errorf("not a manifest: %d bytes, and %d are the most that is read", len(content), MaxFile)
	}
	d := json.NewDecoder(bytes.NewReader(content))
	m := &Manifest{}
	err := d.Decode(m)
	var wrong *json.UnmarshalTypeError // the rest is decoded all the same
	if err != nil && !errors.As(err, &wrong) {
		return nil, fmt.Errorf("not a manifest: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("not a manifest: something stands behind its end")
	}
	if m.Schema > Version {
		return nil, fmt.Errorf("a manifest of version %d, and %d is what this piimg reads: use the piimg that made it, %.40q", m.Schema, Version, m.Piimg)
	}
	if wrong != nil {
		key := wrong.Field[strings.LastIndexByte(wrong.Field, '.')+1:] // before it are names of Go
		return nil, fmt.Errorf("not a manifest: before byte %d: %s cannot be of the type %s", wrong.Offset, cmp.Or(key, "the whole"), wrong.Value)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("not a sound manifest: %w", err)
	}
	return m, nil
}

func (m *Manifest) check() error {
	if m.Schema != Version {
		return fmt.Errorf("it has version %d", m.Schema)
	}
	if !isSHA256(m.Base.SHA256) || !isSHA256(m.Config.SHA256) {
		return errors.New("a sha256 of the inputs is none")
	}
	nodes, names := map[string]bool{}, map[string]bool{}
	for _, n := range m.Nodes {
		if n.Hostname == "" || nodes[n.Hostname] {
			return fmt.Errorf("a node without a hostname, or %.80q twice", n.Hostname)
		}
		nodes[n.Hostname] = true
		files := []File{n.Map}
		for _, i := range n.Images {
			files = append(files, i.File)
		}
		if len(n.Images) == 0 || n.Unpacked.Size <= 0 || !isSHA256(n.Unpacked.SHA256) {
			return fmt.Errorf("%.80s: no image", n.Hostname)
		}
		for _, f := range files {
			switch {
			case f.Name != filepath.Base(f.Name) || strings.ContainsAny(f.Name, "/\\\x00") || f.Name == "." || f.Name == ".." ||
				strings.ContainsFunc(f.Name, unicode.IsControl) || names[f.Name]: // which a terminal would obey
				return fmt.Errorf("%.80s: %.80q is no name of a file in its folder, or of two", n.Hostname, f.Name)
			case f.Size <= 0 || !isSHA256(f.SHA256):
				return fmt.Errorf("%.80s: %s has no size or no sha256", n.Hostname, f.Name)
			}
			names[f.Name] = true
		}
	}
	return nil
}

// isSHA256 reports whether s is a SHA-256 in lower-case hex.
func isSHA256(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 64 && strings.ToLower(s) == s
}

// Merge takes over from an earlier manifest what a build of some of the nodes has not
// made: the other nodes, and the files of other formats that hold the same bytes, as
// far as they are there. It does nothing, and reports false, if the earlier manifest
// is that of other inputs: another base, another nodes.yaml, another piimg.
func (m *Manifest) Merge(old *Manifest, there func(name string) bool) (bool, error) {
	same, err := m.sameInputs(old)
	if err != nil || !same {
		return false, err
	}
	have := map[string]int{}
	for i, n := range m.Nodes {
		have[n.Hostname] = i
	}
	for _, n := range old.Nodes {
		n.Images = slices.DeleteFunc(slices.Clone(n.Images), func(i Image) bool { return !there(i.Name) })
		i, made := have[n.Hostname]
		if !made {
			if len(n.Images) > 0 && there(n.Map.Name) {
				m.Nodes = append(m.Nodes, n)
			}
			continue
		}
		now := &m.Nodes[i]
		for _, image := range n.Images {
			again := slices.ContainsFunc(now.Images, func(i Image) bool { return i.Name == image.Name })
			if !again && n.Unpacked == now.Unpacked {
				now.Images = append(now.Images, image)
			}
		}
	}
	return true, nil
}

// sameInputs reports whether two manifests say the same but for their nodes.
func (m *Manifest) sameInputs(o *Manifest) (bool, error) {
	a, b := *m, *o
	a.Nodes, b.Nodes = nil, nil
	x, err := a.Encode()
	if err != nil {
		return false, err
	}
	y, err := b.Encode()
	return bytes.Equal(x, y), err
}
