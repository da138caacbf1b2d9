package artifacts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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
			c.checkText(s.Items[i], r)
		}
	}
	var errs []error
	for _, p := range c.problems {
		errs = append(errs, errors.New(p))
	}
	return errors.Join(errs...)
}

// checkText looks for the version among the strings of a program that has no
// better statement of it.
func (c *chooser) checkText(it Item, r Requirement) {
	if it.Kind != Binary || it.Version != "" || it.Arch == "all" || r.Version == "" || r.AtLeast != "" || !printsVersion(r.Name) {
		return
	}
	f, err := os.Open(it.Path)
	if err != nil {
		c.wrong(err.Error())
		return
	}
	defer f.Close()
	switch named, err := namesVersion(f, r.Version); {
	case err != nil:
		c.wrong(fmt.Sprintf("%s: %v", it.Path, err))
	case !named:
		c.wrong(fmt.Sprintf("%s: it is not version %s, which is needed: %s", it.Path, r.Version, remedy(r, "replace it")))
	}
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
	listed := sums{}
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
		Content: listed.format(), Why: why,
	})
	plan.Sort(edits)
	return edits
}
