package artifacts

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

// lockVersion is that of the form of artifacts.lock.
const lockVersion = 1

// Lock says where files of a folder were fetched from, and what they were.
type Lock struct {
	Files []Locked // sorted by Rel
}

// Locked is one file that was fetched.
type Locked struct {
	Rel  string // its path in the folder, slash-separated
	From string // an https URL, or the reference of an image
	// Digest is that of what From gave, as "sha256:" and hexadecimal digits: of a
	// download, which may be an archive that holds the file, or of an image's manifest.
	Digest  string
	Kind    Kind
	Name    string // that of the requirement it was fetched for
	Version string
	Arch    string // dpkg's
	Size    int64
	SHA256  [32]byte // of the file
}

// File returns what is known of the file at rel.
func (l Lock) File(rel string) (Locked, bool) {
	i := slices.IndexFunc(l.Files, func(f Locked) bool { return f.Rel == rel })
	if i < 0 {
		return Locked{}, false
	}
	return l.Files[i], true
}

// Digest returns the locked digest of what from gives for an architecture; "" if
// it is not locked.
func (l Lock) Digest(from, arch string) string {
	for _, f := range l.Files {
		if f.From == from && f.Arch == arch {
			return f.Digest
		}
	}
	return ""
}

// With returns a lock that has the given files in the place of those with the
// same path.
func (l Lock) With(files ...Locked) Lock {
	var out Lock
	for _, f := range l.Files {
		if !slices.ContainsFunc(files, func(n Locked) bool { return n.Rel == f.Rel }) {
			out.Files = append(out.Files, f)
		}
	}
	out.Files = append(out.Files, files...)
	slices.SortFunc(out.Files, func(a, b Locked) int { return cmp.Compare(a.Rel, b.Rel) })
	return out
}

// Format writes the lock; the same lock gives the same bytes.
func (l Lock) Format() []byte {
	b := fmt.Appendf(nil, `# Made by piimg artifacts pull: where the files of this folder were fetched from.
# What is fetched again must be the same; piimg artifacts pull --update locks anew.
# Keep it under version control; the files themselves need not be.
version: %d
files:
`, lockVersion)
	if len(l.Files) == 0 {
		b = append(b[:len(b)-1], " []\n"...)
	}
	for _, f := range l.Files {
		b = fmt.Appendf(b, `  - path: %q
    from: %q
    digest: %q
    kind: %s
    name: %q
    version: %q
    arch: %q
    size: %d
    sha256: %q
`, f.Rel, f.From, f.Digest, f.Kind, f.Name, f.Version, f.Arch, f.Size, hex.EncodeToString(f.SHA256[:]))
	}
	return b
}

// lockDoc is artifacts.lock as it stands in the file.
type lockDoc struct {
	Version strictyaml.Value[int]                          `json:"version" jsonschema:"example=1"`
	Files   strictyaml.Value[[]strictyaml.Value[lockFile]] `json:"files"`
}

type lockFile struct {
	Path    strictyaml.Value[string] `json:"path"`
	From    strictyaml.Value[string] `json:"from"`
	Digest  strictyaml.Value[string] `json:"digest"`
	Kind    strictyaml.Value[string] `json:"kind"`
	Name    strictyaml.Value[string] `json:"name"`
	Version strictyaml.Value[string] `json:"version"`
	Arch    strictyaml.Value[string] `json:"arch"`
	Size    strictyaml.Value[int]    `json:"size"`
	SHA256  strictyaml.Value[string] `json:"sha256"`
}

// ParseLock reads an artifacts.lock. File is what problems call it; the error is
// a *strictyaml.Error with all of them.
func ParseLock(file string, text []byte) (Lock, error) {
	const hint = "restore the file, or remove it: piimg artifacts pull makes a new one"
	root, report := strictyaml.Parse(file, text)
	if root == nil {
		return Lock{}, report.Err()
	}
	var d lockDoc
	strictyaml.Decode(report, root, &d)
	if d.Version.Set() && d.Version.V != lockVersion {
		report.Add(d.Version.Span(), d.Version.Path, fmt.Sprintf("version %d is not known to this piimg, which reads version %d", d.Version.V, lockVersion),
			"use the piimg that made the file, or a newer one")
	}
	var l Lock
	seen := map[string]bool{}
	for _, v := range d.Files.V {
		f := v.V
		sum, sumOK := parseDigest("sha256:" + f.SHA256.V)
		_, digestOK := parseDigest(f.Digest.V)
		rel := f.Path.V
		switch {
		case report.Failed():
		case !f.SHA256.Set() || !sumOK:
			report.Add(f.SHA256.Span(), f.SHA256.Path, "the sha256 is not one of 64 hexadecimal digits", hint)
		case !digestOK:
			report.Add(f.Digest.Span(), f.Digest.Path, "the digest is not sha256: and 64 hexadecimal digits", hint)
		case path.Clean(rel) != rel || path.IsAbs(rel) || rel == "." || strings.HasPrefix(rel, ".."):
			report.Add(f.Path.Span(), f.Path.Path, "the path leads out of the folder", hint)
		case seen[rel]:
			report.Add(f.Path.Span(), f.Path.Path, "the file is listed twice", "remove one of the two")
		case f.Size.V < 0:
			report.Add(f.Size.Span(), f.Size.Path, "the size is negative", hint)
		}
		seen[rel] = true
		l.Files = append(l.Files, Locked{
			Rel: rel, From: f.From.V, Digest: f.Digest.V, Kind: Kind(f.Kind.V), Name: f.Name.V,
			Version: f.Version.V, Arch: f.Arch.V, Size: int64(f.Size.V), SHA256: sum,
		})
	}
	if err := report.Err(); err != nil {
		return Lock{}, err
	}
	slices.SortFunc(l.Files, func(a, b Locked) int { return cmp.Compare(a.Rel, b.Rel) })
	return l, nil
}

// parseDigest reads "sha256:" and 64 hexadecimal digits in lower case.
func parseDigest(s string) (sum [32]byte, ok bool) {
	digits, ok := strings.CutPrefix(s, "sha256:")
	if !ok || len(digits) != 64 || strings.ToLower(digits) != digits {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(digits))
	return sum, err == nil
}
