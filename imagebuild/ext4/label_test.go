package ext4

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// maskSupers clears what tune2fs sets in superblocks beside what it is asked
// for: the time of writing, what was written so far, and in the copies what
// debugfs set in the first only.
func maskSupers(sb *superblock, img []byte) {
	for g := range sb.groups {
		if !sb.hasSuper(g) {
			continue
		}
		off := sb.groupStart(g) * uint64(sb.blockSize)
		if g == 0 {
			off = superblockOffset
		}
		s := img[off : off+superblockSize]
		for _, f := range [][2]int{{0x2C, 0x34}, {0xFC, 0xFD}, {0x160, 0x164}, {0x178, 0x180}, {0x274, 0x27B}, {sbChecksum, sbChecksum + 4}} {
			clear(s[f[0]:f[1]])
		}
	}
}

// TestLabelAndUUID does what tune2fs does, byte for byte, copies included.
func TestLabelAndUUID(t *testing.T) {
	const uuid = "99999999-aaaa-bbbb-cccc-dddddddddddd"
	var id [16]byte
	if _, err := hex.Decode(id[:], []byte(strings.ReplaceAll(uuid, "-", ""))); err != nil {
		t.Fatal(err)
	}
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, tree(t))
			theirs := filepath.Join(t.TempDir(), "theirs.img")
			data, err := os.ReadFile(img)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(theirs, data, 0o600); err != nil {
				t.Fatal(err)
			}
			f := openImage(t, img, false)
			if f.sb.metadataCsum() && !f.sb.hasIncompat(incompatCsumSeed) {
				runTool(t, "tune2fs", "-O", "metadata_csum_seed", theirs)
			}
			runTool(t, "tune2fs", "-L", "sixteen bytes ok", "-U", uuid, theirs)
			if err := errors.Join(f.SetUUID(id), f.SetLabel("sixteen bytes ok")); err != nil {
				t.Fatal(err)
			}
			if i := f.Info(); i.UUID != uuid || i.Label != "sixteen bytes ok" {
				t.Errorf("%+v", i)
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			ours, err := os.ReadFile(img)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(theirs)
			if err != nil {
				t.Fatal(err)
			}
			maskSupers(f.sb, ours)
			maskSupers(f.sb, want)
			for off := range ours {
				if ours[off] != want[off] {
					t.Fatalf("byte %#x (block %d) is %#02x, with tune2fs %#02x", off, off/f.sb.blockSize, ours[off], want[off])
				}
			}
			// It goes on under the new UUID, in the same session and in the next.
			put(t, f, "etc/new", noise(30000, 1))
			if err := errors.Join(f.Mkdir("etc/dir"), f.Close()); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			f = openImage(t, img, false)
			put(t, f, "etc/newer", noise(30000, 1))
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			if l.name == "bookworm" || l.name == "2k-uninit_bg" {
				mountAndCompare(t, openImage(t, img, true), "ro,loop", img, digest(t, openImage(t, img, true)))
			}
		})
	}
}

// TestDamagedSuperblockCopy leaves a copy alone that is not the superblock's.
func TestDamagedSuperblockCopy(t *testing.T) {
	img := mkfs(t, layout{"", []string{"-b", "1024", "-O", "metadata_csum"}, "40M", nil}, "")
	f := openImage(t, img, false)
	off := int64(f.sb.groupStart(1)) * 1024
	data, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	data[off+0x200] ^= 1
	g := memory{bytes.NewReader(data), data}
	if f, err = Open(g, 0, int64(len(data)), Options{}); err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(data[off : off+1024])
	if err := errors.Join(f.SetLabel("other"), f.SetUUID([16]byte{1, 2, 3}), f.Close()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, data[off:off+1024]) {
		t.Error("the damaged copy was changed")
	}
	if off = int64(f.sb.groupStart(3)) * 1024; !bytes.Contains(data[off:off+1024], []byte("other")) {
		t.Error("the copy in group 3 does not have the label")
	}
}

// TestUUIDRefusals refuses what would break by another UUID.
func TestUUIDRefusals(t *testing.T) {
	for _, c := range [][2]string{{"stable_inodes", "stable_inodes"}, {"ea_inode,^metadata_csum", "ea_inode"}} {
		img := mkfs(t, layout{"", []string{"-O", c[0]}, "16M", nil}, "")
		f := openImage(t, img, false)
		uuid := f.Info().UUID
		var u *UnsupportedError
		if err := f.SetUUID([16]byte{1}); !errors.As(err, &u) || !strings.Contains(err.Error(), c[1]) || f.Info().UUID != uuid {
			t.Errorf("%s: %v, %s", c[0], err, f.Info().UUID)
		}
	}
}
