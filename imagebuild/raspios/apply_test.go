package raspios

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/fat"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/source"
)

// The plans hold on real file systems, in two steps, and leave them clean. The
// oldest and the newest layout stand for all, unless PIIMG_ALL_IMAGES is set.
func TestApplyToFileSystems(t *testing.T) {
	list := []string{images[0], images[len(images)-1]}
	if os.Getenv("PIIMG_ALL_IMAGES") != "" {
		list = images
	}
	for _, name := range list {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			img, err := source.Open(ctx, filepath.Join("..", "..", "testdata", "images", name+".img.xz"), source.Options{CacheDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer img.Close()
			disk := layer.New(img, img.Size())
			defer disk.Close()
			part := func(i int) (int64, int64) { return partition(t, img, i) }
			open := func(l *layer.Layer) (*fat.FS, *ext4.FS) {
				t.Helper()
				start, size := part(0)
				boot, err := fat.Open(l, start, size, fat.Options{Time: buildTime})
				if err != nil {
					t.Fatal(err)
				}
				start, size = part(1)
				root, err := ext4.Open(l, start, size, ext4.Options{Time: buildTime})
				if err != nil {
					t.Fatal(err)
				}
				return boot, root
			}
			closeBoth := func(boot *fat.FS, root *ext4.FS) {
				t.Helper()
				if err := boot.Close(); err != nil {
					t.Fatal(err)
				}
				if err := root.Close(); err != nil {
					t.Fatal(err)
				}
			}

			boot, root := open(disk)
			facts, err := Detect(boot, root)
			if err != nil {
				t.Fatal(err)
			}
			c := config()
			var plans []plan.Plan
			for _, n := range c.Nodes {
				p, err := Plan(Input{Config: c, Node: n, Facts: facts, Boot: boot, Root: root, Secrets: secrets.Placeholder("villagers"), Time: buildTime})
				if err != nil {
					t.Fatal(err)
				}
				plans = append(plans, p)
			}
			split := plan.Split(plans)
			shared := split.Shared()
			own, err := split.Own(plans[2])
			if err != nil {
				t.Fatal(err)
			}
			if len(shared) < 15 {
				t.Errorf("only %d edits are shared", len(shared))
			}
			if err := plan.Apply(ctx, shared, boot, root); err != nil {
				t.Fatal(err)
			}
			closeBoth(boot, root)
			node := disk.Fork()
			boot, root = open(node)
			if err := plan.Apply(ctx, own, boot, root); err != nil {
				t.Fatal(err)
			}
			closeBoth(boot, root)
			boot, root = open(node)
			if err := plan.Verify(ctx, plans[2].Edits, boot, root); err != nil {
				t.Error(err)
			}
			after, err := Detect(boot, root)
			if err != nil || after.Node == nil || after.Node.Hostname != "blathers" {
				t.Errorf("%+v, %v", after, err)
			}
			closeBoth(boot, root)
			for i, check := range [][]string{{"fsck.fat", "-n"}, {"e2fsck", "-fn"}} {
				start, size := part(i)
				file := sparse(t, io.NewSectionReader(node, start, size))
				run(t, nil, check[0], check[1], file)
			}
		})
	}
}

// sparse writes what r reads into a file, without the zeros.
func sparse(t *testing.T, r *io.SectionReader) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "part"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf, zero := make([]byte, 1<<16), string(make([]byte, 1<<16))
	for off := int64(0); off < r.Size(); off += int64(len(buf)) {
		n, err := r.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if string(buf[:n]) != zero[:n] {
			if _, err := f.WriteAt(buf[:n], off); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Truncate(r.Size()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}
