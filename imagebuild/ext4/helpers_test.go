package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/backend/file"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// runTool runs a program and returns what it printed.
func runTool(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(tooltest.Path(t, name), args...)
	cmd.Env = append(os.Environ(), "E2FSPROGS_FAKE_TIME=1600000000", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// layout is one way to make a file system.
type layout struct {
	name string
	args []string // of mkfs.ext4
	size string
	// tune are commands for tune2fs, or with a leading "debugfs" for debugfs -w, after mkfs.
	tune []string
}

// layouts are those of Raspberry Pi OS through the years, and what users bring.
func layouts() []layout {
	return []layout{
		{"stretch", []string{"-b", "4096", "-O", "^64bit,^metadata_csum,^huge_file"}, "24M", nil},
		{"bookworm", []string{"-b", "4096", "-O", "^64bit,^huge_file"}, "24M", nil},
		{"trixie", []string{"-b", "4096", "-O", "^64bit,^huge_file,metadata_csum_seed,orphan_file"}, "24M", nil},
		{"64bit", []string{"-b", "4096", "-O", "64bit,metadata_csum"}, "24M", nil},
		{"1k", []string{"-b", "1024", "-O", "64bit,metadata_csum,^has_journal"}, "24M", nil},
		{"1k-stretch", []string{"-b", "1024", "-O", "^64bit,^metadata_csum"}, "24M", nil},
		{"2k-uninit_bg", []string{"-b", "2048", "-O", "^metadata_csum,uninit_bg,64bit"}, "24M", nil},
		{"1k-uninit_bg", []string{"-b", "1024", "-O", "^metadata_csum,uninit_bg,^64bit,^has_journal"}, "40M", nil},
		{"no-journal", []string{"-b", "4096", "-O", "^has_journal,^flex_bg"}, "16M", nil},
		{"ext3", []string{"-t", "ext3", "-b", "1024"}, "16M", nil},
		{"ext2-128", []string{"-t", "ext2", "-b", "1024", "-I", "128", "-O", "^dir_index,^filetype"}, "16M", nil},
		{"ext3-csum", []string{"-b", "4096", "-O", "^extent,metadata_csum,^64bit"}, "16M", nil},
		{"ext3-4k", []string{"-t", "ext3", "-b", "4096"}, "16M", nil},
		{"meta_bg", []string{"-b", "1024", "-O", "meta_bg,^resize_inode,64bit,metadata_csum"}, "40M", nil},
		{"sparse_super2", []string{"-b", "1024", "-O", "sparse_super2,metadata_csum"}, "40M", nil},
		{"large_dir", []string{"-b", "1024", "-O", "large_dir,metadata_csum,ea_inode"}, "24M", nil},
		{"64k", []string{"-b", "65536", "-O", "metadata_csum"}, "64M", nil},
		{"legacy-hash", []string{"-b", "1024"}, "16M", []string{"-E", "hash_alg=legacy"}},
		{"tea-hash", []string{"-b", "4096"}, "16M", []string{"-E", "hash_alg=tea"}},
		{"unsigned-hash", []string{"-b", "1024"}, "16M", []string{"debugfs", "ssv flags 2"}},
		{"tea-unsigned", []string{"-b", "1024", "-O", "^metadata_csum"}, "16M", []string{"debugfs", "ssv flags 2", "ssv def_hash_version 2"}},
	}
}

// mkfs makes an image with the given layout, populated from dir unless that is "".
func mkfs(t testing.TB, l layout, dir string) string {
	t.Helper()
	img := filepath.Join(t.TempDir(), "ext4.img")
	args := append([]string{"-q", "-F", "-L", "rootfs", "-U", "11111111-2222-3333-4444-555555555555",
		"-E", "hash_seed=01234567-89ab-cdef-0123-456789abcdef"}, l.args...)
	if dir != "" {
		args = append(args, "-d", dir)
	}
	runTool(t, "mkfs.ext4", append(args, img, l.size)...)
	switch {
	case len(l.tune) > 0 && l.tune[0] == "debugfs":
		for _, c := range l.tune[1:] {
			runTool(t, "debugfs", "-w", "-R", c, img)
		}
	case len(l.tune) > 0:
		runTool(t, "tune2fs", append(slices.Clone(l.tune), img)...)
	}
	return img
}

func testTime() time.Time { return time.Unix(1700000000, 123456789).UTC() }

// openImage opens the file system that fills the image file.
func openImage(t testing.TB, img string, readOnly bool) *FS {
	t.Helper()
	st, size := storage(t, img)
	f, err := Open(st, 0, size, Options{Time: testTime(), ReadOnly: readOnly})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func storage(t testing.TB, img string) (backend.Storage, int64) {
	t.Helper()
	st, err := file.OpenFromPath(img, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	fi, err := st.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return st, fi.Size()
}

// fsck fails the test unless neither e2fsck nor Check finds anything at all to say.
func fsck(t testing.TB, img string) {
	t.Helper()
	if out, err := fsckOutput(t, img); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// fsckOutput returns what e2fsck and Check say of the image, or of the part of
// it that begins at the byte given as in "image?offset=512", and an error if
// either is not that all is well.
func fsckOutput(t testing.TB, img string) (string, error) {
	t.Helper()
	out, err := e2fsckOutput(t, img)
	if err != nil {
		return out, fmt.Errorf("e2fsck: %w", err)
	}
	r, err := checkImage(t, img)
	if err != nil {
		return out, err
	}
	if !r.Clean() {
		return fmt.Sprintln(r.Findings), errors.New("Check has findings where e2fsck has none")
	}
	return out, nil
}

// e2fsckOutput returns what e2fsck -fn says of the image, and an error if it offers to mend anything.
func e2fsckOutput(t testing.TB, img string) (string, error) {
	out, err := exec.Command(tooltest.Path(t, "e2fsck"), "-fn", img).CombinedOutput()
	if err == nil && offersToMend(out) {
		err = errors.New("complaints in spite of exit code 0")
	}
	return string(out), err
}

// offersToMend looks for questions that -n answers. To make a tree of extents
// smaller is not to mend it.
func offersToMend(out []byte) bool {
	return bytes.Contains(bytes.ReplaceAll(out, []byte("Optimize? no"), nil), []byte("? no"))
}

// checkImage runs Check on the file system in the image file.
func checkImage(t testing.TB, img string) (*Report, error) {
	t.Helper()
	name, options, _ := strings.Cut(img, "?")
	start := int64(0)
	if _, err := fmt.Sscanf(options, "offset=%d", &start); options != "" && err != nil {
		t.Fatalf("%s: %v", img, err)
	}
	st, size := storage(t, name)
	return Check(st, start, size-start, CheckOptions{})
}

// tree makes a folder with something of everything, with a directory that needs an index.
func tree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.MkdirAll(filepath.Join(dir, "etc/deep/er"), 0o755))
	check(os.MkdirAll(filepath.Join(dir, "big"), 0o700))
	check(os.WriteFile(filepath.Join(dir, "etc/hostname"), []byte("raspberrypi\n"), 0o644))
	check(os.WriteFile(filepath.Join(dir, "etc/empty"), nil, 0o600))
	check(os.WriteFile(filepath.Join(dir, "etc/deep/er/data"), bytes.Repeat([]byte("0123456789abcdef"), 30000), 0o640))
	check(os.Symlink("deep/er", filepath.Join(dir, "etc/short")))
	check(os.Symlink("/etc/hostname", filepath.Join(dir, "abs")))
	check(os.Symlink("../../../../../../etc/../etc/./deep/er/../er/data", filepath.Join(dir, "etc/climb")))
	check(os.Symlink("/"+strings.Repeat("etc/../", 20)+"etc/hostname", filepath.Join(dir, "long")))
	check(os.Symlink("loop", filepath.Join(dir, "loop")))
	check(os.Symlink("nowhere/at/all", filepath.Join(dir, "dangling")))
	for i := range 400 {
		check(os.WriteFile(filepath.Join(dir, "big", fmt.Sprintf("a-file-with-a-name-%04d.conf", i)), []byte(fmt.Sprint(i)), 0o644))
	}
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	check(err)
	_, err = sparse.WriteAt([]byte("end"), 3<<20)
	check(err)
	check(sparse.Close())
	return dir
}
