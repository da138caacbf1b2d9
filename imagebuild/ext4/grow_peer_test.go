package ext4

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// header is what dumpe2fs -h prints of the fields that tell how a file system is cut up.
func header(t testing.TB, img string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(runTool(t, "dumpe2fs", "-h", img)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && !regexp.MustCompile(`^(Last|Checksum|Lifetime|Mount)`).MatchString(key) {
			out[key] = strings.TrimSpace(value)
		}
	}
	return out
}

// TestGrowLikeResize2fs compares with what resize2fs makes of a copy. Where
// there is no room for more descriptors resize2fs makes it by moving what is in
// the way, while this package goes over to meta_bg, as the kernel does.
func TestGrowLikeResize2fs(t *testing.T) {
	for _, l := range growLayouts("stretch", "trixie", "64bit", "1k-uninit_bg", "no-journal", "meta_bg", "few-reserved",
		"sparse_super2", "meta_bg-sparse2", "every-group", "64k") {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, "")
			theirs := filepath.Join(t.TempDir(), "theirs.img")
			runTool(t, "cp", "--sparse=always", img, theirs)
			const size = 700 << 20
			if err := growImage(t, img, size).Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(theirs, size+slackBytes); err != nil {
				t.Fatal(err)
			}
			runTool(t, "resize2fs", theirs)
			got, want := header(t, img), header(t, theirs)
			if meta := "First meta block group"; got[meta] != want[meta] {
				for _, field := range []string{meta, "Filesystem features", "Free blocks", "Reserved GDT blocks"} {
					t.Logf("%s: %s, resize2fs: %s", field, got[field], want[field])
					delete(got, field)
					delete(want, field)
				}
			}
			compareDigests(t, want, got)
			likeResize2fs(t, img, theirs)
		})
	}
}

// likeResize2fs starts e2fsck from the first copy of the superblock and of the
// descriptors. What mkfs and resize2fs leave uninitialised it has to complain
// of there; it must not find more in img than in theirs but for groups that mkfs made.
func likeResize2fs(t *testing.T, img, theirs string) {
	t.Helper()
	f := openImage(t, img, true)
	if f.sb.groups < 2 || !f.sb.hasSuper(1) {
		return
	}
	wrong := func(img string) map[int]bool {
		out, _ := exec.Command(tooltest.Path(t, "e2fsck"), "-fn", "-b", fmt.Sprint(f.sb.groupStart(1)), "-B", fmt.Sprint(f.sb.blockSize), img).Output()
		if !strings.Contains(string(out), "Pass 5") {
			t.Fatalf("e2fsck from the copy in group 1:\n%s", out)
		}
		groups := map[int]bool{}
		for _, m := range regexp.MustCompile(`Free (?:blocks|inodes) count wrong for group #(\d+)`).FindAllStringSubmatch(string(out), -1) {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			groups[n] = true
		}
		return groups
	}
	made := int(64 << 20 / (int64(f.sb.blocksPerGroup) * int64(f.sb.blockSize)))
	peer := wrong(theirs)
	for g := range wrong(img) {
		if g > made && !peer[g] {
			t.Errorf("from the copies, group %d is wrong", g)
		}
	}
}

// TestGrowKernel lets the kernel fill what was grown, and it and resize2fs grow it further.
func TestGrowKernel(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	slow := os.Getenv("EXT4_TEST_SLOW") != ""
	for _, l := range growLayouts("trixie", "few-reserved") {
		t.Run(l.name, func(t *testing.T) {
			img := mkfs(t, l, tree(t))
			defer os.Remove(img) // 40 GiB can come to something
			size := int64(700 << 20)
			if slow {
				size = 40 << 30
			}
			f := growImage(t, img, size)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			// Nearly all blocks, and inodes of many groups: directories at the top are spread.
			fill := `for d in $(seq 60); do mkdir top$d; (cd top$d; seq 60 | xargs touch); done; head -c 20000000 /dev/zero > some`
			if !strings.HasPrefix(l.name, "ext") {
				fill += `; fallocate -l $(($(stat -f -c %a . ) * $(stat -f -c %S .) / 100 * 95)) most`
			}
			mountLoop(t, img, fill, 0)
			fsck(t, img)
			if used := diskUse(t, img); used > 600<<20 && !slow {
				t.Errorf("the image takes %d bytes of the disk", used)
			}
			if !strings.Contains(l.name, "sparse") { // no sparse_super2 online
				size += size / 2
				mountLoop(t, img, `rm -r top1; mkdir after; seq 300 | sed s/^/after\\// | xargs touch`, size)
				fsck(t, img)
			}
			if f.sb.hasCompat(compatSparseSuper2) && f.sb.hasIncompat(incompatMetaBG) {
				return // resize2fs 1.47 forgets that a descriptor block moves with the last group's superblock
			}
			size += 200 << 20
			if err := os.Truncate(img, size); err != nil {
				t.Fatal(err)
			}
			runTool(t, "e2fsck", "-fp", img)
			runTool(t, "resize2fs", img)
			fsck(t, img)
			// And so on.
			if err := growImage(t, img, size+100<<20).Close(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
		})
	}
}

// mountLoop runs a script in the mounted image, and before it lets resize2fs
// grow it, mounted as it is, to size, unless that is 0.
func mountLoop(t *testing.T, img, script string, size int64) {
	t.Helper()
	loop := strings.TrimSpace(runTool(t, "losetup", "-f", "--show", img))
	defer runTool(t, "losetup", "-d", loop)
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "ext4", loop, dir).CombinedOutput(); err != nil {
		t.Logf("the kernel does not mount it: %s", strings.TrimSpace(string(out)))
		return
	}
	defer unmount(t, dir)
	if size > 0 {
		if err := os.Truncate(img, size); err != nil {
			t.Fatal(err)
		}
		runTool(t, "losetup", "-c", loop)
		if out, err := exec.Command(tooltest.Path(t, "resize2fs"), loop).CombinedOutput(); err != nil {
			if !strings.Contains(string(out), "Permission denied") {
				t.Errorf("resize2fs: %v\n%s", err, out)
			}
			t.Log("the kernel lets none grow a mounted file system who lacks CAP_SYS_RESOURCE")
		}
	}
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// diskUse is how many bytes of the disk a sparse file takes.
func diskUse(t *testing.T, path string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.Fields(runTool(t, "du", "-k", path))[0], 10, 64)
	if err != nil {
		t.Fatal(errors.New("du prints no number"))
	}
	return n << 10
}
