package ext4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// journalImage is a small image whose journal debugfs has filled: with three
// blocks of a file, one of them escaped; a transaction that revokes the second
// and writes the third anew; and one that was not committed.
func journalImage(t testing.TB, features, open string) (img string, targets []uint64) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), noise(5<<20, 9), 0o600); err != nil {
		t.Fatal(err)
	}
	img = mkfs(t, layout{"", strings.Fields(features), "16M", nil}, dir)
	f := openImage(t, img, true)
	in, err := f.find("data", false)
	if err != nil {
		t.Fatal(err)
	}
	m, err := in.blocks()
	if err != nil {
		t.Fatal(err)
	}
	for l := range uint32(4) {
		targets = append(targets, m.lookup(l).phys)
	}
	bs := f.sb.blockSize
	file := func(name string, blocks ...[]byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, bytes.Join(blocks, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	escaped := append([]byte{0xC0, 0x3B, 0x39, 0x98}, noise(bs-4, 1)...)
	first := file("first", noise(bs, 2), noise(bs, 3), escaped)
	second := file("second", bytes.Repeat(escaped[:4], bs/4))
	third := file("third", noise(bs, 4))
	revoke := fmt.Sprintf("jw -r %d /dev/null\n", targets[1])
	if open == "-c" {
		revoke = "" // checksum v1: debugfs writes one for revoke blocks that neither e2fsck nor the kernel take for right
	}
	commands := file("commands", fmt.Appendf(nil, "jo %s\njw -b %d,%d,%d %s\n%sjw -b %d %s\njw -c -b %d %s\njc\n",
		open, targets[0], targets[1], targets[2], first, revoke, targets[2], second, targets[3], third))
	runTool(t, "debugfs", "-w", "-f", commands, img)
	return img, targets
}

// journalBlock returns where block n of an image's journal is.
func journalBlock(t testing.TB, img string, n uint32) int64 {
	t.Helper()
	f := openImage(t, img, true)
	in, err := f.inode(f.sb.journalIno)
	if err != nil {
		t.Fatal(err)
	}
	m, err := in.blocks()
	if err != nil {
		t.Fatal(err)
	}
	return int64(m.lookup(n).phys) * int64(f.sb.blockSize)
}

func readAllOf(t testing.TB, name string) []byte {
	t.Helper()
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestDebugfsJournal replays what debugfs wrote, and compares the image byte for
// byte with what e2fsck's replay and debugfs's own leave.
func TestDebugfsJournal(t *testing.T) {
	for _, c := range []struct{ name, features, open string }{
		{"1k", "-b 1024 -O 64bit,metadata_csum", ""},
		{"1k-v2", "-b 1024 -O 64bit,metadata_csum", "-c -v 2"},
		{"1k-v3", "-b 1024 -O 64bit,metadata_csum", "-c -v 3"},
		{"1k-32-v1", "-b 1024 -O ^64bit,^metadata_csum", "-c"},
		{"1k-32-v2", "-b 1024 -O ^64bit,metadata_csum", "-c -v 2"},
		{"4k-v1", "-b 4096 -O 64bit,^metadata_csum", "-c"},
		{"4k-v2", "-b 4096 -O 64bit,metadata_csum", "-c -v 2"},
		{"4k-32", "-b 4096 -O ^64bit,^metadata_csum", ""},
		{"4k-32-v3", "-b 4096 -O ^64bit,metadata_csum", "-c -v 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			img, targets := journalImage(t, c.features, c.open)
			byDebugfs, byE2fsck := filepath.Join(t.TempDir(), "debugfs.img"), filepath.Join(t.TempDir(), "e2fsck.img")
			copyFile(t, img, byDebugfs)
			copyFile(t, img, byE2fsck)
			runTool(t, "debugfs", "-w", "-R", "jr", byDebugfs)
			runTool(t, "e2fsck", "-y", "-E", "journal_only", byE2fsck)
			others := map[string][]byte{"debugfs": readAllOf(t, byDebugfs), "e2fsck": readAllOf(t, byE2fsck)}
			before, super := readAllOf(t, img), journalBlock(t, img, 0)

			want := Recovery{Transactions: 3, Blocks: 2, Revoked: 1}
			if c.open == "-c" {
				want = Recovery{Transactions: 2, Blocks: 3}
			}
			if r := recovered(t, img, os.Geteuid() == 0); r != want {
				t.Errorf("recovered %+v, want %+v", r, want)
			}
			f := openImage(t, img, false)
			bs := int64(f.sb.blockSize)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			ours := readAllOf(t, img)
			for who, other := range others {
				for off := int64(0); off < int64(len(ours)); off += 1024 {
					a, b := ours[off:off+1024], other[off:off+1024]
					if off == superblockOffset || bytes.Equal(a, b) {
						continue
					}
					if off == super && who == "debugfs" { // it leaves the number of its last transaction
						continue
					}
					t.Errorf("%s: byte %d, of block %d, differs", who, off, off/bs)
				}
			}
			for i, blk := range targets {
				at := int64(blk) * bs
				if changed, want := !bytes.Equal(ours[at:at+bs], before[at:at+bs]), i < 3 && (i != 1 || want.Revoked == 0); changed != want {
					t.Errorf("block %d of the file: changed is %v, should be %v", i, changed, want)
				}
			}
			if at := int64(targets[2]) * bs; binary.BigEndian.Uint32(ours[at:]) != 0xC03B3998 {
				t.Error("an escaped block lacks its first word")
			}
		})
	}
}

// TestDamagedJournal damages the journals of debugfs. Nothing is written then.
func TestDamagedJournal(t *testing.T) {
	// Of the journal: 0 the superblock, 1 a descriptor block, 2 to 4 its data, 5
	// the commit block, 6 a revoke block, 7 its commit block, 8 to 10 the last complete transaction.
	images := map[string]string{} // by checksum
	for _, v := range []string{"", "-c -v 2", "-c -v 3"} {
		images[v], _ = journalImage(t, "-b 1024 -O 64bit,metadata_csum", v)
	}
	images["-c"], _ = journalImage(t, "-b 1024 -O 64bit,^metadata_csum", "-c")
	for _, c := range []struct {
		name, open string
		block      uint32
		off        int64
		to         []byte
		want       string // of the error, or ""
	}{
		{"tag checksum", "-c -v 3", 2, 100, []byte("damaged"), "block 2 of it: checksum is wrong, of what is to be block"},
		{"tag checksum v2", "-c -v 2", 4, 100, []byte("damaged"), "block 4 of it: checksum is wrong"},
		{"checksum v1", "-c", 4, 100, []byte("damaged"), "block 5 of it: checksum of transaction 1 is wrong"},
		{"data that was revoked", "-c -v 3", 3, 100, []byte("damaged"), ""},
		{"no checksums", "", 2, 100, []byte("damaged"), ""},
		{"commit block", "-c -v 3", 5, 100, []byte("damaged"), "block 5 of it: checksum of transaction 1 is wrong"},
		{"descriptor block", "-c -v 2", 1, 100, []byte("damaged"), "block 1 of it: checksum is wrong"},
		{"revoke block", "-c -v 3", 6, 100, []byte("damaged"), "block 6 of it: checksum is wrong"},
		{"superblock", "-c -v 3", 0, 0x20, []byte{1}, "block 0 of it: checksum is"},
		{"magic number", "", 0, 0, []byte{1}, "block 0 of it: it does not begin"},
		{"length", "", 0, 0x10, []byte{1}, "blocks, but only"},
		{"first block", "", 0, 0x14, []byte{0, 0, 0, 0}, "the log begins at block 0"},
		{"start", "", 0, 0x1C, []byte{1}, "the oldest transaction is at block"},
		{"feature", "", 0, 0x28, []byte{1}, "unknown incompat features 0x1000000"},
		{"error", "", 0, 0x20, []byte{0xFF, 0xFF, 0xFF, 0xFB}, "errors recorded in its journal (-5)"},
		{"target out of the file system", "", 1, 12, []byte{9}, "of a file system of"},
		{"torn in the middle", "", 5, 0, []byte{0}, ""},
		{"revoke count", "", 6, 12, []byte{0x7F}, "revoke records of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := images[c.open]
			data := readAllOf(t, img)
			copy(data[journalBlock(t, img, c.block)+c.off:], c.to)
			before := bytes.Clone(data)
			f, err := Open(newMemory(data), 0, int64(len(data)), Options{})
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if c.name == "torn in the middle" && f.Recovery().Transactions != 0 {
					t.Errorf("%+v", f.Recovery())
				}
				return
			}
			var damaged *CorruptError
			var unsupported *UnsupportedError
			if !errors.As(err, &damaged) && !errors.As(err, &unsupported) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want one that names %q", err, c.want)
			}
			if !bytes.Equal(before, data) {
				t.Error("it was written to")
			}
		})
	}
}

