// Command ext4 is what ../ext4.sh measures beside debugfs and a loop mount: one
// piece of work on the file system that fills an image, as a process of its own.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/piimg/piimg/imagebuild/ext4"
)

const usage = `usage: ext4 open IMAGE
       ext4 edit IMAGE PATH CONTENT
       ext4 create IMAGE DIR COUNT FILE
       ext4 read IMAGE`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ext4:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New(usage)
	}
	work := map[string]struct {
		args int
		fn   func(*ext4.FS, []string) error
	}{
		"open": {0, func(*ext4.FS, []string) error { return nil }}, "edit": {2, edit}, "create": {3, create}, "read": {0, read},
	}[args[0]]
	if work.fn == nil || len(args) != 2+work.args {
		return errors.New(usage)
	}
	image, err := os.OpenFile(args[1], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer image.Close()
	fi, err := image.Stat()
	if err != nil {
		return err
	}
	f, err := ext4.Open(file.New(image, false), 0, fi.Size(), ext4.Options{})
	if err != nil {
		return err
	}
	return errors.Join(work.fn(f, args[2:]), f.Close(), image.Sync())
}

func put(f *ext4.FS, name string, content []byte) error {
	w, err := f.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return errors.Join(err, w.Close())
}

func edit(f *ext4.FS, args []string) error { return put(f, args[0], []byte(args[1]+"\n")) }

func create(f *ext4.FS, args []string) error {
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	content, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	if err := f.Mkdir(args[0]); err != nil {
		return err
	}
	for i := range count {
		if err := put(f, path.Join(args[0], fmt.Sprintf("file-%d", i)), content); err != nil {
			return err
		}
	}
	return nil
}

// read prints how many bytes all regular files hold.
func read(f *ext4.FS, _ []string) error {
	total := int64(0)
	buf := make([]byte, 1<<20)
	err := fs.WalkDir(f, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		r, err := f.Open(name)
		if err != nil {
			return err
		}
		defer r.Close()
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, buf)
		total += n
		return err
	})
	fmt.Println(total)
	return err
}
