package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/fat"
)

// NotFoundError says that an image has no partition of a kind, or more than one.
type NotFoundError struct {
	Want     string   // "boot partition", "root partition"
	Findings []string // one for each partition: what it holds
	Several  bool     // whether more than one would do
	// Errs are the errors that came up while looking, from packages fat and ext4.
	Errs []error
}

func (e *NotFoundError) Error() string {
	problem := "no " + e.Want
	if e.Several {
		problem = "more than one " + e.Want
	}
	return fmt.Sprintf("the image has %s: %s", problem, strings.Join(e.Findings, "; "))
}

// Unwrap returns the errors that came up while looking.
func (e *NotFoundError) Unwrap() []error { return e.Errs }

// FindBoot returns the partition that a Raspberry Pi boots from: the one FAT file
// system that holds cmdline.txt and config.txt. It opens all of them.
func (d *Disk) FindBoot() (Partition, error) {
	return d.find("boot partition (FAT with cmdline.txt and config.txt)", func(p Partition) (string, error) {
		if !strings.HasPrefix(p.Content, "fat") {
			return "no FAT file system", nil
		}
		f, err := fat.Open(d.storage, p.Start, p.Size, fat.Options{ReadOnly: true})
		if err != nil {
			return "", err
		}
		missing, err := lacks(f, "cmdline.txt", "config.txt")
		return missing, errors.Join(err, f.Close())
	})
}

// FindRoot returns the partition with the root file system: the one ext4 file
// system that holds etc and, there or in usr/lib, os-release. It opens all of them.
func (d *Disk) FindRoot() (Partition, error) {
	return d.find("root partition (ext4 with etc and os-release)", func(p Partition) (string, error) {
		if p.Content != "ext4" {
			return "no ext4 file system", nil
		}
		f, err := ext4.Open(d.storage, p.Start, p.Size, ext4.Options{ReadOnly: true})
		if err != nil {
			return "", err
		}
		missing, err := lacks(f, "etc")
		if missing == "" && err == nil {
			if missing, err = lacks(f, "usr/lib/os-release"); missing != "" && err == nil {
				missing, err = lacks(f, "etc/os-release")
			}
		}
		return missing, errors.Join(err, f.Close())
	})
}

// lstatFS is what lacks asks: os-release is often a link that leads elsewhere.
type lstatFS interface {
	Lstat(name string) (fs.FileInfo, error)
}

// lacks says which of names is not there, or "".
func lacks(f lstatFS, names ...string) (string, error) {
	for _, name := range names {
		switch _, err := f.Lstat(name); {
		case errors.Is(err, fs.ErrNotExist):
			return "no " + name, nil
		case err != nil:
			return "", err
		}
	}
	return "", nil
}

// find returns the one partition about which look finds nothing missing.
func (d *Disk) find(want string, look func(Partition) (missing string, err error)) (Partition, error) {
	var found []Partition
	e := &NotFoundError{Want: want}
	for _, p := range d.Partitions {
		missing, err := look(p)
		switch {
		case err != nil:
			e.Errs = append(e.Errs, err)
			missing = err.Error()
		case missing == "":
			found = append(found, p)
			missing = "it would do"
		}
		e.Findings = append(e.Findings, fmt.Sprintf("partition %d (%s): %s", p.Index, p.describe(), missing))
	}
	if len(found) == 1 {
		return found[0], nil
	}
	e.Several = len(found) > 1
	return Partition{}, e
}

// describe says in a few words what a partition is.
func (p Partition) describe() string {
	what := p.Content
	if what == "" {
		what = "type " + p.Type
	}
	if p.Label != "" {
		what += fmt.Sprintf(" %q", p.Label)
	}
	return fmt.Sprintf("%s, %.1f MiB", what, float64(p.Size)/(1<<20))
}
