package plan

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
)

// String names the edit in one line without its content: "write root:/etc/hostname".
func (e Edit) String() string {
	switch e.Op {
	case Rename:
		return fmt.Sprintf("%s %s:/%s to /%s", e.Op, e.Partition, e.From, e.Path)
	default:
		return fmt.Sprintf("%s %s:/%s", e.Op, e.Partition, e.Path)
	}
}

// Format prints the same for every verb, so that no content is shown.
func (e Edit) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.String()) }

// Size returns the length in bytes of what a Write leaves; 0 for other edits.
func (e Edit) Size() int64 {
	switch {
	case e.Op != Write:
		return 0
	case e.Source != nil:
		return e.Source.Size
	default:
		return int64(len(e.Content))
	}
}

// SHA256 returns the hash of what a Write leaves.
func (e Edit) SHA256() [32]byte {
	if e.Source != nil {
		return e.Source.SHA256
	}
	return sha256.Sum256(e.Content)
}

// Same reports whether two edits leave the same behind and are equally secret.
// Why may differ, and so may the place that content comes from.
func (e Edit) Same(o Edit) bool {
	if e.Partition != o.Partition || e.Path != o.Path || e.Op != o.Op ||
		e.From != o.From || e.Target != o.Target || e.Mode != o.Mode ||
		e.UID != o.UID || e.GID != o.GID || e.Secret != o.Secret || !e.Time.Equal(o.Time) {
		return false
	}
	if e.Op != Write {
		return true
	}
	if e.Source == nil && o.Source == nil {
		return bytes.Equal(e.Content, o.Content)
	}
	return e.Size() == o.Size() && e.SHA256() == o.SHA256()
}

// key is what must be unique in a plan. FAT takes names that differ only in
// case for the same.
type key struct {
	partition Partition
	path      string
}

func (e Edit) key() key { return keyOf(e.Partition, e.Path) }

func keyOf(p Partition, path string) key {
	if p == Boot {
		path = strings.ToLower(path)
	}
	return key{p, path}
}

// compare orders edits by partition and path; directories come before what is
// below them.
func compare(a, b Edit) int {
	if c := cmp.Compare(a.Partition, b.Partition); c != 0 {
		return c
	}
	return comparePaths(a.Path, b.Path)
}

// comparePaths orders by component, so that "a/b" comes before "a-b".
func comparePaths(a, b string) int {
	for {
		x, restA, moreA := strings.Cut(a, "/")
		y, restB, moreB := strings.Cut(b, "/")
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
		switch {
		case !moreA && !moreB:
			return 0
		case !moreA:
			return -1
		case !moreB:
			return 1
		}
		a, b = restA, restB
	}
}

// Sort puts edits into the order of a plan: by partition, then by path.
func Sort(edits []Edit) { slices.SortStableFunc(edits, compare) }

// Merge joins lists of edits into one with at most one edit for each path, the
// last one, in the order of a plan.
func Merge(lists ...[]Edit) []Edit {
	last := map[key]Edit{}
	for _, l := range lists {
		for _, e := range l {
			last[e.key()] = e
		}
	}
	out := make([]Edit, 0, len(last))
	for _, e := range last {
		out = append(out, e)
	}
	Sort(out)
	return out
}

// below reports whether path lies strictly below dir.
func below(path, dir string) bool {
	return len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool { return path == dir || below(path, dir) }
