package sink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/piimg/piimg/imagebuild/hostfile"
)

const (
	// stagePattern is the form of the names of stages, as tempPattern is of files'.
	stagePattern = ".piimg-*.build"
	stageLock    = "lock"
)

// Stage is a folder inside the output folder, in which finished files wait without
// being open until all of a build are there. It is locked as long as its build is
// under way, so that [RemoveStale] can tell it from one whose build has died.
type Stage struct {
	out, dir string
	lock     *os.File
}

// NewStage makes a stage in the output folder. Close removes it.
func NewStage(out string) (*Stage, error) {
	for {
		dir, err := os.MkdirTemp(out, stagePattern)
		if err != nil {
			return nil, fmt.Errorf("failed to create a temporary folder in %s: %w", out, err)
		}
		f, err := os.OpenFile(filepath.Join(dir, stageLock), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another build took the new folder for a stale one
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("failed to lock the temporary folder: %w", err), os.Remove(dir))
		}
		locked, err := hostfile.TryLock(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("failed to lock %s: %w", f.Name(), err), f.Close(), os.RemoveAll(dir))
		}
		if locked && stillThere(f) {
			return &Stage{out: out, dir: dir, lock: f}, nil
		}
		_ = f.Close() // it took this one, too
	}
}

// Path is where the file is to be made that Publish is to give a name.
func (s *Stage) Path(name string) string { return filepath.Join(s.dir, name) }

// Publish gives finished files their final names in the output folder, in place of
// what had them.
func (s *Stage) Publish(names []string) error {
	for _, name := range names {
		if err := os.Rename(s.Path(name), filepath.Join(s.out, name)); err != nil {
			return fmt.Errorf("failed to publish %s: %w", filepath.Join(s.out, name), err)
		}
	}
	return syncDir(s.out)
}

// Close removes the stage, and what is still in it.
func (s *Stage) Close() error {
	if runtime.GOOS == "windows" { // which does not remove open files
		_ = s.lock.Close()
		return removeStage(s.dir)
	}
	return errors.Join(removeStage(s.dir), s.lock.Close())
}

// removeStage removes a stage, the lock last: by that [RemoveStale] knows what is left
// if this is broken off.
func removeStage(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Name() != stageLock {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// final is where a file is published in the end: a staged one in the output folder.
func final(path string) string {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	if staged, _ := filepath.Match(stagePattern, filepath.Base(dir)); staged {
		return filepath.Join(filepath.Dir(dir), name)
	}
	return path
}

// removeStaleStage removes the stage of a build that has died.
func removeStaleStage(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, stageLock), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		// It is being made, or its build died just then; what is in use is not empty.
		if err := os.Remove(dir); !errors.Is(err, fs.ErrExist) { // that of a folder that is not empty, too
			return err
		}
		return nil
	}
	if err != nil {
		return err
	}
	locked, err := hostfile.TryLock(f)
	if !locked {
		return errors.Join(err, f.Close())
	}
	if runtime.GOOS == "windows" {
		_ = f.Close()
		return removeStage(dir)
	}
	return errors.Join(removeStage(dir), f.Close())
}
