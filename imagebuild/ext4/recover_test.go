package ext4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// copyFile copies a file as it is now, sparse.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	runTool(t, "cp", "--sparse=always", from, to)
}

// repaired returns a copy of the image that e2fsck has recovered and repaired.
func repaired(t testing.TB, img string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "e2fsck.img")
	copyFile(t, img, out)
	p, err := exec.Command(tooltest.Path(t, "e2fsck"), "-fy", "-E", "no_optimize_extents", out).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("e2fsck -fy: %v\n%s", err, p)
	}
	return out
}

// mountedOnce returns a copy of the image that the kernel has mounted and unmounted.
func mountedOnce(t testing.TB, img string) string {
	t.Helper()
	out, dir := filepath.Join(t.TempDir(), "kernel.img"), t.TempDir()
	copyFile(t, img, out)
	runTool(t, "mount", "-t", "ext4", "-o", "loop", out, dir)
	unmount(t, dir)
	return out
}

// compareTrees fails if a file system that was recovered does not have the same
// files as what another program made of it, and as much space.
func compareTrees(t testing.TB, who string, got, want *FS) {
	t.Helper()
	a, b := digest(t, got), digest(t, want)
	truncated := got.Recovery().Truncated > 0
	if truncated && who == "kernel" { // which stamps what it truncates
		stamp := regexp.MustCompile(`\d+-\d+-\d+ [\d:.]+ \+0000 UTC`)
		for _, m := range []map[string]string{a, b} {
			for name, desc := range m {
				m[name] = stamp.ReplaceAllString(desc, "")
			}
		}
	}
	differ := 0
	for name, desc := range b {
		if a[name] != desc {
			differ++
			t.Errorf("%s: %s\n  ours:  %s\n  other: %s", who, name, a[name], desc)
		}
		if differ == 10 {
			return
		}
	}
	for name := range a {
		if _, ok := b[name]; !ok {
			t.Errorf("%s: %s is in ours only", who, name)
		}
	}
	// Of a file that is truncated the map of blocks is written anew, and may need fewer.
	if i, k := got.Info(), want.Info(); i.FreeBlocks != k.FreeBlocks && !(truncated && i.FreeBlocks > k.FreeBlocks) || i.FreeInodes != k.FreeInodes {
		t.Errorf("%s: %d blocks and %d inodes are free, should be %d and %d", who, i.FreeBlocks, i.FreeInodes, k.FreeBlocks, k.FreeInodes)
	}
}

// recovered opens img for writing, which recovers it, and compares what it is
// then with what e2fsck makes of it, and with the kernel's where that is wanted.
func recovered(t testing.TB, img string, kernel bool) Recovery {
	t.Helper()
	ours := filepath.Join(t.TempDir(), "ours.img")
	copyFile(t, img, ours)
	f := openImage(t, ours, false)
	r := f.Recovery()
	compareTrees(t, "e2fsck", f, openImage(t, repaired(t, img), true))
	if kernel {
		compareTrees(t, "kernel", f, openImage(t, mountedOnce(t, img), true))
	}
	fsck(t, ours) // before anything else is written
	if err := errors.Join(f.Mkdir("made-afterwards"), f.Close()); err != nil {
		t.Fatal(err)
	}
	fsck(t, ours)
	if again := openImage(t, ours, false).Recovery(); again != (Recovery{}) {
		t.Errorf("it was recovered once more: %+v", again)
	}
	return r
}

