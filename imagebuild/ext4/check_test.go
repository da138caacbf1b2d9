package ext4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// mustCheck is the report on the file system in the image file.
func mustCheck(t testing.TB, img string) *Report {
	t.Helper()
	r, err := checkImage(t, img)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCheckLayouts looks at what mkfs makes. That what this package and the
// kernel make of it stays clean is seen to by all other tests, through fsck.
func TestCheckLayouts(t *testing.T) {
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, tree(t))
			r := mustCheck(t, img)
			if !r.Clean() || len(r.Unchecked) > 0 || r.Directories != 6 {
				t.Errorf("%+v", r)
			}
			if err := os.Truncate(img, 9<<20); err != nil {
				t.Fatal(err)
			}
			if r := mustCheck(t, img); r.Clean() || r.Findings[0].Code != CodeSize {
				t.Errorf("truncated: %v", r.Findings)
			}
		})
	}
}

// TestCheckFinding pins what a finding looks like.
func TestCheckFinding(t *testing.T) {
	img := mkfs(t, layouts()[1], tree(t))
	runTool(t, "debugfs", "-w", "-R", "sif /etc/deep/er/data links_count 3", img)
	r := mustCheck(t, img)
	if len(r.Findings) != 1 {
		t.Fatalf("%v", r.Findings)
	}
	f := r.Findings[0]
	if f.Code != CodeLinks || f.Path != "etc/deep/er/data" || f.Inode == 0 || f.Group != -1 {
		t.Errorf("%+v", f)
	}
	if s := f.String(); !strings.HasPrefix(s, "link-count, inode ") || !strings.HasSuffix(s, ` ("etc/deep/er/data"): it counts 3, there are 1`) {
		t.Error(s)
	}
}

// TestCheckReleases checks the root file systems of the images that stand in
// for Raspberry Pi OS's releases: of the oldest and the newest, of all with EXT4_TEST_SLOW.
func TestCheckReleases(t *testing.T) {
	images, err := filepath.Glob("../../testdata/images/*.img.xz")
	if err != nil || len(images) == 0 {
		t.Fatal(images, err)
	}
	if os.Getenv("EXT4_TEST_SLOW") == "" {
		images = []string{"../../testdata/images/stretch.img.xz", "../../testdata/images/trixie-2026-04.img.xz"}
	}
	for _, packed := range images {
		t.Run(filepath.Base(packed), func(t *testing.T) {
			img := filepath.Join(t.TempDir(), "image")
			out, err := os.Create(img)
			if err != nil {
				t.Fatal(err)
			}
			xz := exec.Command(tooltest.Path(t, "xz"), "-dc", packed)
			xz.Stdout = out
			if err := errors.Join(xz.Run(), out.Close()); err != nil {
				t.Fatal(err)
			}
			st, _ := storage(t, img)
			entry := make([]byte, 16)
			if _, err := st.ReadAt(entry, 0x1BE+16); err != nil {
				t.Fatal(err)
			}
			fsck(t, fmt.Sprintf("%s?offset=%d", img, int64(binary.LittleEndian.Uint32(entry[8:]))*512))
		})
	}
}

// TestCheckHostile bounds the work on images in which a little claims a lot.
func TestCheckHostile(t *testing.T) {
	img := mkfs(t, layout{"", []string{"-b", "1024", "-N", "65536", "-I", "128", "-O", "^metadata_csum,^has_journal"}, "64M", nil}, "")
	e := openImage(t, img, true)
	data, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	for _, mode := range []uint16{modeRegular, modeDir, modeSymlink} {
		data := bytes.Clone(data)
		for ino := uint32(12); ino <= e.sb.inodes; ino++ {
			g, err := e.group((ino - 1) / e.sb.inodesPerGroup)
			if err != nil {
				t.Fatal(err)
			}
			le.PutUint16(data[int(g.buf.blk)*1024+g.off+gdFlags:], 0)
			le.PutUint16(data[int(g.buf.blk)*1024+g.off+gdUnusedLo:], 0)
			raw := data[int64(g.inodeTable())*1024+int64((ino-1)%e.sb.inodesPerGroup)*128:][:128]
			le.PutUint16(raw[iMode:], mode|0o644)
			le.PutUint16(raw[iLinks:], 1)
			le.PutUint32(raw[iSizeLo:], 1<<30)
			le.PutUint32(raw[iFlags:], flagExtents)
			var entries []byte
			for i := range uint32(4) {
				entries = le.AppendUint32(entries, i*15000)
				entries = le.AppendUint32(entries, 15000)
				entries = le.AppendUint32(entries, 100+i*15000)
			}
			putNode(raw[iBlock:iBlock+iBlockLen], entries, rootExtents, 0)
		}
		start := time.Now()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := Check(bytes.NewReader(data), 0, int64(len(data)), CheckOptions{})
		runtime.ReadMemStats(&after)
		if err != nil || r.Clean() || len(r.Findings) != 1000 {
			t.Errorf("mode %#o: %v, %d findings", mode, err, len(r.Findings))
		}
		t.Logf("mode %#o: %v, %d MiB allocated", mode, time.Since(start), (after.TotalAlloc-before.TotalAlloc)>>20)
		if n := after.TotalAlloc - before.TotalAlloc; n > 4*uint64(len(data)) {
			t.Errorf("mode %#o: %d bytes were allocated", mode, n)
		}
	}
}

// TestCheckCopy damages the superblock: the check goes on with a copy.
func TestCheckCopy(t *testing.T) {
	for _, l := range []layout{layouts()[4], layouts()[7]} {
		img := mkfs(t, l, tree(t))
		data, err := os.ReadFile(img)
		if err != nil {
			t.Fatal(err)
		}
		clear(data[superblockOffset : superblockOffset+superblockSize])
		r, err := Check(bytes.NewReader(data), 0, int64(len(data)), CheckOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if f := r.Findings[0]; f.Code != CodeSuperblock || !strings.Contains(f.Detail, "the copy in group 1") || r.Directories != 6 {
			t.Errorf("%v", r)
		}
	}
}
