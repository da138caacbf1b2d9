package raspios

import (
	"bytes"
	"encoding/binary"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/fat"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/plan/plantest"
	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/source"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// images are the small images of testdata/images, oldest first.
var images = []string{"stretch", "buster", "bullseye-2022-01", "bullseye-2022-09", "bookworm", "trixie", "trixie-2026-04"}

// image is both partitions of an image, in memory.
type image struct{ boot, root *plantest.FS }

func (i image) clone() image { return image{i.boot.Clone(), i.root.Clone()} }

var loaded = struct {
	sync.Mutex
	images map[string]image
}{images: map[string]image{}}

// loadImage returns a copy of a small image, which the test may change.
func loadImage(t *testing.T, name string) image {
	t.Helper()
	loaded.Lock()
	defer loaded.Unlock()
	if i, ok := loaded.images[name]; ok {
		return i.clone()
	}
	in := openImage(t, filepath.Join("..", "..", "testdata", "images", name+".img.xz"))
	boot, root := in.Boot, in.Root
	i := image{copyTree(t, boot), copyTree(t, root)}
	i.boot.FAT = true
	loaded.images[name] = i
	return i.clone()
}

// openImage opens the partitions of an image, for reading and for as long as the
// test runs.
func openImage(t *testing.T, name string) Input {
	t.Helper()
	raw, err := source.Open(t.Context(), name, source.Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	storage := layer.New(raw, raw.Size())
	start, size := partition(t, raw, 0)
	boot, err := fat.Open(storage, start, size, fat.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	start, size = partition(t, raw, 1)
	root, err := ext4.Open(storage, start, size, ext4.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	return Input{Boot: boot, Root: root, Secrets: secrets.Placeholder("villagers")}
}

// partition reads from an MBR where a partition is, in bytes.
func partition(t *testing.T, disk io.ReaderAt, i int) (start, size int64) {
	t.Helper()
	e := make([]byte, 16)
	if _, err := disk.ReadAt(e, int64(446+16*i)); err != nil {
		t.Fatal(err)
	}
	return 512 * int64(binary.LittleEndian.Uint32(e[8:])), 512 * int64(binary.LittleEndian.Uint32(e[12:]))
}

// run runs a tool that a test needs and returns what it prints.
func run(t *testing.T, stdin []byte, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(tooltest.Path(t, name), args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// copyTree reads a file system into memory.
func copyTree(t *testing.T, fsys fs.FS) *plantest.FS {
	t.Helper()
	out := plantest.New()
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		uid, gid, _ := plan.Owner(info)
		switch {
		case d.IsDir():
			out.PutDir(name, uid, gid)
			if err := out.Chmod(name, info.Mode()&^fs.ModeType); err != nil {
				return err
			}
		case d.Type()&fs.ModeSymlink != 0:
			target, err := fs.ReadLink(fsys, name)
			if err != nil {
				return err
			}
			out.PutLink(name, target)
			return nil
		case d.Type().IsRegular():
			content, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			out.PutMode(name, string(content), info.Mode()&^fs.ModeType, uid, gid)
		default:
			return nil
		}
		out.SetTime(name, info.ModTime())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var buildTime = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