// leave does things to a mounted file system, and calls crash at moments when
// it would be interesting if the power failed.
func leave(t *testing.T, dir string, crash func(when string)) {
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	in := func(format string, args ...any) string { return filepath.Join(dir, fmt.Sprintf(format, args...)) }
	write := func(name string, p []byte) { t.Helper(); check(os.WriteFile(name, p, 0o640)) }
	commit := func() { // fsync of one file commits what all have done
		t.Helper()
		file, err := os.OpenFile(in("committed"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		check(err)
		_, err = file.WriteString("x")
		check(errors.Join(err, file.Sync(), file.Close()))
	}
	escaped := binary.BigEndian.AppendUint32(nil, 0xC03B3998)
	check(os.MkdirAll(in("a/b/c"), 0o755))
	for i := range 200 {
		write(in("a/file-%d", i), noise(i*40, uint32(i)))
	}
	write(in("escaped"), bytes.Repeat(append(escaped, noise(1020, 1)...), 16))
	commit()
	crash("files")
	for i := range 150 {
		check(os.Mkdir(in("a/dir-%d", i), 0o700))
		check(os.Rename(in("a/file-%d", i), in("a/dir-%d/moved", i)))
	}
	commit()
	for i := range 120 { // blocks of directories are freed: revoke records
		check(os.RemoveAll(in("a/dir-%d", i)))
	}
	write(in("reused"), noise(500000, 3))
	commit()
	crash("revoked")
	var held []io.Closer
	for i := range 30 { // in use without a name
		name := in("a/b/held-%d", i)
		write(name, noise(3000*i, uint32(i)))
		file, err := os.Open(name)
		check(err)
		held = append(held, file)
		check(os.Remove(name))
	}
	check(os.Symlink(strings.Repeat("long/", 30), in("link")))
	check(os.Truncate(in("reused"), 100001))
	commit()
	crash("orphans")
	for i, file := range held {
		if i%3 == 0 {
			check(file.Close())
		}
	}
	commit()
	write(in("not committed"), noise(9000, 4))
	crash("fewer orphans")
	for _, file := range held {
		_ = file.Close() // every third is closed already
	}
}

// TestKernelCrash copies an image while the kernel has it mounted.
func TestKernelCrash(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	for _, c := range []struct {
		layout
		options string
	}{
		{layout{"stretch", []string{"-b", "4096", "-O", "^64bit,^metadata_csum,^huge_file"}, "24M", nil}, "commit=300"},
		{layout{"trixie", []string{"-b", "4096", "-O", "^64bit,metadata_csum_seed,orphan_file"}, "24M", nil}, "commit=300"},
		{layout{"1k", []string{"-b", "1024", "-O", "64bit,metadata_csum"}, "24M", nil}, "commit=300,data=journal"},
		{layout{"async", []string{"-b", "4096", "-O", "64bit,metadata_csum"}, "24M", nil}, "commit=300,data=writeback,journal_async_commit"},
		{layout{"ext3", []string{"-t", "ext3", "-b", "1024"}, "24M", nil}, "commit=300,data=journal,journal_checksum"},
		{layout{"checksum v1", []string{"-b", "4096", "-O", "^64bit,^metadata_csum"}, "24M", nil}, "commit=300,data=writeback,journal_async_commit"},
	} {
		if (c.name == "stretch" || c.name == "async") && os.Getenv("EXT4_TEST_SLOW") == "" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			img, dir := mkfs(t, c.layout, ""), t.TempDir()
			if out, err := exec.Command("mount", "-t", "ext4", "-o", "loop,"+c.options, img, dir).CombinedOutput(); err != nil {
				t.Skipf("the kernel does not mount it: %s", out)
			}
			var crashes []string
			t.Cleanup(func() { _ = exec.Command("umount", dir).Run() }) // if the test ended before
			leave(t, dir, func(when string) {
				to := filepath.Join(t.TempDir(), when+".img")
				copyFile(t, img, to)
				crashes = append(crashes, to)
			})
			unmount(t, dir)
			for _, crash := range crashes {
				r := recovered(t, crash, true)
				t.Logf("%s: %+v", filepath.Base(crash), r)
				if r.Transactions == 0 || strings.Contains(crash, "orphans") && r.Removed == 0 {
					t.Errorf("%s: recovered %+v", filepath.Base(crash), r)
				}
			}
		})
	}
}

// TestCrashes recovers the images (*.img) of the folder EXT4_TEST_CRASHES, which
// testdata/crash/run.sh fills. A file of the same name with .synced lists what
// must have outlived the crash.
func TestCrashes(t *testing.T) {
	dir := os.Getenv("EXT4_TEST_CRASHES")
	if dir == "" {
		t.Skip("EXT4_TEST_CRASHES is not set")
	}
	images, err := filepath.Glob(filepath.Join(dir, "*.img"))
	if err != nil || len(images) == 0 {
		t.Fatalf("no images in %s (%v)", dir, err)
	}
	var sum Recovery
	for _, img := range images {
		t.Run(filepath.Base(img), func(t *testing.T) {
			r := recovered(t, img, os.Geteuid() == 0)
			list, err := os.ReadFile(strings.TrimSuffix(img, ".img") + ".synced")
			if err != nil {
				t.Fatal(err)
			}
			copied := filepath.Join(t.TempDir(), "synced.img")
			copyFile(t, img, copied)
			f := openImage(t, copied, false)
			for name := range strings.FieldsSeq(string(list)) {
				if _, err := f.Lstat(name); err != nil {
					t.Errorf("synced, but gone: %v", err)
				}
			}
			t.Logf("%+v", r)
			sum.Transactions += r.Transactions
			sum.Blocks += r.Blocks
			sum.Revoked += r.Revoked
			sum.Removed += r.Removed
			sum.Truncated += r.Truncated
		})
	}
	t.Logf("%d crashes: %+v", len(images), sum)
}
