package artifacts

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// chooser finds the items that meet requirements.
type chooser struct {
	set      *Set
	problems []string
	said     map[string]bool
}

func (s *Set) chooser() *chooser { return &chooser{set: s, said: map[string]bool{}} }

// wrong notes a problem once, however many nodes have it.
func (c *chooser) wrong(text string) {
	if !c.said[text] {
		c.said[text] = true
		c.problems = append(c.problems, text)
	}
}

// choose returns the index of the item that meets a requirement, or -1.
func (c *chooser) choose(r Requirement) int {
	var fit, other []int
	for i, it := range c.set.Items {
		switch {
		case !it.gives(r):
		case it.unfit(r) == "":
			fit = append(fit, i)
		default:
			other = append(other, i)
		}
	}
	if len(fit) > 0 {
		c.ambiguous(r, fit)
		return fit[0]
	}
	if r.Optional || c.set.OnBase(r) {
		return -1
	}
	for _, i := range other {
		it := c.set.Items[i]
		c.wrong(fmt.Sprintf("%s: %s: %s", it.Path, it.unfit(r), "replace it: "+r.Remedy()))
	}
	if len(other) == 0 {
		base := ""
		if v := c.set.installed[r.Name]; v != "" {
			base = fmt.Sprintf(" (that of the base image is version %s)", upstreamVersion(v))
		}
		c.wrong(fmt.Sprintf("%s: %s is missing%s: %s", c.set.Dir, r, base, r.Remedy()))
	}
	return -1
}

// Remedy says how one gets what is required.
func (r Requirement) Remedy() string {
	switch {
	case Upstream(r, "") != "":
		return "run piimg artifacts pull"
	case r.Kind == Image:
		return "save it into images, as docker save does"
	}
	return fmt.Sprintf("on a system of the base image's release, run apt-get download %s:%s", strings.Join(append([]string{r.Name}, r.Debs...), " or "), r.Arch)
}

// ambiguous notes a problem if several items meet a requirement, of which it
// matters which one is taken.
func (c *chooser) ambiguous(r Requirement, fit []int) {
	first := c.set.Items[fit[0]]
	for _, i := range fit[1:] {
		it := c.set.Items[i]
		ref, _ := FullName(r.Name)
		same := it.Kind == Image && first.Kind == Image && it.digests[ref] != "" && it.digests[ref] == first.digests[ref]
		if !same {
			c.wrong(fmt.Sprintf("%s and %s both give %s: remove one of the two", first.Path, it.Path, r))
		}
	}
}

// gives reports whether an item is what a requirement asks for by name, whatever
// its version and architecture.
func (it Item) gives(r Requirement) bool {
	switch it.Kind {
	case Deb:
		if r.Kind == Image {
			return false
		}
		return slices.Contains(r.Debs, it.Name) ||
			r.Kind != CNIPlugin && (it.Name == r.Name || it.provides(r.Name))
	case Image:
		if r.Kind != Image {
			return false
		}
		if r.Name == K3sImages {
			return it.ofK3s()
		}
		ref, err := FullName(r.Name)
		return err == nil && it.digests[ref] != ""
	}
	return it.Kind == r.Kind && it.Name == r.Name
}

// ofK3s reports whether an archive is the one that k3s is released with.
func (it Item) ofK3s() bool {
	return slices.ContainsFunc(it.Images, func(ref string) bool { return strings.Contains(ref, "/rancher/mirrored-pause:") })
}

// unfit says why an item does not do for a requirement that it gives by name;
// "" if it does.
func (it Item) unfit(r Requirement) string {
	if r.Arch != "" && it.Arch != r.Arch && it.Arch != "all" {
		return fmt.Sprintf("it is for %s, but the base image is for %s", it.Arch, r.Arch)
	}
	version := it.Version
	if it.Kind == Deb {
		version = upstreamVersion(version)
	}
	switch {
	case version == "": // it does not tell; see Check
	case r.AtLeast != "":
		if compareVersions(version, r.AtLeast) < 0 {
			return fmt.Sprintf("%s is version %s, but %s or later is needed", r.Name, version, r.AtLeast)
		}
	case r.Version != "" && (r.Kind != Image || r.Name == K3sImages):
		if version != r.Version {
			return fmt.Sprintf("%s is version %s, but %s is needed", r.Name, version, r.Version)
		}
	}
	return ""
}

// all returns the indexes of what meets the requirements, and of the packages
// that those depend on, sorted.
func (c *chooser) all(requirements []Requirement) []int {
	wanted := map[int]bool{}
	var queue []int
	add := func(i int) {
		if i >= 0 && !wanted[i] {
			wanted[i] = true
			queue = append(queue, i)
		}
	}
	for _, r := range requirements {
		add(c.choose(r))
	}
	for len(queue) > 0 {
		batch := queue
		queue = nil
		c.dependencies(batch, requirements[0].Arch, add)
	}
	out := make([]int, 0, len(wanted))
	for i := range c.set.Items {
		if wanted[i] {
			out = append(out, i)
		}
	}
	return out
}

// OnBase reports whether a package of the base image, see [Set.On], meets a
// requirement.
func (s *Set) OnBase(r Requirement) bool {
	for _, name := range append([]string{r.Name}, r.Debs...) {
		base := Item{Kind: Deb, Name: name, Arch: r.Arch}
		var there bool
		base.Version, there = s.installed[name]
		if there && base.gives(r) && base.unfit(r) == "" {
			return true
		}
	}
	return false
}

func (it Item) provides(name string) bool {
	_, ok := it.Provides[name]
	return ok
}

// onCard returns the path of an item in the root partition. There, the ending of
// its name says what it is, and how it is packed: that is what the node goes by.
func (it Item) onCard() string {
	base := path.Base(it.Rel)
	folder := map[Kind]string{Deb: "debs", Binary: "bin", CNIPlugin: "cni", Image: "images"}[it.Kind]
	switch it.Kind {
	case Deb:
		base = strings.TrimSuffix(base, ".deb") + ".deb"
	case Image:
		for _, ending := range []string{".zst", ".gz", ".tzst", ".tgz", ".tar"} {
			base = strings.TrimSuffix(base, ending)
		}
		base += map[string]string{"": ".tar", "gzip": ".tar.gz", "zstd": ".tar.zst"}[it.packing]
	}
	return path.Join(OnCard, folder, base)
}
