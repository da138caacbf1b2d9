package imagebuild

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/piimg/piimg/imagebuild/bmap"
	"github.com/piimg/piimg/imagebuild/manifest"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/sink"
)

// VerifyReport says what is wrong with a folder that a build has made. Its JSON form
// is stable; fields may be added.
type VerifyReport struct {
	Dir string `json:"dir"`
	// Files is how many files were compared with their checksums, Images in how many
	// of them the file systems were checked and the edits found.
	Files    int       `json:"files"`
	Images   int       `json:"images"`
	Problems []Problem `json:"problems"`
}

// Problem is one thing that is wrong with a file of a folder.
type Problem struct {
	File   string `json:"file"` // its name
	Detail string `json:"detail"`
}

func (p Problem) String() string { return printable(p.File) + ": " + p.Detail }

// Clean reports whether nothing is wrong.
func (r *VerifyReport) Clean() bool { return len(r.Problems) == 0 }

// Verify compares a folder that [Build] has made with what it says of itself: every
// file with SHA256SUMS; every image, packed and unpacked, with manifest.json, and with
// its block map; and in every image it checks the file systems as [Check] does and
// finds every edit that the manifest names: content, mode, owner, target, absence. Of
// secret content it is found that it is there. An image that the manifest does not
// have is a problem, too.
//
// What is wrong is in the report. The error says that the folder cannot be read.
func Verify(ctx context.Context, dir string, o Options) (*VerifyReport, error) {
	o = o.withDefaults()
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		if err == nil {
			err = fmt.Errorf("%s is no folder", dir)
		}
		return nil, KindOutput.as(fmt.Errorf("cannot verify: %w; name the folder of a build", err))
	}
	v := &verifier{dir: dir, o: o, report: &VerifyReport{Dir: dir, Problems: []Problem{}}, sums: map[string]string{}, plain: map[string]bool{}, unread: map[string]bool{}}
	v.readSums()
	v.readManifest()
	v.strangers()
	if err := v.files(ctx); err != nil {
		return nil, err
	}
	if err := v.images(ctx); err != nil {
		return nil, err
	}
	slices.SortStableFunc(v.report.Problems, func(a, b Problem) int { return strings.Compare(a.File, b.File) })
	return v.report, nil
}

// verifier is a verification under way.
type verifier struct {
	dir      string
	o        Options
	manifest *manifest.Manifest // nil if there is none that can be read
	sums     map[string]string  // what SHA256SUMS says, by name
	plain    map[string]bool    // images without packing: their digest is that of the unpacked image

	mu         sync.Mutex // guards what follows
	report     *VerifyReport
	unread     map[string]bool // files of which it has been told that they cannot be read
	done, size int64           // bytes of images, for Progress
}

// problem notes what is wrong with a file.
func (v *verifier) problem(file, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Problems = append(v.report.Problems, Problem{file, fmt.Sprintf(format, args...)})
}

// cannotRead notes why a file cannot be read, the first time that it is tried.
func (v *verifier) cannotRead(name, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.unread[name] {
		v.unread[name] = true
		v.report.Problems = append(v.report.Problems, Problem{name, fmt.Sprintf(format, args...)})
	}
}

// read reads a small file of the folder. What stands in the way is a problem.
func (v *verifier) read(name string, most int64) []byte {
	path := filepath.Join(v.dir, name)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.cannotRead(name, "it is not there")
		return nil
	case err == nil && !info.Mode().IsRegular():
		v.cannotRead(name, "it is no regular file")
		return nil
	case err == nil && info.Size() > most:
		v.cannotRead(name, "it has %d bytes, and %d are the most that is read", info.Size(), most)
		return nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		v.cannotRead(name, "it cannot be read: %v", err)
		return nil
	}
	return content
}

// maxSums is the size in bytes of the largest SHA256SUMS that is read.
const maxSums = 64 << 20

func (v *verifier) readSums() {
	content := v.read(sink.SumsName, maxSums)
	if content == nil {
		return
	}
	sums, wrong := sink.ReadSums(content)
	for _, line := range wrong {
		v.problem(sink.SumsName, "%.100q is no line of sha256sum", line)
	}
	for _, s := range sums {
		switch {
		case s.Name != filepath.Base(s.Name) || s.Name == "." || s.Name == ".." || strings.ContainsFunc(s.Name, unicode.IsControl):
			v.problem(sink.SumsName, "%.100q is no name of a file in the folder", s.Name)
		case v.sums[s.Name] != "":
			v.problem(sink.SumsName, "it has %.100q twice", s.Name)
		case strings.ToLower(s.SHA256) != s.SHA256:
			v.problem(sink.SumsName, "the digest of %.100q is not in lower case", s.Name)
		default:
			v.sums[s.Name] = s.SHA256
		}
	}
}

