package raspios

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

// planOverlays lays the user's folders over the image: root/ over the root
// partition, boot/ over the FAT one.
//
// Git and most archives keep of a mode only whether a file can be executed, and
// a umask changes the rest. So files become 0755 or 0644, folders that are new
// 0755, all of root; below the user's home they are the user's. What must be
// private is made so: see private. Folders of the image keep their modes.
// Symbolic links are kept on the root partition, and never followed on the host.
func (b *builder) planOverlays() {
	for _, dir := range b.node.Overlays {
		if err := b.overlay(dir); err != nil {
			b.fail("overlays: %s: %w", dir, err)
		}
	}
}

func (b *builder) overlay(dir string) error {
	host, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer host.Close()
	// Package nodes refuses whatever else is in the folder.
	var errs []error
	found := false
	for _, part := range []struct{ name, mount string }{{"boot", b.facts.BootMount}, {"root", ""}} {
		switch info, err := host.Lstat(part.name); {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case !info.IsDir():
			return fmt.Errorf("%s: is no folder; an overlay has the folders root and boot", part.name)
		}
		found = true
		tree, err := host.OpenRoot(part.name)
		if err != nil {
			return err
		}
		errs = append(errs,
			b.layOver(overlayTree{fsys: tree.FS(), name: part.name, dir: dir, mount: part.mount, why: "overlay"}),
			tree.Close())
	}
	if !found {
		return errors.New("has neither a folder root nor a folder boot")
	}
	return errors.Join(errs...)
}

// embedded lays one of piimg's own trees over the root partition.
func (b *builder) embedded(fsys fs.FS, why string) {
	b.try(b.layOver(overlayTree{fsys: fsys, name: "root", why: why}))
}

// overlayTree is a tree of files and where it goes.
type overlayTree struct {
	fsys  fs.FS
	name  string // of the tree in its overlay: "root", "boot"
	dir   string // the overlay's folder on the host, "" for one that is embedded
	mount string // the path in the running system that it lies over; "" is the root
	why   string
}

// layOver makes the edits of a tree; all that cannot be done is returned together.
func (b *builder) layOver(o overlayTree) error {
	var errs []error
	err := fs.WalkDir(o.fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		if err := b.layOne(o, name, d); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path.Join(o.name, name), err))
			if d.IsDir() {
				return fs.SkipDir
			}
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

func (b *builder) layOne(o overlayTree, name string, d fs.DirEntry) error {
	at, err := b.place(path.Join("/", o.mount, name))
	if err != nil {
		return err
	}
	if d.IsDir() {
		return b.layDir(at, o.why)
	}
	e := plan.Edit{Partition: at.partition, Path: at.path, Why: o.why}
	if at.partition == plan.Root {
		e.UID, e.GID = b.overlayOwner(at.path)
	}
	switch {
	case d.Type()&fs.ModeSymlink != 0:
		if at.partition == plan.Boot {
			return errors.New("is a symbolic link, which the boot partition, a FAT, cannot hold; put a copy of the file there")
		}
		target, err := fs.ReadLink(o.fsys, name)
		if err != nil {
			return err
		}
		target = filepath.ToSlash(target)
		if !path.IsAbs(target) && climbs(path.Dir(at.path), target) {
			return fmt.Errorf("is a symbolic link to %s, which climbs out of the image; shorten it, or make it absolute", target)
		}
		e.Op, e.Target = plan.Symlink, target
	case d.Type().IsRegular():
		info, err := d.Info()
		if err != nil {
			return err
		}
		if o.mount == "" {
			b.otherBoot("/" + name)
		}
		e.Op = plan.Write
		host := filepath.Join(o.dir, o.name, filepath.FromSlash(name))
		open := func() (fs.File, error) { return o.fsys.Open(name) }
		if o.dir == "" { // embedded, and named only within its tree
			e.Content, e.Source, err = load(host, open)
		} else {
			e.Content, e.Source, err = b.Shared.load(host, open)
		}
		if err != nil {
			return err
		}
		if at.partition == plan.Root {
			e.Mode = 0o644
			if executable(info.Mode(), e.Content) || o.dir == "" && bytes.HasPrefix(e.Content, []byte("#!")) {
				e.Mode = 0o755
			}
			if b.private(at.path) {
				e.Mode &= 0o700
				e.Secret = true
			}
		}
	default:
		return fmt.Errorf("is no file, folder or symbolic link but %v; take it out of the overlay", d.Type())
	}
	return b.putUserFile(e)
}

// layDir makes a folder that the image does not have.
func (b *builder) layDir(at place, why string) error {
	canon, e, err := b.d.resolve(at.partition, at.path, true)
	switch {
	case err != nil:
		return err
	case e.kind == isDir:
		return nil
	case e.kind != isNothing:
		return errors.New("is a file in the image, which a folder cannot replace")
	}
	edit := plan.Edit{Partition: at.partition, Path: canon, Op: plan.Mkdir, Why: why}
	if at.partition == plan.Root {
		edit.Mode = 0o755
		if b.private(canon) {
			edit.Mode = 0o700
		}
		edit.UID, edit.GID = b.overlayOwner(canon)
	}
	return b.d.put(edit)
}

// overlayOwner returns who owns a file of an overlay.
func (b *builder) overlayOwner(name string) (uid, gid int) {
	if home := rooted(b.user.home); b.user.uid != 0 && home != "" && strings.HasPrefix(name, home+"/") {
		return b.user.uid, b.user.gid
	}
	return 0, 0
}

// private reports whether a path is one that its readers refuse, or that gives a
// secret away, if others may read it.
func (b *builder) private(name string) bool {
	return strings.HasPrefix(name, connections+"/") ||
		strings.HasPrefix(name, "etc/sudoers.d/") ||
		strings.HasSuffix(path.Dir("/"+name), "/.ssh") || strings.HasSuffix(name, "/.ssh") ||
		strings.HasPrefix(name, "etc/ssh/") && strings.HasSuffix(name, "_key")
}

// climbs reports whether a relative target leads above the root.
func climbs(dir, target string) bool {
	depth := 0
	if dir != "." {
		depth = strings.Count(dir, "/") + 1
	}
	for elem := range strings.SplitSeq(target, "/") {
		switch elem {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}
