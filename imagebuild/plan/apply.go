package plan

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// copyBuffer is how much of a Source is held in memory at once.
const copyBuffer = 256 << 10

// Error says which edit could not be applied, or is not in the image.
type Error struct {
	Edit Edit
	Err  error
}

// Error names operation, partition and path before the cause.
func (e *Error) Error() string { return fmt.Sprintf("%v: %v", e.Edit, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Apply carries out the edits: on boot those of the boot partition, on root
// those of the root partition. Renames come first, then removals, the deepest
// first, then folders, then the rest by path, whatever the order of edits.
// Missing folders on the way to a path are made 0755, owned by root.
//
// An existing regular file keeps its inode, and with it its extended attributes,
// unless it has other names (hard links), which must not change with it. A
// symbolic link is replaced. A folder is never replaced by a file or link, nor a
// device by anything: those are errors.
//
// Apply stops at the first error, an [*Error], and does not undo what it did: the
// image is then of no use.
func Apply(ctx context.Context, edits []Edit, boot, root Target) error {
	if err := Validate(edits); err != nil {
		return err
	}
	for _, e := range steps(edits) {
		if err := ctx.Err(); err != nil {
			return err
		}
		a, err := newApplier(e.Partition, boot, root)
		if err == nil {
			err = a.apply(ctx, e)
		}
		if err != nil {
			return &Error{e, err}
		}
	}
	return nil
}

// steps returns the edits in the order in which they are carried out.
func steps(edits []Edit) []Edit {
	out := slices.Clone(edits)
	rank := map[Op]int{Rename: 0, Remove: 1, Mkdir: 2, Write: 3, Symlink: 3}
	slices.SortStableFunc(out, func(a, b Edit) int {
		if c := rank[a.Op] - rank[b.Op]; c != 0 {
			return c
		}
		if a.Op == Remove {
			a, b = b, a // what is below comes first
		}
		return compare(a, b)
	})
	return out
}

type applier struct {
	Target
	posix PosixTarget // nil on FAT
}

func newApplier(p Partition, boot, root Target) (applier, error) {
	t := boot
	if p == Root {
		t = root
	}
	if t == nil {
		return applier{}, fmt.Errorf("there is no %s partition to edit", p)
	}
	a := applier{t, posix(t, p)}
	if p == Root && a.posix == nil {
		return applier{}, fmt.Errorf("the root file system (%T) has no owners, modes and links", t)
	}
	return a, nil
}

func (a applier) apply(ctx context.Context, e Edit) error {
	switch e.Op {
	case Write:
		return a.write(ctx, e)
	case Mkdir:
		return a.mkdir(e)
	case Symlink:
		return a.symlink(e)
	case Remove:
		return a.removeAll(ctx, e.Path)
	case Rename:
		return a.rename(e)
	}
	return fmt.Errorf("unknown operation") // Validate has seen to it
}

// clear makes room for a file or link: it removes a link, and with all=true a
// regular file as well.
func (a applier) clear(path string, all bool) error {
	info, err := a.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a.parents(path)
	}
	if err != nil {
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
	case info.Mode().IsRegular():
		if !all && links(info) <= 1 {
			return nil
		}
	case info.IsDir():
		return errors.New("there is a folder at this path, which is not replaced; remove it, or choose another path")
	default:
		return fmt.Errorf("there is a special file (%v) at this path, which is not replaced; remove it, or choose another path", info.Mode().Type())
	}
	return a.Remove(path)
}

// lookup describes what is at the path; nil without an error if there is nothing,
// be it that the folder is missing or that it is no folder.
func (a applier) lookup(path string) (fs.FileInfo, error) {
	info, err := a.Lstat(path)
	if err == nil {
		return info, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for dir := parent(path); dir != ""; dir = parent(dir) {
		if info, derr := a.Stat(dir); derr == nil {
			if !info.IsDir() {
				return nil, nil
			}
			break
		}
	}
	return nil, err
}

func (a applier) write(ctx context.Context, e Edit) error {
	if err := a.clear(e.Path, false); err != nil {
		return err
	}
	f, err := a.OpenFile(e.Path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	if e.Source == nil {
		err = writeAll(f, e.Content)
	} else {
		err = copySource(ctx, f, e.Source)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return a.attributes(e)
}

func writeAll(w io.Writer, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// copySource streams a file of the host and checks that it is still the one
// that was planned.
func copySource(ctx context.Context, w io.Writer, s *Source) error {
	f, err := os.Open(s.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	buf := make([]byte, copyBuffer)
	var size int64
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(buf)
		h.Write(buf[:n])
		size += int64(n)
		if size > s.Size {
			break
		}
		if werr := writeAll(w, buf[:n]); werr != nil {
			return werr
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if size != s.Size || [32]byte(h.Sum(nil)) != s.SHA256 {
		return fmt.Errorf("%s has changed since the plan was made; build again", s.Path)
	}
	return nil
}

func (a applier) mkdir(e Edit) error {
	info, err := a.Lstat(e.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := a.parents(e.Path); err != nil {
			return err
		}
		if err := a.Mkdir(e.Path); err != nil {
			return err
		}
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("there is something else at this path (%v), which is not replaced by a folder", info.Mode().Type())
	}
	return a.attributes(e)
}

func (a applier) symlink(e Edit) error {
	if info, err := a.Lstat(e.Path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if target, err := a.posix.ReadLink(e.Path); err == nil && target == e.Target {
			return a.posix.Lchown(e.Path, e.UID, e.GID)
		}
	}
	if err := a.clear(e.Path, true); err != nil {
		return err
	}
	if err := a.posix.Symlink(e.Target, e.Path); err != nil {
		return err
	}
	return a.posix.Lchown(e.Path, e.UID, e.GID)
}

// removeAll removes what is at the path, and all that is below it.
func (a applier) removeAll(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := a.lookup(path)
	if info == nil {
		return err
	}
	if info.IsDir() {
		entries, err := a.ReadDir(path)
		if err != nil {
			return err
		}
		for _, d := range entries {
			if d.Name() == "." || d.Name() == ".." {
				continue
			}
			if err := a.removeAll(ctx, path+"/"+d.Name()); err != nil {
				return fmt.Errorf("/%s/%s: %w", path, d.Name(), err)
			}
		}
	}
	return a.Remove(path)
}

func (a applier) rename(e Edit) error {
	from, err := a.lookup(e.From)
	if err != nil {
		return err
	}
	to, err := a.lookup(e.Path)
	switch {
	case err != nil:
		return err
	case from == nil && to == nil:
		return fmt.Errorf("/%s: %w", e.From, fs.ErrNotExist)
	case from == nil:
		return nil // it was renamed before
	case to != nil:
		return errors.New("there is something at the new path already, which is not replaced")
	}
	if err := a.parents(e.Path); err != nil {
		return err
	}
	return a.Rename(e.From, e.Path)
}

// parents makes the folders that lead to path.
func (a applier) parents(path string) error {
	dir := parent(path)
	if dir == "" {
		return nil
	}
	info, err := a.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("/%s is not a folder", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if _, err := a.Lstat(dir); err == nil {
		return fmt.Errorf("/%s is a symbolic link that leads nowhere", dir)
	}
	if err := a.parents(dir); err != nil {
		return err
	}
	if err := a.Mkdir(dir); err != nil {
		return fmt.Errorf("/%s: %w", dir, err)
	}
	return a.attributes(Edit{Path: dir, Mode: 0o755})
}

// attributes sets owner, mode and time of a file or folder. The owner comes
// first, since a change of owner takes setuid and setgid away.
func (a applier) attributes(e Edit) error {
	if a.posix != nil {
		if err := a.posix.Lchown(e.Path, e.UID, e.GID); err != nil {
			return err
		}
		if err := a.posix.Chmod(e.Path, e.Mode); err != nil {
			return err
		}
	}
	if e.Time.IsZero() {
		return nil
	}
	return a.Chtimes(e.Path, e.Time, e.Time, e.Time)
}
