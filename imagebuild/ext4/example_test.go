package ext4_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/piimg/piimg/imagebuild/ext4"
)

// Read a file system through io/fs: symbolic links are followed within it.
func Example_read() {
	image, size := open("clean.img.gz")
	defer image.Close()
	f, err := ext4.Open(image, 0, size, ext4.Options{ReadOnly: true})
	check(err)

	release, err := fs.ReadFile(f, "usr/os-release")
	check(err)
	fmt.Printf("%s", release)

	err = fs.WalkDir(f, "home", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*ext4.Stat)
		fmt.Println(info.Mode(), stat.UID, stat.GID, info.ModTime().Format(time.DateOnly), name)
		return nil
	})
	check(err)
	check(f.Close())

	// Output:
	// PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
	// drwxr-xr-x 0 0 2025-01-01 home
	// drwxr-xr-x 1000 1000 2025-01-01 home/pi
}

// Change files. The bytes of the image depend on what is done and in which
// order, and on Options.Time; not on the machine, nor on the clock.
func Example_edit() {
	image, size := open("clean.img.gz")
	defer image.Close()
	f, err := ext4.Open(image, 0, size, ext4.Options{Time: time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)})
	check(err)

	// What was in the file before is replaced in place, where it fits.
	w, err := f.OpenFile("etc/hostname", os.O_WRONLY|os.O_TRUNC)
	check(err)
	_, err = w.Write([]byte("tom-nook\n"))
	check(err)
	check(w.Close())

	check(f.Mkdir("home/pi/.ssh"))
	check(f.Chmod("home/pi/.ssh", 0o700))
	check(f.Chown("home/pi/.ssh", 1000, 1000))
	check(f.Rename("usr/bin/hello", "usr/bin/greet"))
	check(f.Symlink("greet", "usr/bin/hello"))
	check(f.Setxattr("etc/hostname", "user.origin", []byte("nodes.yaml")))
	check(f.Remove("etc/hosts"))
	check(f.Close()) // what was still in memory is written

	f, err = ext4.Open(image, 0, size, ext4.Options{ReadOnly: true})
	check(err)
	for _, name := range []string{"etc/hostname", "usr/bin/hello"} {
		content, err := f.ReadFile(name)
		check(err)
		fmt.Printf("%s: %q\n", name, content)
	}
	_, err = f.Stat("etc/hosts")
	fmt.Println(err)

	// Output:
	// etc/hostname: "tom-nook\n"
	// usr/bin/hello: "#!/bin/sh\necho hello\n"
	// stat etc/hosts: file does not exist
}

// Check a file system, here one in which a byte was overwritten.
func ExampleCheck() {
	image, size := open("clean.img.gz")
	defer image.Close()
	report, err := ext4.Check(image, 0, size, ext4.CheckOptions{})
	check(err)
	fmt.Println("clean:", report.Clean())

	w, err := image.Writable()
	check(err)
	content := make([]byte, size)
	_, err = image.ReadAt(content, 0)
	check(err)
	entry := bytes.Index(content, []byte("hostname")) // in the directory etc
	_, err = w.WriteAt([]byte("HOSTNAME"), int64(entry))
	check(err)

	report, err = ext4.Check(image, 0, size, ext4.CheckOptions{})
	check(err)
	fmt.Println("clean:", report.Clean())
	for _, finding := range report.Findings {
		fmt.Println(finding.Code, finding.Inode, finding.Path)
	}

	// Output:
	// clean: true
	// clean: false
	// directory-checksum 12 etc
}

// Make a file system larger, after its partition or, as here, its image.
func ExampleFS_Grow() {
	image, _ := open("clean.img.gz")
	defer image.Close()
	const size = 1 << 30
	check(os.Truncate(image.Path(), size))
	f, err := ext4.Open(image, 0, size, ext4.Options{})
	check(err)
	before := f.Info()
	check(f.Grow(size))
	after := f.Info()
	fmt.Printf("%d MiB, then %d MiB\n", before.Blocks*uint64(before.BlockSize)>>20, after.Blocks*uint64(after.BlockSize)>>20)
	check(f.Close())

	// Output:
	// 4 MiB, then 1024 MiB
}

// Open a file system that was not unmounted cleanly: its journal is replayed.
func ExampleFS_Recovery() {
	image, size := open("unclean.img.gz")
	defer image.Close()
	f, err := ext4.Open(image, 0, size, ext4.Options{})
	check(err)
	fmt.Println("transactions:", f.Recovery().Transactions)
	content, err := f.ReadFile("etc/late")
	check(err)
	fmt.Printf("%s", content)
	check(f.Close())

	// Output:
	// transactions: 1
	// written before the power went
}

// open unpacks one of the images of testdata to a temporary file. A disk
// image's file system would begin where its partition does.
func open(name string) (backend.Storage, int64) {
	packed, err := os.Open(filepath.Join("testdata/images", name))
	check(err)
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	check(err)
	image, err := os.CreateTemp("", "ext4-*.img")
	check(err)
	size, err := image.ReadFrom(unpacked)
	check(err)
	check(image.Close())
	storage, err := file.OpenFromPath(image.Name(), false)
	check(err)
	return removed{storage}, size
}

// removed deletes its file when it is closed.
type removed struct{ backend.Storage }

func (r removed) Close() error {
	err := r.Storage.Close()
	if err == nil {
		err = os.Remove(r.Path())
	}
	return err
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