// TestJournalRefused sees to what is refused of journals that are whole.
func TestJournalRefused(t *testing.T) {
	for _, c := range []struct{ name, command, want string }{
		{"no recovery needed", "feature ^needs_recovery", "though it needs no recovery"},
		{"no journal", "feature ^has_journal", "needs its journal to be replayed, but has none"},
		{"errors", "ssv state 3", "errors recorded by the kernel"},
		{"inode", "ssv journal_inum 2", "it is not a regular file"},
		{"free inode", "ssv journal_inum 9", "not in use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			img, _ := journalImage(t, "-b 1024 -O 64bit,^metadata_csum", "")
			runTool(t, "debugfs", "-w", "-R", c.command, img)
			data := readAllOf(t, img)
			before := bytes.Clone(data)
			if _, err := Open(newMemory(data), 0, int64(len(data)), Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want one that names %q", err, c.want)
			}
			if !bytes.Equal(before, data) {
				t.Error("it was written to")
			}
		})
	}
}

// TestFastCommits has the kernel write some: they are refused, unless later
// transactions have made them out of date.
func TestFastCommits(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	img, dir := mkfs(t, layout{"", []string{"-b", "4096", "-O", "fast_commit,metadata_csum"}, "32M", nil}, ""), t.TempDir()
	if out, err := exec.Command("mount", "-t", "ext4", "-o", "loop,commit=300", img, dir).CombinedOutput(); err != nil {
		t.Skipf("the kernel does not mount it: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", dir).Run() })
	stage := func(script string) string {
		t.Helper()
		runTool(t, "sh", "-ec", "cd "+dir+"; "+script)
		crash := filepath.Join(t.TempDir(), "crash.img")
		copyFile(t, img, crash)
		return crash
	}
	none := stage("mkdir d; sync")
	some := stage("echo x > d/f; sync d/f")
	past := stage("mkdir e; sync")
	unmount(t, dir)
	if out := runTool(t, "debugfs", "-R", "logdump", some); !strings.Contains(out, "tag TAIL") {
		t.Skipf("the kernel does not make fast commits")
	}
	for _, img := range []string{none, past} {
		if r := recovered(t, img, true); r.Transactions == 0 {
			t.Errorf("%+v", r)
		}
	}
	data := readAllOf(t, some)
	before := bytes.Clone(data)
	var unsupported *UnsupportedError
	_, err := Open(newMemory(data), 0, int64(len(data)), Options{})
	if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "fast commits") {
		t.Errorf("%v, want an UnsupportedError that names fast commits", err)
	}
	if !bytes.Equal(before, data) {
		t.Error("it was written to")
	}
}

