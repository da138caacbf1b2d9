package plantest

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// Put writes a file with missing folders, 0644, owned by root, and returns f.
// It panics where it cannot: it is for fixtures.
func (f *FS) Put(name, content string) *FS { return f.PutMode(name, content, 0o644, 0, 0) }

// PutMode is Put with a mode and an owner.
func (f *FS) PutMode(name, content string, mode fs.FileMode, uid, gid int) *FS {
	d := f.mkdirs(path.Dir(name))
	d.kids[path.Base(name)] = &node{mode: mode, uid: uid, gid: gid, mtime: f.Clock, data: []byte(content), nlink: 1}
	return f
}

// PutDir makes a folder with its parents, 0755, and returns f.
func (f *FS) PutDir(name string, uid, gid int) *FS {
	d := f.mkdirs(name)
	d.uid, d.gid = uid, gid
	return f
}

// PutLink makes a symbolic link with missing folders and returns f.
func (f *FS) PutLink(name, target string) *FS {
	d := f.mkdirs(path.Dir(name))
	d.kids[path.Base(name)] = &node{mode: fs.ModeSymlink | 0o777, mtime: f.Clock, target: target, nlink: 1}
	return f
}

// SetTime sets the modification time of a path that exists, and returns f.
func (f *FS) SetTime(name string, t time.Time) *FS {
	if err := f.Chtimes(name, t, t, t); err != nil {
		panic(err)
	}
	return f
}

func (f *FS) mkdirs(name string) *node {
	if n, err := f.find("mkdir", name, true); err == nil {
		return n
	}
	d := f.mkdirs(path.Dir(name))
	n := &node{mode: fs.ModeDir | 0o755, mtime: f.Clock, kids: map[string]*node{}, nlink: 1}
	d.kids[path.Base(name)] = n
	return n
}

// Clone returns an independent copy; hard links are kept.
func (f *FS) Clone() *FS {
	seen := map[*node]*node{}
	c := *f
	c.Calls = nil
	c.root = f.root.clone(seen)
	return &c
}

func (n *node) clone(seen map[*node]*node) *node {
	if c, ok := seen[n]; ok {
		return c
	}
	c := *n
	c.data = slices.Clone(n.data)
	seen[n] = &c
	if n.kids != nil {
		c.kids = map[string]*node{}
		for k, kid := range n.kids {
			c.kids[k] = kid.clone(seen)
		}
	}
	return &c
}

// Dump describes every path in one line each, sorted, for comparison: type and
// mode, owner, name, content (or its hash) or target. Times are left out unless times is set,
// and then only those of files.
func (f *FS) Dump(times bool) string {
	var b strings.Builder
	dump(&b, "", f.root, times)
	return b.String()
}

func dump(b *strings.Builder, name string, n *node, times bool) {
	fmt.Fprintf(b, "%v %d:%d /%s", n.mode, n.uid, n.gid, name)
	switch {
	case n.mode&fs.ModeSymlink != 0:
		fmt.Fprintf(b, " -> %s", n.target)
	case n.mode.IsRegular():
		if len(n.data) <= 256 {
			fmt.Fprintf(b, " %q", n.data)
		} else {
			fmt.Fprintf(b, " %d bytes, sha256 %x", len(n.data), sha256.Sum256(n.data))
		}
		if times {
			fmt.Fprintf(b, " %d", n.mtime.Unix())
		}
	}
	b.WriteByte('\n')
	for _, k := range slices.Sorted(maps.Keys(n.kids)) {
		dump(b, strings.TrimPrefix(name+"/"+k, "/"), n.kids[k], times)
	}
}
