package ext4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// structure is one of those of an image, which can be damaged: so many bytes
// from off on. mend makes its checksum right, so that the damage itself is to be found.
type structure struct {
	what string
	off  int64
	size int
	mend func(img []byte)
}

// richImage has something of everything that a layout knows.
func richImage(t testing.TB, l layout) string {
	img := mkfs(t, l, tree(t))
	value := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(value, bytes.Repeat([]byte("v"), 700), 0o600); err != nil {
		t.Fatal(err)
	}
	if l.name != "ext2-128" {
		runTool(t, "debugfs", "-w", "-R", "ea_set /etc/hostname user.small x", img)
	}
	runTool(t, "debugfs", "-w", "-R", "ea_set -f "+value+" /etc/empty user.large", img)
	if strings.HasPrefix(l.name, "inline") || l.name == "mmp" {
		return img // which this package does not write
	}
	f := openImage(t, img, false)
	file, err := f.OpenFile("holes", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		if _, err := file.(*File).WriteAt([]byte("x"), int64(i*2*f.sb.blockSize)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(file.Close(), f.Link("holes", "etc/linked"), f.Mkdir("indexed")); err != nil {
		t.Fatal(err)
	}
	for i := range 6 * f.sb.blockSize / 1024 * 20 {
		if i > 1500 {
			break
		}
		if err := f.Symlink("x", fmt.Sprintf("indexed/an-entry-of-some-length-%d", i)); err != nil {
			break // a small file system has few inodes
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return img
}

// structures lists the structures of a file system.
func structures(t testing.TB, f *FS) []structure {
	sb, bs := f.sb, int64(f.sb.blockSize)
	le := binary.LittleEndian
	sealSuper := func(img []byte) {
		if sb.metadataCsum() {
			le.PutUint32(img[superblockOffset+sbChecksum:], crc32c(^uint32(0), img[superblockOffset:superblockOffset+sbChecksum]))
		}
	}
	out := []structure{{"superblock", superblockOffset, superblockSize, sealSuper}}
	for n := range sb.groups {
		g, err := f.group(n)
		if err != nil {
			t.Fatal(err)
		}
		off := int64(g.buf.blk)*bs + int64(g.off)
		sealDesc := func(img []byte) {
			if sb.groupCsum() {
				d := img[off : off+int64(sb.descSize)]
				le.PutUint16(d[gdChecksum:], sb.descChecksum(n, d))
			}
		}
		out = append(out, structure{"group descriptor", off, sb.descSize, sealDesc})
		for _, b := range []struct {
			what   string
			at     uint64
			size   uint32
			lo, hi int
		}{
			{"block bitmap", g.blockBitmap(), sb.blocksPerGroup / 8, gdBlockBitmapCsum, gdBlockCsumHi},
			{"inode bitmap", g.inodeBitmap(), sb.inodesPerGroup / 8, gdInodeBitmapCsum, gdInodeCsumHi},
		} {
			out = append(out, structure{b.what, int64(b.at) * bs, int(bs), func(img []byte) {
				if sb.metadataCsum() {
					c := crc32c(sb.csumSeed, img[int64(b.at)*bs:][:b.size])
					le.PutUint16(img[off+int64(b.lo):], uint16(c))
					if sb.descSize > b.hi {
						le.PutUint16(img[off+int64(b.hi):], uint16(c>>16))
					}
					sealDesc(img)
				}
			}})
		}
	}
	for ino := uint32(1); ino <= sb.inodes; ino++ {
		b, off, err := f.locate(ino)
		if err != nil {
			t.Fatal(err)
		}
		in := &inode{fs: f, ino: ino, raw: bytes.Clone(b.data[off : off+sb.inodeSize])}
		if in.links() > 0 || ino < 12 {
			out = append(out, inodeStructures(t, in, int64(b.blk)*bs+int64(off))...)
		}
		if err := f.trim(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// inodeStructures lists an inode at byte at of the image, and what hangs on it.
func inodeStructures(t testing.TB, in *inode, at int64) []structure {
	sb, bs := in.fs.sb, int64(in.fs.sb.blockSize)
	le := binary.LittleEndian
	out := []structure{{"inode " + strconv.Itoa(int(in.ino)), at, sb.inodeSize, func(img []byte) {
		if raw := img[at : at+int64(sb.inodeSize)]; sb.metadataCsum() {
			c := sb.inodeChecksum(in.ino, raw)
			le.PutUint16(raw[iChecksumLo:], uint16(c))
			if hasChecksumHi(raw) {
				le.PutUint16(raw[iChecksumHi:], uint16(c>>16))
			}
		}
	}}}
	block := func(what string, blk uint64, mend func(p []byte)) {
		out = append(out, structure{fmt.Sprintf("%s of inode %d", what, in.ino), int64(blk) * bs, int(bs), func(img []byte) {
			if sb.metadataCsum() {
				mend(img[int64(blk)*bs : int64(blk+1)*bs])
			}
		}})
	}
	if blk := in.xattrBlock(); blk != 0 {
		block("attributes", blk, func(p []byte) { sb.sealXattrs(blk, p) })
	}
	switch {
	case in.ino == resizeIno:
		block("pointers", uint64(in.u32(iBlock+4*13)), func([]byte) {})
		return out
	case !in.hasMap():
		return out
	}
	c := &checker{fs: in.fs, sb: sb, report: &Report{}, limit: 1}
	runs, _, err := c.content(in)
	if err != nil {
		t.Fatal(err)
	}
	w := c.newWalk(in, bitset{})
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	w.trees.runs(0, sb.blocks, func(blk, n uint64) {
		for ; n > 0; blk, n = blk+1, n-1 {
			if !in.has(flagExtents) {
				block("pointers", blk, func([]byte) {})
				continue
			}
			block("extents", blk, func(p []byte) {
				if tail := extentEntry * (1 + int(le.Uint16(p[4:]))); tail+4 <= len(p) {
					le.PutUint32(p[tail:], crc32c(in.seed(), p[:tail]))
				}
			})
		}
	})
	if in.ino == sb.journalIno { // its checksum stays as it is
		out = append(out, structure{"journal superblock", int64(runs[0].phys) * bs, 1024, func([]byte) {}})
	}
	if in.ino == sb.orphanFileIno {
		b := &buffer{blk: runs[0].phys}
		block("orphan file", b.blk, func(p []byte) {
			b.data = p
			le.PutUint32(p[len(p)-4:], in.orphanChecksum(b))
		})
	}
	for _, r := range runs {
		for n := range r.count {
			if n += r.logical; in.isDir() {
				block("directory block "+strconv.Itoa(int(n)), r.phys+uint64(n-r.logical), func(p []byte) { sealDirBlock(in, p, n) })
			}
		}
	}
	return out
}

func sealDirBlock(in *inode, p []byte, n uint32) {
	le := binary.LittleEndian
	off, ok := in.dxEntries(p, n)
	if !ok {
		tail := len(p) - dirTail
		le.PutUint32(p[tail+8:], crc32c(in.seed(), p[:tail]))
		return
	}
	limit, count := int(le.Uint16(p[off:])), int(le.Uint16(p[off+2:]))
	if tail := off + limit*dxEntry; count <= limit && tail+dxTail <= len(p) {
		le.PutUint32(p[tail+4:], in.dxChecksum(p, off, count, tail))
	}
}

// damage changes a few bytes at off, by one of the ways in which things go wrong.
func damage(rng *rand.Rand, p []byte, off int) string {
	width := []int{1, 2, 4}[rng.IntN(3)]
	off &^= width - 1
	field := p[off : off+width]
	old := bytes.Clone(field)
	switch rng.IntN(6) {
	case 0:
		clear(field)
	case 1:
		field[rng.IntN(width)] ^= 1 << rng.IntN(8)
	case 2:
		field[0]++
	case 3:
		field[0]--
	case 4:
		for i := range field {
			field[i] = 0xFF
		}
	case 5:
		for i := range field {
			field[i] = byte(rng.Uint32())
		}
	}
	return fmt.Sprintf("byte %#x: %x was %x", off, field, old)
}

// TestDamage damages one field after the other, with and without making the
// checksums right, and compares what Check thinks of it with what e2fsck does.
// EXT4_TEST_DAMAGE is how often it does that for each layout, instead of a few
// times for some; EXT4_TEST_SEED chooses other damages.
func TestDamage(t *testing.T) {
	times, err := strconv.Atoi(os.Getenv("EXT4_TEST_DAMAGE"))
	short := map[string]bool{"stretch": true, "trixie": true, "1k": true, "1k-uninit_bg": true, "ext2-128": true, "ext3-csum": true, "inline": true}
	if err != nil {
		times = 20
	} else {
		short = nil
	}
	for _, l := range append(layouts(),
		layout{"inline", []string{"-O", "inline_data,metadata_csum"}, "16M", nil},
		layout{"inline-1k", []string{"-b", "1024", "-I", "512", "-O", "inline_data,^metadata_csum,^64bit"}, "16M", nil},
		layout{"mmp", []string{"-b", "1024", "-O", "mmp"}, "16M", nil},
	) {
		if l.name == "64k" || short != nil && !short[l.name] {
			continue // 64 KiB blocks are too slow to be looked at often
		}
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := richImage(t, l)
			fsck(t, img)
			clean, err := os.ReadFile(img)
			if err != nil {
				t.Fatal(err)
			}
			list := structures(t, openImage(t, img, true))
			seed, _ := strconv.ParseUint(os.Getenv("EXT4_TEST_SEED"), 10, 64)
			rng := rand.New(rand.NewPCG(seed, uint64(len(l.name))))
			out, err := os.OpenFile(img, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			data := bytes.Clone(clean)
			for range times {
				damageOnce(t, rng, list, out, data, clean)
			}
		})
	}
}

// damageOnce damages a part of data, writes it to the image, and takes it back.
func damageOnce(t *testing.T, rng *rand.Rand, list []structure, img *os.File, data, clean []byte) {
	p := list[rng.IntN(len(list))]
	if rng.IntN(3) == 0 { // there are many more inodes and directories than anything else
		for strings.HasPrefix(p.what, "inode ") || strings.HasPrefix(p.what, "directory") {
			p = list[rng.IntN(len(list))]
		}
	}
	size := p.size
	if rng.IntN(2) == 0 {
		size = min(size, 128)
	}
	how := damage(rng, data[p.off:p.off+int64(p.size)], rng.IntN(size))
	if rng.IntN(4) > 0 {
		p.mend(data)
		how += ", checksums mended"
	}
	write := func(from, to []byte) {
		const step = 1024
		for off := 0; off < len(from); off += step {
			end := min(off+step, len(from))
			if !bytes.Equal(from[off:end], to[off:end]) {
				if _, err := img.WriteAt(to[off:end], int64(off)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	write(clean, data)
	report, err := Check(bytes.NewReader(data), 0, int64(len(data)), CheckOptions{})
	text, peer := e2fsckOutput(t, img.Name())
	if ours := err == nil && report.Clean(); ours != (peer == nil) && !knownDifference(report, err, text) {
		t.Errorf("%s, %s: Check: %v %+v, e2fsck: %v\n%.1500s", p.what, how, err, report, peer, text)
	}
	write(data, clean)
	copy(data, clean)
}

// knownDifference says whether the verdicts differ for a reason that is known.
func knownDifference(r *Report, err error, e2fsck string) bool {
	var unsupported *UnsupportedError
	if errors.As(err, &unsupported) {
		return true // e2fsck knows inodes of GNU/Hurd, and a few features more
	}
	if r == nil || r.Clean() {
		return strings.Contains(e2fsck, "is in the future") // for which Check would need a clock
	}
	for _, f := range r.Findings {
		switch {
		// e2fsck does not compare the depths of nodes; the kernel refuses them.
		case f.Code == CodeExtents && strings.Contains(f.Detail, "depth is"):
		// Blocks that hold structures of groups with BLOCK_UNINIT are in use
		// for e2fsck whatever the bitmap says, and so is the checksum right.
		case f.Code == CodeBlockBitmap && strings.Contains(f.Detail, "in use, but marked as free"), f.Code == CodeBitmapSum:
		// Of the reserved blocks, e2fsck looks at the first quarter.
		case f.Code == CodeResizeInode, f.Code == CodeInodeBlocks && f.Inode == resizeIno:
		// Where the log begins and ends matters to e2fsck when it replays it.
		case f.Code == CodeJournal && strings.Contains(f.Detail, "the log begins"):
		// A file may be shorter in its inode than its size says.
		case f.Code == CodeInlineData, f.Code == CodeInodeSize && strings.Contains(f.Detail, "inline data"):
		default:
			return false
		}
	}
	return true
}