// readManifest reads the manifest, and sees to it that all that it names has a
// checksum, and the same one.
func (v *verifier) readManifest() {
	content := v.read(manifest.Name, manifest.MaxFile)
	if content == nil {
		return
	}
	m, err := manifest.Decode(content)
	if err != nil {
		v.problem(manifest.Name, "%v", err)
		return
	}
	v.manifest = m
	v.listed(manifest.Name, "")
	for _, n := range m.Nodes {
		v.listed(n.Map.Name, n.Map.SHA256)
		for _, i := range n.Images {
			v.listed(i.Name, i.SHA256)
			v.size += n.Unpacked.Size
			if i.Format == FormatImg && i.Sum == n.Unpacked && v.sums[i.Name] == i.SHA256 {
				v.plain[i.Name] = true
			}
		}
	}
}

func (v *verifier) listed(name, sum string) {
	switch have := v.sums[name]; {
	case have == "":
		v.problem(name, "%s does not have it", sink.SumsName)
	case sum != "" && have != sum:
		v.problem(name, "%s has the sha256 %s, and %s has %s", sink.SumsName, have, manifest.Name, sum)
	}
}

// strangers finds the images in the folder that the manifest does not have: those of
// other inputs, to which nothing else in the folder has to belong; and the files that
// every build writes beside its images, where they have no checksum.
func (v *verifier) strangers() {
	if v.manifest == nil {
		return
	}
	images, err := strangers(v.dir, v.manifest)
	if err != nil {
		v.problem(".", "%v", err)
	}
	for _, name := range images {
		v.problem(name, "%s does not have it: it is of another build, and was not verified", manifest.Name)
	}
	for _, c := range companions(&nodes.Config{Kubernetes: &nodes.Kubernetes{}}) {
		if _, err := os.Lstat(filepath.Join(v.dir, c.name)); err == nil {
			v.listed(c.name, "")
		}
	}
}

// files compares all files with their checksums, and the manifest's with their sizes.
func (v *verifier) files(ctx context.Context) error {
	sizes := map[string]int64{}
	if v.manifest != nil {
		for _, n := range v.manifest.Nodes {
			sizes[n.Map.Name] = n.Map.Size
			for _, i := range n.Images {
				sizes[i.Name] = i.Size
			}
		}
	}
	names := make([]string, 0, len(v.sums))
	for name := range v.sums {
		names = append(names, name)
	}
	slices.Sort(names)
	v.report.Files = len(names)
	return parallel(v.o.Jobs, len(names), func(_, i int) error {
		name := names[i]
		path := filepath.Join(v.dir, name)
		want, known := sizes[name]
		if info, err := os.Stat(path); err == nil && known && info.Size() == want && v.plain[name] {
			return nil // it is read as an image, from end to end
		}
		sum, size, err := hashFile(ctx, path)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			v.cannotRead(name, "it is not there")
		case err != nil:
			v.cannotRead(name, "it cannot be read: %v", err)
		case known && size != want:
			v.problem(name, "it has %d bytes, and %d in %s", size, want, manifest.Name)
		case sum != v.sums[name]:
			v.problem(name, "its sha256 is %s, and %s in %s", sum, v.sums[name], sink.SumsName)
		}
		return nil
	})
}

// images verifies what is in the images, and their block maps.
func (v *verifier) images(ctx context.Context) error {
	if v.manifest == nil {
		return nil
	}
	nodes := v.manifest.Nodes
	for _, n := range nodes {
		v.report.Images += len(n.Images)
	}
	err := parallel(v.o.Jobs, len(nodes), func(_, i int) error {
		blocks := v.readMap(&nodes[i])
		for _, image := range nodes[i].Images {
			if v.isUnread(image.Name) {
				continue
			}
			one := imageVerifier{verifier: v, node: &nodes[i], name: image.Name, format: image.Format, blocks: blocks}
			if err := one.verify(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	v.progress(v.size - v.done)
	return err
}

// isUnread reports whether it has been told that a file cannot be read.
func (v *verifier) isUnread(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.unread[name]
}

// readMap reads a node's block map; nil if it is useless.
func (v *verifier) readMap(n *manifest.Node) *bmap.Map {
	content := v.read(n.Map.Name, bmap.MaxFile)
	if content == nil {
		return nil
	}
	m, err := bmap.Decode(content)
	switch {
	case err != nil:
		v.problem(n.Map.Name, "%v", err)
		return nil
	case m.Size != n.Unpacked.Size:
		v.problem(n.Map.Name, "it is of an image of %d bytes, and %s has %d", m.Size, n.Hostname, n.Unpacked.Size)
		return nil
	}
	return m
}

const stepVerify = "verifying images"

// progress tells of n more bytes.
func (v *verifier) progress(n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done += n
	v.o.Progress(stepVerify, v.done, v.size)
}
