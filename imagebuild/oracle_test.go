package imagebuild

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/source"
)

// extract copies a partition of a raw image into a file of its own.
func extract(t testing.TB, image string, p disk.Partition) string {
	t.Helper()
	in, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.CreateTemp(t.TempDir(), "partition")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := out.Truncate(p.Size); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	zero := make([]byte, 1<<20)
	for off := int64(0); off < p.Size; off += int64(len(buf)) {
		n, err := in.ReadAt(buf[:min(int64(len(buf)), p.Size-off)], p.Start+off)
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if bytes.Equal(buf[:n], zero[:n]) {
			continue
		}
		if _, err := out.WriteAt(buf[:n], off); err != nil {
			t.Fatal(err)
		}
	}
	return out.Name()
}

// opened is an image, open for reading by piimg's own code.
type opened struct {
	parts partitions
	*filesystems
}

func open(t testing.TB, image string) opened {
	t.Helper()
	src, err := source.Open(t.Context(), image, source.Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l := layer.New(src, src.Size())
	t.Cleanup(func() { src.Close(); l.Close() })
	parts, err := locate(l)
	if err != nil {
		t.Fatal(err)
	}
	files, err := parts.open(l, true, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return opened{parts, files}
}

// checkFileSystems asks e2fsck and fsck.fat, and whether Check finds nothing either.
func checkFileSystems(t testing.TB, image string) {
	t.Helper()
	parts := open(t, image).parts
	var text strings.Builder
	if r, err := Check(context.Background(), image, Options{}); err != nil {
		t.Error(err)
	} else if err := r.WriteText(&text); err != nil || !r.Clean() {
		t.Errorf("%v\n%s", err, &text)
	}
	run(t, "e2fsck", "-fn", at(image, parts.root))
	run(t, "fsck.fat", "-n", extract(t, image, parts.boot))
}

// at names a partition within an image, for the programs of e2fsprogs.
func at(image string, p disk.Partition) string { return fmt.Sprintf("%s?offset=%d", image, p.Start) }

// trees are the contents of an image: of its partitions as piimg reads them, and
// of its root file system as debugfs does.
type trees struct {
	opened
	bootTree, rootTree, dumped map[string]string
}

func readTrees(t *testing.T, image string) trees {
	t.Helper()
	o := open(t, image)
	return trees{o, tree(t, o.boot), tree(t, o.root), dump(t, image, o.parts.root)}
}

// checkUntouched compares an image with its base: what no edit names, or has
// below it, must be as it was.
func checkUntouched(t *testing.T, base trees, image string, p plan.Plan) {
	t.Helper()
	is := readTrees(t, image)
	compareTrees(t, p.Node+" boot", base.bootTree, is.bootTree, named(t, p.Edits, plan.Boot, base.boot))
	touched := named(t, p.Edits, plan.Root, base.root)
	compareTrees(t, p.Node+" root", base.rootTree, is.rootTree, touched)
	compareTrees(t, p.Node+" root, by debugfs", base.dumped, is.dumped, touched)
}

// named returns a function that tells whether edits name a path, something above
// it that they move or remove, or something directly in it.
func named(t *testing.T, edits []plan.Edit, p plan.Partition, base fs.FS) func(string) bool {
	exact, whole := map[string]bool{}, []string{}
	add := func(name string) {
		exact[name] = true
		// Directories on the way may have been made, and the one that holds the
		// name has changed.
		for dir := path.Dir(name); ; dir = path.Dir(dir) {
			if _, err := fs.Stat(base, dir); err == nil {
				exact[dir] = true
				break
			}
			exact[dir] = true
		}
	}
	for _, e := range edits {
		if e.Partition != p {
			continue
		}
		add(resolveParent(t, base, e.Path))
		if e.Op == plan.Remove || e.Op == plan.Rename {
			whole = append(whole, e.Path)
		}
		if e.Op == plan.Rename {
			add(e.From)
			whole = append(whole, e.From)
		}
	}
	return func(name string) bool {
		if exact[name] {
			return true
		}
		for _, w := range whole {
			if strings.HasPrefix(name, w+"/") {
				return true
			}
		}
		return false
	}
}

// resolveParent follows the symbolic links among a path's parents.
func resolveParent(t *testing.T, base fs.FS, name string) string {
	t.Helper()
	dir := path.Dir(name)
	for range 10 {
		parts := strings.Split(dir, "/")
		changed := false
		for i := range parts {
			prefix := strings.Join(parts[:i+1], "/")
			target, err := fs.ReadLink(base, prefix)
			if err != nil {
				continue
			}
			if !path.IsAbs(target) {
				target = path.Join("/", path.Dir(prefix), target)
			}
			dir = path.Join(strings.TrimPrefix(target, "/"), strings.Join(parts[i+1:], "/"))
			changed = true
			break
		}
		if !changed {
			return path.Join(dir, path.Base(name))
		}
	}
	t.Fatalf("too many links in %s", name)
	return ""
}

// tree describes every path of a file system: what it is, and a hash of what is in it.
func tree(t *testing.T, f fs.FS) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(f, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := fs.Lstat(f, name)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%v %d %v", info.Mode(), info.Size(), info.ModTime().UTC())
		if st, ok := info.Sys().(*ext4.Stat); ok {
			what += fmt.Sprintf(" %d:%d inode %d, %d links, flags %x, %v", st.UID, st.GID, st.Ino, st.Nlink, st.Flags, st.Ctime.UTC())
		}
		switch {
		case info.Mode().IsRegular():
			b, err := fs.ReadFile(f, name)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %x", sha256.Sum256(b))
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := fs.ReadLink(f, name)
			if err != nil {
				return err
			}
			what += " -> " + target
		}
		all[name] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// dump lets debugfs copy the root file system out, and describes what came.
func dump(t *testing.T, image string, p disk.Partition) map[string]string {
	t.Helper()
	dir := t.TempDir()
	run(t, "debugfs", "-R", "rdump / "+dir, at(image, p))
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		switch {
		case d.Type().IsRegular():
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			all[rel] = fmt.Sprintf("%x", sha256.Sum256(b))
		case d.Type()&fs.ModeSymlink != 0:
			all[rel], err = os.Readlink(name)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func compareTrees(t *testing.T, what string, was, is map[string]string, named func(string) bool) {
	t.Helper()
	if len(was) < 10 {
		t.Errorf("%s: the base has only %d paths", what, len(was))
	}
	for name, old := range was {
		if now, ok := is[name]; !named(name) && now != old {
			t.Errorf("%s: %s was %q, is %q (there: %v), and no edit names it", what, name, old, now, ok)
		}
	}
	for name := range is {
		if _, ok := was[name]; !ok && !named(name) {
			t.Errorf("%s: %s is new, and no edit names it", what, name)
		}
	}
}
