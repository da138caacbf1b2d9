package raspios

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

const (
	maxHops = 40       // symbolic links on one path, as in Linux
	maxRead = 16 << 20 // bytes of a file that is read to be edited
)

// draft is an image as it will be: its base with the edits made so far. Each
// concern sees what the ones before it decided, and no path gets two edits.
//
// Paths are those of the partition. Links in parents are followed here, so that
// one file has one path: on an image with /lib → usr/lib, an edit of lib/x
// becomes one of usr/lib/x.
type draft struct {
	base  map[plan.Partition]fs.FS
	edits map[plan.Partition]map[string]plan.Edit
	// full counts, for each folder, the edits that leave something below it.
	full    map[plan.Partition]map[string]int
	renames []plan.Edit
}

func newDraft(boot, root fs.FS) *draft {
	return &draft{
		base:  map[plan.Partition]fs.FS{plan.Boot: boot, plan.Root: root},
		edits: map[plan.Partition]map[string]plan.Edit{plan.Boot: {}, plan.Root: {}},
		full:  map[plan.Partition]map[string]int{plan.Boot: {}, plan.Root: {}},
	}
}

// set keeps an edit under its key, in place of an earlier one.
func (d *draft) set(e plan.Edit) {
	k := key(e.Partition, e.Path)
	d.unset(e.Partition, k)
	d.edits[e.Partition][k] = e
	d.count(e, k, 1)
}

// unset forgets the edit under a key.
func (d *draft) unset(p plan.Partition, k string) {
	if e, ok := d.edits[p][k]; ok {
		delete(d.edits[p], k)
		d.count(e, k, -1)
	}
}

func (d *draft) count(e plan.Edit, k string, n int) {
	if e.Op == plan.Remove {
		return
	}
	for dir := path.Dir(k); dir != "."; dir = path.Dir(dir) {
		d.full[e.Partition][dir] += n
	}
	if e.Op == plan.Rename {
		d.renames = slices.DeleteFunc(d.renames, func(r plan.Edit) bool { return r.Partition == e.Partition && r.Path == e.Path })
		if n > 0 {
			d.renames = append(d.renames, e)
		}
	}
}

type kind int

const (
	isNothing kind = iota
	isFile
	isDir
	isLink
	isSpecial
)

// entry is what is at a path.
type entry struct {
	kind   kind
	target string      // of a link
	edit   *plan.Edit  // set if an edit put it there
	base   string      // else its path in the base, which a rename may have changed
	info   fs.FileInfo // of the base's file
}

// key is how a path is kept: FAT takes names that differ in case for the same.
func key(p plan.Partition, name string) string {
	if p == plan.Boot {
		return strings.ToLower(name)
	}
	return name
}

// lstat describes what is at a path without links in its parents.
func (d *draft) lstat(p plan.Partition, name string) (entry, error) {
	if name == "." {
		return entry{kind: isDir, base: "."}, nil
	}
	edits := d.edits[p]
	k := key(p, name)
	if e, ok := edits[k]; ok {
		switch e.Op {
		case plan.Write:
			return entry{kind: isFile, edit: &e}, nil
		case plan.Mkdir:
			return entry{kind: isDir, edit: &e}, nil
		case plan.Symlink:
			return entry{kind: isLink, target: e.Target, edit: &e}, nil
		}
	}
	removed := d.removed(p, k)
	if d.full[p][k] > 0 {
		return d.dirOrBase(p, name, removed)
	}
	if removed {
		return entry{}, nil
	}
	return d.lstatBase(p, name)
}

// removed reports whether an edit removes what the base has at a key, or a folder
// that it is in.
func (d *draft) removed(p plan.Partition, k string) bool {
	for ; k != "."; k = path.Dir(k) {
		if d.edits[p][k].Op == plan.Remove {
			return true
		}
	}
	return false
}

// dirOrBase describes a path that edits will put something below: what the base
// has there if it is a folder or a link to one, else a new folder.
func (d *draft) dirOrBase(p plan.Partition, name string, removed bool) (entry, error) {
	if !removed {
		if e, err := d.lstatBase(p, name); err != nil || e.kind != isNothing {
			return e, err
		}
	}
	return entry{kind: isDir}, nil
}

