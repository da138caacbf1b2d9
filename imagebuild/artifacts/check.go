package artifacts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

// Check returns an error that names every requirement that the folder does not
// meet, and what to do about it: what is missing, what is of another version or
// architecture, and what is there twice.
func (s *Set) Check(requirements []Requirement) error {
	c := s.chooser()
	places := map[string]Item{}
	for _, i := range c.all(requirements) {
		it := s.Items[i]
		if other, ok := places[it.onCard()]; ok {
			c.wrong(fmt.Sprintf("%s and %s have the same name, and a node needs both: rename one of the two", other.Path, it.Path))
		}
		places[it.onCard()] = it
	}
	for _, r := range requirements {
		if i := c.choose(r); i >= 0 {
			if err := checkText(s.Items[i], r); err != nil {
				c.wrong(fmt.Sprintf("%v: replace it: %s", err, r.Remedy()))
			}
		}
	}
	c.checkPacking(requirements)
	var errs []error
	for _, p := range c.problems {
		errs = append(errs, errors.New(p))
	}
	return errors.Join(errs...)
}

// checkPacking notes archives that the nodes cannot unpack. k3s does that itself;
// gzip is in every base image.
func (c *chooser) checkPacking(requirements []Requirement) {
	_, zstd := c.set.installed["zstd"]
	k3s := slices.ContainsFunc(requirements, func(r Requirement) bool { return r.Name == "k3s" })
	if c.set.installed == nil || zstd || k3s {
		return
	}
	for _, i := range c.all(requirements) {
		if it := c.set.Items[i]; it.packing == "zstd" {
			c.wrong(fmt.Sprintf("%s: it is packed by zstd, which the base image does not have: pack it by gzip", it.Path))
		}
	}
}

// checkText looks for the version among the strings of a program that has no
// better statement of it.
func checkText(it Item, r Requirement) error {
	if it.Kind != Binary || it.Version != "" || it.Arch == "all" || r.Version == "" || r.AtLeast != "" || !printsVersion(r.Name) {
		return nil
	}
	f, err := os.Open(it.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	named, err := namesVersion(f, r.Version)
	if err == nil && !named {
		err = fmt.Errorf("it is not version %s, which is needed", r.Version)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", it.Path, err)
	}
	return nil
}

// Meeting returns the file that meets a requirement, if there is one.
func (s *Set) Meeting(r Requirement) (Item, bool) {
	i := s.chooser().choose(r)
	if i < 0 || checkText(s.Items[i], r) != nil {
		return Item{}, false
	}
	return s.Items[i], true
}

// ReadFile reads the file at path as the one that is to stand at rel in a folder,
// and returns an error unless it meets the requirement.
func ReadFile(ctx context.Context, path, rel string, r Requirement) (Item, error) {
	f, err := os.Open(path)
	if err != nil {
		return Item{}, err
	}
	defer f.Close()
	size, sum, err := hash(ctx, f)
	if err != nil {
		return Item{}, err
	}
	it, err := identify(ctx, f, size, rel)
	if err != nil {
		return Item{}, err
	}
	it.Path, it.Rel, it.Size, it.SHA256 = path, rel, size, sum
	if !it.gives(r) {
		return Item{}, fmt.Errorf("it is %s %s, not %s", it.Kind, it.Name, r)
	}
	if why := it.unfit(r); why != "" {
		return Item{}, errors.New(why)
	}
	return it, checkText(it, r)
}

// For returns the files that a node with the requirements gets: those that meet
// one, and the packages of the folder that those depend on. They are sorted by Rel.
func (s *Set) For(requirements []Requirement) []Item {
	var items []Item
	for _, i := range s.chooser().all(requirements) {
		items = append(items, s.Items[i])
	}
	return items
}

// Edits returns the edits that put the files that a node with the requirements
// gets below [OnCard], with their SHA256SUMS, sorted as a plan's. Nothing is read
// but what Open has.
func (s *Set) Edits(requirements []Requirement) []plan.Edit {
	const why = "artifacts"
	listed := Sums{}
	var edits []plan.Edit
	for _, it := range s.For(requirements) {
		mode := fs.FileMode(0o644)
		if it.Kind == Binary || it.Kind == CNIPlugin {
			mode = 0o755
		}
		listed[strings.TrimPrefix(it.onCard(), OnCard+"/")] = it.SHA256
		edits = append(edits, plan.Edit{
			Partition: plan.Root, Path: it.onCard(), Op: plan.Write, Mode: mode,
			Source: &plan.Source{Path: it.Path, Size: it.Size, SHA256: it.SHA256}, Why: why,
		})
	}
	if len(edits) == 0 {
		return nil
	}
	edits = append(edits, plan.Edit{
		Partition: plan.Root, Path: OnCard + "/" + SumsName, Op: plan.Write, Mode: 0o644,
		Content: listed.Format(), Why: why,
	})
	plan.Sort(edits)
	return edits
}