// TestJournaledSuperblock has a superblock in the journal. It counts, but not
// for what is known of errors, and not if it is another file system's.
func TestJournaledSuperblock(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(super []byte)
		want   string // of the error, or ""
	}{
		{"label", func(p []byte) { copy(p[sbLabel:], "journaled") }, ""},
		{"magic number", func(p []byte) { p[0x38] = 0 }, "this is no ext4 file system"},
		{"errors", func(p []byte) { p[0x3A] |= stateErrors }, "errors recorded by the kernel"},
		{"feature", func(p []byte) { p[sbROCompat+1] |= 2 }, "bigalloc"},
		{"journal", func(p []byte) { p[0xE0] = 11 }, "that of another file system"},
		{"length", func(p []byte) { p[7] = 1 }, "the image is truncated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := mkfs(t, layout{"", []string{"-b", "1024", "-O", "^64bit,^metadata_csum"}, "16M", nil}, "")
			super := readAllOf(t, img)[superblockOffset:][:superblockSize]
			c.change(super)
			file := filepath.Join(t.TempDir(), "super")
			commands := filepath.Join(t.TempDir(), "commands")
			if err := errors.Join(os.WriteFile(file, super, 0o600),
				os.WriteFile(commands, []byte("ssv error_count 7\njo\njw -b 1 "+file+"\njc\n"), 0o600)); err != nil {
				t.Fatal(err)
			}
			runTool(t, "debugfs", "-w", "-f", commands, img)
			data := readAllOf(t, img)
			before := bytes.Clone(data)
			f, err := Open(newMemory(data), 0, int64(len(data)), Options{})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want one that names %q", err, c.want)
				}
				if !bytes.Equal(before, data) {
					t.Error("it was written to")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n := data[superblockOffset+sbErrors]; f.Label() != "journaled" || n != 7 {
				t.Errorf("label %q, %d errors", f.Label(), n)
			}
		})
	}
}
