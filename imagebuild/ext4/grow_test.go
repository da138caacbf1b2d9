package ext4

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// growLayouts are the layouts that file systems are grown on: each begins with
// 64 MiB, and some are made to run out of what mkfs prepared for growing. With
// names, they are only these, unless EXT4_TEST_SLOW is set.
func growLayouts(names ...string) []layout {
	all := slices.DeleteFunc(layouts(), func(l layout) bool { return len(l.tune) > 0 }) // hashes make no difference
	all = append(all,
		layout{"no-resize_inode", []string{"-b", "1024", "-O", "^resize_inode,64bit,metadata_csum"}, "", nil},
		layout{"few-reserved", []string{"-b", "1024", "-O", "^64bit,metadata_csum", "-E", "resize=600000"}, "", nil},
		layout{"few-reserved-uninit", []string{"-b", "1024", "-O", "64bit,^metadata_csum,uninit_bg,^flex_bg", "-E", "resize=600000"}, "", nil},
		layout{"every-group", []string{"-b", "2048", "-O", "^sparse_super,^resize_inode,^64bit"}, "", nil},
		layout{"meta_bg-32", []string{"-b", "1024", "-O", "meta_bg,^resize_inode,^64bit,^metadata_csum"}, "", nil},
		layout{"meta_bg-sparse2", []string{"-b", "1024", "-O", "meta_bg,^resize_inode,64bit,sparse_super2"}, "", nil},
		layout{"flex-1", []string{"-b", "1024", "-G", "1"}, "", nil},
		layout{"flex-64", []string{"-b", "2048", "-G", "64", "-O", "^metadata_csum,^64bit"}, "", nil},
		layout{"packed", []string{"-b", "1024", "-E", "packed_meta_blocks=1", "-i", "65536"}, "", nil},
		layout{"many-inodes", []string{"-b", "1024", "-i", "1024"}, "", nil},
		layout{"small-groups", []string{"-b", "4096", "-g", "2048", "-O", "metadata_csum"}, "", nil},
	)
	if len(names) > 0 && os.Getenv("EXT4_TEST_SLOW") == "" {
		all = slices.DeleteFunc(all, func(l layout) bool { return !slices.Contains(names, l.name) })
	}
	for i := range all {
		all[i].size = "64M"
	}
	return all
}

// growSizes are the steps in which a file system is grown: a few blocks into the
// last group, then far beyond what is there. Only the Raspberry Pi's own go all
// the way, unless EXT4_TEST_SLOW is set: what takes long is e2fsck's walk through
// the 5000 groups that small blocks make of 40 GiB.
func growSizes(name string) []int64 {
	switch {
	case os.Getenv("EXT4_TEST_SLOW") != "":
		return []int64{64<<20 + 5<<10, 111<<20 + 300<<10, 1<<30 + 77<<20, 6<<30 + 1, 40 << 30}
	case name == "stretch", name == "bookworm", name == "trixie", name == "64k":
		return []int64{111<<20 + 300<<10, 40 << 30}
	case strings.HasPrefix(name, "few-reserved"):
		return []int64{300 << 20, 700 << 20}
	}
	return []int64{64<<20 + 5<<10, 300 << 20}
}

// TestGrow grows file systems of every kind step by step, with edits before and after each.
func TestGrow(t *testing.T) {
	dir := tree(t)
	for _, l := range growLayouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, dir)
			sizes := growSizes(l.name)
			for i, size := range sizes {
				f := growImage(t, img, size)
				name := fmt.Sprintf("grown-%d", i)
				if err := f.Mkdir(name); err != nil {
					t.Fatal(err)
				}
				for j := range 5 {
					put(t, f, fmt.Sprintf("%s/%d", name, j), noise(j*20000, uint32(i)))
				}
				if err := f.Remove("big/a-file-with-a-name-000" + fmt.Sprint(i) + ".conf"); err != nil {
					t.Fatal(err)
				}
				want := digest(t, f)
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				fsck(t, img)
				compareDigests(t, want, digest(t, openImage(t, img, true)))
			}
		})
	}
}

// slackBytes of no use to the file system lie behind it: no block, but a sector.
const slackBytes = 512

// growImage lengthens the image, with some bytes of no use at its end, and grows the file system in it.
func growImage(t testing.TB, img string, size int64) *FS {
	t.Helper()
	if err := os.Truncate(img, size+slackBytes); err != nil {
		t.Fatal(err)
	}
	f := openImage(t, img, false)
	if err := errors.Join(tryPut(f, "before", noise(50000, 3)), f.Remove("before")); err != nil {
		t.Fatal(err)
	}
	before, want := f.Info(), digest(t, f)
	if err := f.Grow(size + slackBytes); err != nil {
		t.Fatal(err)
	}
	if now := f.Info(); now.Blocks < before.Blocks || now.FreeBlocks < before.FreeBlocks {
		t.Fatalf("%+v, before %+v", now, before)
	}
	compareDigests(t, want, digest(t, f))
	return f
}

func compareDigests(t testing.TB, want, got map[string]string) {
	t.Helper()
	for name := range want {
		if got[name] != want[name] {
			t.Fatalf("%s: %s, want %s", name, got[name], want[name])
		}
	}
	if len(got) > len(want) {
		t.Fatalf("%d files, want %d", len(got), len(want))
	}
}

// TestGrowKeepsFeatures grows a file system over to meta_bg after a first
// attribute, which needs a feature, was set in the same session.
func TestGrowKeepsFeatures(t *testing.T) {
	const size = 300 << 20
	img := mkfs(t, layout{"", []string{"-b", "1024", "-O", "^has_journal,^ext_attr,^resize_inode"}, "16M", nil}, "")
	if err := os.Truncate(img, size); err != nil {
		t.Fatal(err)
	}
	f := openSized(t, img, size)
	put(t, f, "file", nil)
	has := func(feature string) bool { return slices.Contains(f.Info().Features, feature) }
	if err := f.Setxattr("file", "user.x", noise(2000, 1)); !errors.Is(err, ErrXattrSpace) || has("ext_attr") {
		t.Fatalf("%v, %v", err, f.Info().Features)
	}
	if err := errors.Join(f.Setxattr("file", "user.x", noise(700, 1)), f.Grow(size)); err != nil {
		t.Fatal(err)
	}
	if !has("ext_attr") || !has("meta_bg") {
		t.Error(f.Info().Features)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fsck(t, img)
}
