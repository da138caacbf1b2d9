package plan

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxName   = 255  // bytes of a name on ext4, UTF-16 units on FAT
	maxPath   = 4095 // bytes of a path, as the kernel takes them
	maxTarget = 4095 // bytes of a symbolic link's target
	maxID     = 1<<32 - 2

	modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
)

// Validate checks the edits of one plan by themselves, before any image is
// looked at, and returns everything that is wrong with them, joined: unclean
// paths, names that FAT cannot hold or take apart, two edits of one path, an
// edit below another that leaves a file or link there, links on FAT, renames
// that get in the way of other edits.
func Validate(edits []Edit) error {
	var errs []error
	seen := map[key]int{} // by index
	for i, e := range edits {
		if len(e.Path) > maxPath || len(e.From) > maxPath {
			return errTooLong(e) // alone: what follows goes through all folders of each path
		}
		if err := e.validate(); err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", e, err))
			continue
		}
		if first, twice := seen[e.key()]; twice {
			o := edits[first]
			if o.Path != e.Path {
				errs = append(errs, fmt.Errorf("%v: /%s differs from it only in upper and lower case, which FAT does not tell apart", e, o.Path))
			} else {
				errs = append(errs, fmt.Errorf("%v: there is another edit of this path (%s)", e, o.Op))
			}
			continue
		}
		seen[e.key()] = i
	}
	for _, e := range edits {
		for dir := parent(e.Path); dir != ""; dir = parent(dir) {
			above, ok := seen[keyOf(e.Partition, dir)]
			if !ok {
				continue
			}
			o := edits[above]
			switch o.Op {
			case Write:
				errs = append(errs, fmt.Errorf("%v: /%s is made a file by another edit", e, o.Path))
			case Symlink:
				errs = append(errs, fmt.Errorf("%v: /%s is made a symbolic link by another edit; name the path that the link leads to", e, o.Path))
			}
		}
		if e.Op == Rename {
			errs = append(errs, validateRename(e, edits)...)
		}
	}
	return errors.Join(errs...)
}

// errTooLong is the error for an edit whose path is too long to be shown.
func errTooLong(e Edit) error {
	path := e.Path
	if len(e.From) > maxPath {
		path = e.From
	}
	return fmt.Errorf("the path %.40q... has %d bytes, more than the %d that a path can have", path, len(path), maxPath)
}

// validateRename refuses what would make the result of a rename depend on the
// order of the edits.
func validateRename(r Edit, edits []Edit) []error {
	var errs []error
	for _, e := range edits {
		switch {
		case e.Partition != r.Partition || e.Op == Rename && e.Path == r.Path:
		case within(e.Path, r.From):
			errs = append(errs, fmt.Errorf("%v: /%s is renamed to /%s; name the new path", e, r.From, r.Path))
		case e.Op == Remove && (below(r.From, e.Path) || below(r.Path, e.Path)):
			errs = append(errs, fmt.Errorf("%v: it holds what is renamed from /%s to /%s", e, r.From, r.Path))
		case e.Op == Rename && (within(e.From, r.From) || within(e.From, r.Path) || within(e.Path, r.Path)):
			errs = append(errs, fmt.Errorf("%v: it overlaps with the rename of /%s to /%s", e, r.From, r.Path))
		}
	}
	return errs
}

func (e Edit) validate() error {
	if e.Partition != Boot && e.Partition != Root {
		return fmt.Errorf("unknown partition %q", string(e.Partition))
	}
	if err := validatePath(e.Partition, e.Path); err != nil {
		return err
	}
	if e.Mode&^modeBits != 0 {
		return fmt.Errorf("mode %v holds more than permission bits", e.Mode)
	}
	if e.UID < 0 || e.GID < 0 || uint64(e.UID) > maxID || uint64(e.GID) > maxID {
		return fmt.Errorf("owner %d:%d is out of range", e.UID, e.GID)
	}
	if (e.From != "") != (e.Op == Rename) {
		return fmt.Errorf("from: set for a rename, and only then")
	}
	if (e.Target != "") != (e.Op == Symlink) {
		return fmt.Errorf("target: set for a symlink, and only then")
	}
	if e.Op != Write && (e.Content != nil || e.Source != nil) {
		return fmt.Errorf("content: set for a write, and only then")
	}
	switch e.Op {
	case Write:
		if e.Content != nil && e.Source != nil {
			return fmt.Errorf("content is given twice, in the plan and in %s", e.Source.Path)
		}
	case Mkdir, Remove:
	case Symlink:
		if e.Partition == Boot {
			return fmt.Errorf("FAT has no symbolic links")
		}
		if len(e.Target) > maxTarget || strings.ContainsRune(e.Target, 0) {
			return fmt.Errorf("the link's target has more than %d bytes or holds a NUL", maxTarget)
		}
	case Rename:
		if err := validatePath(e.Partition, e.From); err != nil {
			return fmt.Errorf("from: %w", err)
		}
		a, b := keyOf(e.Partition, e.From).path, keyOf(e.Partition, e.Path).path
		if within(a, b) || within(b, a) {
			return fmt.Errorf("a path cannot be moved to itself, above or below itself")
		}
	default:
		return fmt.Errorf("unknown operation %q", string(e.Op))
	}
	return nil
}

func validatePath(p Partition, path string) error {
	if !fs.ValidPath(path) || path == "." {
		return fmt.Errorf("path %q: must be relative to the partition, clean (no dots for components) and valid UTF-8", path)
	}
	for name := range strings.SplitSeq(path, "/") {
		if strings.ContainsRune(name, 0) {
			return fmt.Errorf("path %q: holds a NUL", path)
		}
		if p == Root {
			if len(name) > maxName {
				return fmt.Errorf("path %q: a name has more than %d bytes", path, maxName)
			}
			continue
		}
		if err := validateFATName(name); err != nil {
			return fmt.Errorf("path %q: %w", path, err)
		}
	}
	return nil
}

// validateFATName applies the rules for long names on FAT.
func validateFATName(name string) error {
	for _, r := range name {
		if r < 0x20 || r == 0x7f || r == utf8.RuneError || strings.ContainsRune(`"*/:<>?\|`, r) {
			return fmt.Errorf("%q cannot stand in a name on FAT", r)
		}
	}
	if strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") || strings.HasPrefix(name, " ") {
		return fmt.Errorf("a name on FAT cannot end in a dot, nor begin or end in a space")
	}
	if n := len(utf16.Encode([]rune(name))); n > maxName {
		return fmt.Errorf("a name has %d UTF-16 units, more than the %d that FAT holds", n, maxName)
	}
	return nil
}

// parent returns the folder of a path; "" for a path of one component.
func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return ""
}
