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

// tempPattern is the form of the names of unfinished files, in the notation of
// [os.CreateTemp].
const tempPattern = ".piimg-*.part"

// createTemp makes a temporary file beside path, and locks it for as long as it
// is open, so that [RemoveStale] can tell it from one whose build has died.
func createTemp(path string) (*os.File, error) {
	for {
		f, err := os.CreateTemp(filepath.Dir(path), tempPattern)
		if err != nil {
			return nil, fmt.Errorf("failed to create a temporary file for %s: %w", path, err)
		}
		locked, err := hostfile.TryLock(f)
		if err == nil && locked && stillThere(f) {
			return f, nil
		}
		_ = f.Close()
		if err != nil {
			_ = os.Remove(f.Name())
			return nil, fmt.Errorf("failed to lock %s: %w", f.Name(), err)
		}
		// Another build took the new file for a stale one, before it was locked.
	}
}

// stillThere reports whether f's name is still that of f.
func stillThere(f *os.File) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(open, named)
}

// RemoveStale removes what builds that were killed, or whose machine lost its
// power, left in dir. The unfinished files of a build under way are kept.
func RemoveStale(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("failed to look for unfinished files in %s: %w", dir, err)
	}
	var errs []error
	for _, e := range entries {
		remove := removeStale
		file, _ := filepath.Match(tempPattern, e.Name())
		stage, _ := filepath.Match(stagePattern, e.Name())
		switch {
		case file && e.Type().IsRegular():
		case stage && e.IsDir():
			remove = removeStaleStage
		default:
			continue
		}
		name := filepath.Join(dir, e.Name())
		if err := remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("failed to remove the unfinished %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func removeStale(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	locked, err := hostfile.TryLock(f)
	// Since it was opened, another build may have removed this lock, and made its own.
	if !locked || !stillThere(f) {
		return errors.Join(err, f.Close())
	}
	return removeTemp(f)
}

// removeTemp closes and removes a file that this process has locked. Where the system
// lets it, the name goes first: to others, the file is never one that nobody uses. If
// others were quicker elsewhere, it is theirs to remove.
func removeTemp(f *os.File) error {
	var errs []error
	if runtime.GOOS == "windows" { // which does not remove open files
		errs = append(errs, f.Close())
	}
	if err := os.Remove(f.Name()); !errors.Is(err, fs.ErrNotExist) && !isOpen(err) {
		errs = append(errs, err)
	}
	if runtime.GOOS != "windows" {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// publish closes f and gives it its final name. Where the system lets it, the
// name comes first, so that the file is locked until it has it.
func publish(f *os.File, path string) error {
	var err error
	if runtime.GOOS == "windows" {
		if err = f.Close(); err == nil {
			err = os.Rename(f.Name(), path)
		}
	} else if err = os.Rename(f.Name(), path); err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("failed to publish %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// Probe returns an error unless files can be made in dir.
func Probe(dir string) error {
	f, err := createTemp(filepath.Join(dir, SumsName))
	if err != nil {
		return err
	}
	return removeTemp(f)
}