func (d *draft) lstatBase(p plan.Partition, name string) (entry, error) {
	for _, e := range d.renames {
		if e.Partition != p {
			continue
		}
		if name == e.From || strings.HasPrefix(name, e.From+"/") {
			return entry{}, nil
		}
		if rest, ok := strings.CutPrefix(name, e.Path); ok && (rest == "" || rest[0] == '/') {
			name = e.From + rest
			break
		}
	}
	base := d.base[p]
	var info fs.FileInfo
	var err error
	lfs, links := base.(fs.ReadLinkFS)
	if links {
		info, err = lfs.Lstat(name)
	} else {
		info, err = fs.Stat(base, name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return entry{}, nil
	}
	if err != nil {
		return entry{}, fmt.Errorf("%s partition: %w", p, err)
	}
	e := entry{base: name, info: info, kind: isSpecial}
	switch {
	case info.IsDir():
		e.kind = isDir
	case info.Mode().IsRegular():
		e.kind = isFile
	case info.Mode()&fs.ModeSymlink != 0:
		e.kind = isLink
		if links {
			e.target, err = lfs.ReadLink(name)
		}
	}
	return e, err
}

// resolve follows the links of a path, the last one only if follow is set, and
// returns the path without links and what is there. Links never lead out of the
// partition: they are taken as the running system takes them.
func (d *draft) resolve(p plan.Partition, name string, follow bool) (string, entry, error) {
	if !fs.ValidPath(name) {
		return "", entry{}, fmt.Errorf("path %q is not clean", name)
	}
	cur, e := ".", entry{kind: isDir, base: "."}
	todo, hops := strings.Split(name, "/"), 0
	for len(todo) > 0 {
		elem := todo[0]
		todo = todo[1:]
		switch elem {
		case "", ".":
			continue
		case "..":
			cur, e = path.Dir(cur), entry{kind: isDir}
			continue
		}
		if e.kind != isDir && e.kind != isNothing {
			return "", entry{}, &fs.PathError{Op: "resolve", Path: name, Err: fmt.Errorf("/%s is no folder", cur)}
		}
		next := path.Join(cur, elem)
		var err error
		if e.kind == isNothing {
			cur = next
			continue
		}
		if e, err = d.lstat(p, next); err != nil {
			return "", entry{}, err
		}
		if e.kind == isLink && (len(todo) > 0 || follow) {
			if hops++; hops > maxHops {
				return "", entry{}, &fs.PathError{Op: "resolve", Path: name, Err: errors.New("too many symbolic links")}
			}
			if path.IsAbs(e.target) {
				cur = "."
			}
			todo = append(strings.Split(e.target, "/"), todo...)
			e = entry{kind: isDir}
			continue
		}
		cur = next
	}
	if cur == "." || e.kind == isDir && e.info == nil && e.edit == nil {
		var err error
		if e, err = d.lstat(p, cur); err != nil {
			return "", entry{}, err
		}
	}
	return cur, e, nil
}

// open opens what a path leads to.
func (d *draft) open(p plan.Partition, name string) (fs.File, error) {
	_, e, err := d.resolve(p, name, true)
	if err != nil {
		return nil, err
	}
	if e.kind == isNothing || e.edit != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return d.base[p].Open(e.base)
}

// read returns the content of the file that a path leads to.
func (d *draft) read(p plan.Partition, name string) ([]byte, error) {
	_, e, err := d.resolve(p, name, true)
	if err != nil {
		return nil, err
	}
	switch {
	case e.kind == isNothing:
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	case e.kind != isFile:
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is no regular file")}
	case e.edit != nil && e.edit.Source != nil:
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is too large to be edited")}
	case e.edit != nil:
		return e.edit.Content, nil
	case e.info.Size() > maxRead:
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is too large to be edited")}
	}
	f, err := d.base[p].Open(e.base)
	if err != nil {
		return nil, fmt.Errorf("%s partition: %w", p, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRead+1))
	if err != nil {
		return nil, fmt.Errorf("%s partition: /%s: %w", p, name, err)
	}
	return b, nil
}

// exists reports whether there is something at a path; a link counts as such.
func (d *draft) exists(p plan.Partition, name string) bool {
	_, e, err := d.resolve(p, name, false)
	return err == nil && e.kind != isNothing
}

// readDir returns the names in a folder, sorted.
func (d *draft) readDir(p plan.Partition, dir string) ([]string, error) {
	canon, e, err := d.resolve(p, dir, true)
	if err != nil {
		return nil, err
	}
	if e.kind == isNothing {
		return nil, &fs.PathError{Op: "readdir", Path: dir, Err: fs.ErrNotExist}
	}
	names := map[string]bool{}
	base := e.base
	if e.edit != nil && !d.removed(p, key(p, canon)) { // the base may have the folder as well, and what is in it stays
		at, err := d.lstatBase(p, canon)
		if err != nil {
			return nil, err
		}
		if at.kind == isDir {
			base = at.base
		}
	}
	if base != "" {
		list, err := fs.ReadDir(d.base[p], base)
		if err != nil {
			return nil, fmt.Errorf("%s partition: %w", p, err)
		}
		for _, l := range list {
			names[l.Name()] = true
		}
	}
	for _, e := range d.edits[p] {
		if rest, ok := strings.CutPrefix(e.Path, canon+"/"); ok {
			first, _, _ := strings.Cut(rest, "/")
			names[first] = true
		}
	}
	out := slices.Sorted(maps.Keys(names))
	return slices.DeleteFunc(out, func(n string) bool { return !d.exists(p, path.Join(canon, n)) }), nil
}

// put adds an edit, which replaces an earlier one of the same path. Links in the
// path's parents are resolved.
func (d *draft) put(e plan.Edit) error {
	dir, de, err := d.resolve(e.Partition, path.Dir(e.Path), true)
	if err != nil {
		return err
	}
	if de.kind != isDir && de.kind != isNothing {
		return fmt.Errorf("/%s: /%s is no folder", e.Path, dir)
	}
	e.Path = path.Join(dir, path.Base(e.Path))
	if old, ok := d.edits[e.Partition][key(e.Partition, e.Path)]; ok && old.Op == plan.Remove {
		// A path has one edit, which cannot both remove a folder and put something
		// in its place, nor put a folder in the place of something else.
		at, err := d.lstatBase(e.Partition, e.Path)
		if err != nil {
			return err
		}
		if at.kind == isDir || e.Op == plan.Mkdir && at.kind != isNothing {
			return fmt.Errorf("/%s: a folder and something else cannot replace each other", e.Path)
		}
	}
	d.set(e)
	return nil
}

// drop makes the path be nothing: pending edits at and below it go, and what the
// base has there is removed. It reports whether there was anything.
func (d *draft) drop(p plan.Partition, name, why string) (bool, error) {
	canon, e, err := d.resolve(p, name, false)
	if err != nil || e.kind == isNothing {
		return false, err
	}
	for _, r := range d.renames {
		if r.Partition == p && (r.Path == canon || strings.HasPrefix(r.Path, canon+"/")) {
			return false, fmt.Errorf("/%s: cannot be removed, since /%s is renamed to /%s", canon, r.From, r.Path)
		}
	}
	edits := d.edits[p]
	k := key(p, canon)
	for other := range edits {
		if other == k || strings.HasPrefix(other, k+"/") {
			d.unset(p, other)
		}
	}
	inBase, err := d.lstat(p, canon)
	if err != nil || inBase.kind == isNothing {
		return true, err
	}
	d.set(plan.Edit{Partition: p, Path: canon, Op: plan.Remove, Why: why})
	return true, nil
}

// list returns the edits in the order of a plan.
func (d *draft) list() []plan.Edit {
	var out []plan.Edit
	for _, m := range d.edits {
		for _, e := range m {
			out = append(out, e)
		}
	}
	plan.Sort(out)
	return out
}

const unitDir = "etc/systemd/system"

// unit returns the path of a unit's file, "" if there is none.
func (d *draft) unit(name string) string {
	for _, dir := range []string{"lib/systemd/system", "usr/lib/systemd/system", unitDir} {
		file := dir + "/" + name
		if _, e, err := d.resolve(plan.Root, file, false); err == nil && e.kind != isNothing {
			if e.kind != isLink || e.target != "/dev/null" {
				return file
			}
		}
	}
	return ""
}

// masked reports whether a unit is masked.
func (d *draft) masked(name string) bool {
	_, e, err := d.resolve(plan.Root, unitDir+"/"+name, false)
	return err == nil && e.kind == isLink && e.target == "/dev/null"
}

// enabled reports whether some target wants the unit.
func (d *draft) enabled(name string) bool {
	if d.masked(name) {
		return false
	}
	return len(d.wants(name)) > 0
}

// wants returns the links by which targets want the unit.
func (d *draft) wants(name string) []string {
	dirs, err := d.readDir(plan.Root, unitDir)
	if err != nil {
		return nil
	}
	var out []string
	for _, dir := range dirs {
		if link := unitDir + "/" + dir + "/" + name; strings.HasSuffix(dir, ".wants") && d.exists(plan.Root, link) {
			out = append(out, link)
		}
	}
	return out
}
