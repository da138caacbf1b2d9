package plan

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Verify reads back what the edits should have left: content, mode, owner,
// target, time where the edit names one, and absence. On FAT, mode, owner and
// time do not count. It returns all differences, each an [*Error], joined.
func Verify(ctx context.Context, edits []Edit, boot, root Target) error {
	var errs []error
	err := verifyEach(ctx, edits, boot, root, func(err error) { errs = append(errs, err) })
	if err != nil {
		return err
	}
	return errors.Join(errs...)
}

// verifyEach tells of each difference. Its own error is the context's.
func verifyEach(ctx context.Context, edits []Edit, boot, root Target, tell func(error)) error {
	remade := remadeBy(edits)
	for _, e := range steps(edits) {
		if err := ctx.Err(); err != nil {
			return err
		}
		a, err := newApplier(e.Partition, boot, root)
		if err == nil {
			err = a.verify(ctx, e, remade)
		}
		if err != nil {
			tell(&Error{e, err})
		}
	}
	return nil
}

// remadeBy returns the paths that some of the edits remove, and says of each whether
// another edit leaves something below it, and so made it anew as a folder.
func remadeBy(edits []Edit) map[key]bool {
	remade := map[key]bool{}
	for _, e := range edits {
		if e.Op == Remove {
			remade[e.key()] = false
		}
	}
	for _, e := range edits {
		if e.Op == Remove || len(remade) == 0 {
			continue
		}
		for dir := parent(e.Path); dir != ""; dir = parent(dir) {
			k := keyOf(e.Partition, dir)
			if _, removed := remade[k]; removed {
				remade[k] = true
			}
		}
	}
	return remade
}

// verify finds what an edit left; remade says which removed paths are folders again.
func (a applier) verify(ctx context.Context, e Edit, remade map[key]bool) error {
	switch e.Op {
	case Remove:
		if remade[e.key()] {
			return nil // by another edit
		}
		return a.absent(e.Path)
	case Rename:
		if _, err := a.Lstat(e.Path); err != nil {
			return err
		}
		return a.absent(e.From)
	}
	info, err := a.Lstat(e.Path)
	if err != nil {
		return err
	}
	if a.posix != nil {
		if uid, gid, ok := Owner(info); ok && (uid != e.UID || gid != e.GID) {
			return fmt.Errorf("owner is %d:%d, not %d:%d", uid, gid, e.UID, e.GID)
		}
		if m := info.Mode() & modeBits; e.Op != Symlink && m != e.Mode {
			return fmt.Errorf("mode is %s, not %s", octal(m), octal(e.Mode))
		}
		if !e.Time.IsZero() && e.Op != Symlink && info.ModTime().Unix() != e.Time.Unix() {
			return fmt.Errorf("time is %v, not %v", info.ModTime().UTC(), e.Time.UTC())
		}
	}
	switch e.Op {
	case Mkdir:
		if !info.IsDir() {
			return fmt.Errorf("is no folder but %v", info.Mode().Type())
		}
	case Symlink:
		if info.Mode()&fs.ModeSymlink == 0 {
			return fmt.Errorf("is no symbolic link but %v", info.Mode().Type())
		}
		target, err := a.posix.ReadLink(e.Path)
		if err != nil {
			return err
		}
		if target != e.Target {
			return fmt.Errorf("leads to %q, not to %q", target, e.Target)
		}
	case Write:
		if !info.Mode().IsRegular() {
			return fmt.Errorf("is no regular file but %v", info.Mode().Type())
		}
		if e.unknown {
			return nil
		}
		return a.verifyContent(ctx, e, info.Size())
	}
	return nil
}

func (a applier) absent(path string) error {
	if info, err := a.lookup(path); info == nil {
		return err
	}
	return fmt.Errorf("/%s is still there", path)
}

// verifyContent compares sizes and hashes: content may be secret, so an error
// must not show any of it.
func (a applier) verifyContent(ctx context.Context, e Edit, size int64) error {
	if size != e.Size() {
		return fmt.Errorf("size is %d, not %d", size, e.Size())
	}
	f, err := a.Open(e.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.CopyBuffer(h, &contextReader{ctx, f}, make([]byte, copyBuffer))
	if err != nil {
		return err
	}
	if n != size || [32]byte(h.Sum(nil)) != e.SHA256() {
		return errors.New("content is not what was written")
	}
	return nil
}

// contextReader ends a long read when the context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
