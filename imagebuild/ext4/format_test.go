package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string // of mkfs
		cmds []string // of debugfs
		want string
		read bool // reading is possible
	}{
		{"error flag", nil, []string{"ssv state 3"}, "errors recorded", true},
		{"not clean", []string{"-O", "^has_journal"}, []string{"ssv state 0"}, "clean unmount", true},
		{"quota", []string{"-O", "quota"}, nil, "quota", true},
		{"project", []string{"-O", "quota,project"}, nil, "project", true},
		{"bigalloc", []string{"-O", "bigalloc"}, nil, "bigalloc", true},
		{"casefold", []string{"-O", "casefold"}, nil, "casefold", true},
		{"encrypt", []string{"-O", "encrypt"}, nil, "encrypt", true},
		{"verity", []string{"-O", "verity"}, nil, "verity", true},
		{"inline_data", []string{"-O", "inline_data"}, nil, "inline_data", true},
		{"mmp", []string{"-O", "mmp"}, nil, "mmp", true},
		{"external journal", nil, []string{"ssv journal_dev 5"}, "external journal", true},
		{"hurd", nil, []string{"ssv creator_os 1"}, "Hurd", true},
		{"journal device", []string{"-O", "journal_dev"}, nil, "journal_dev", false},
		{"unknown incompat", nil, []string{"ssv feature_incompat 0x40002c2"}, "unknown incompat feature 0x4000000", false},
		{"unknown ro_compat", nil, []string{"ssv feature_ro_compat 0x4000046b"}, "unknown ro_compat feature 0x40000000", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := mkfs(t, layout{"", append([]string{"-b", "4096"}, c.args...), "16M", nil}, "")
			for _, cmd := range c.cmds {
				runTool(t, "debugfs", "-w", "-R", cmd, img)
			}
			before, err := os.ReadFile(img)
			if err != nil {
				t.Fatal(err)
			}
			st, size := storage(t, img)
			_, err = Open(st, 0, size, Options{})
			var unsupported *UnsupportedError
			if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("open for writing: %v, want one that names %q", err, c.want)
			}
			f, err := Open(st, 0, size, Options{ReadOnly: true})
			if c.read != (err == nil) {
				t.Fatalf("open for reading: %v", err)
			}
			if c.read {
				if _, err := f.ReadDir("."); err != nil {
					t.Error(err)
				}
				if err := f.Mkdir("x"); err == nil {
					t.Error("mkdir on a read-only file system")
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
			if after, err := os.ReadFile(img); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the image was changed (%v)", err)
			}
		})
	}
}

func TestDeepExtentTree(t *testing.T) {
	for _, l := range []layout{
		{"1k", []string{"-b", "1024", "-O", "metadata_csum,64bit"}, "64M", nil},
		{"1k-stretch", []string{"-b", "1024", "-O", "^metadata_csum,^64bit"}, "64M", nil},
		{"ext3", []string{"-t", "ext3", "-b", "1024"}, "64M", nil},
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, "")
			f := openImage(t, img, false)
			file, err := f.OpenFile("holes", os.O_RDWR|os.O_CREATE)
			if err != nil {
				t.Fatal(err)
			}
			const n = 2000
			want := make([]byte, n*2048)
			for i := range n {
				i = i * 7919 % n
				p := noise(1024, uint32(i))
				copy(want[2048*i:], p)
				if _, err := file.(*File).WriteAt(p, int64(2048*i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			got, err := f.ReadFile("holes")
			want = want[:n*2048-1024]
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes, %v, want %d", len(got), err, len(want))
			}
			mountAndCompare(t, f, "ro,loop", img, digest(t, f))
			// Cut it in the middle, fill its holes, and remove it.
			file, err = f.OpenFile("holes", os.O_RDWR)
			if err != nil {
				t.Fatal(err)
			}
			if err := file.(*File).Truncate(n*1024 + 100); err != nil {
				t.Fatal(err)
			}
			if _, err := file.Write(noise(600*1024, 9)); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(file.Close(), f.Sync()); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			free := f.Info().FreeBlocks
			if err := errors.Join(f.Remove("holes"), f.Close()); err != nil {
				t.Fatal(err)
			}
			if now := openImage(t, img, true).Info().FreeBlocks; now <= free {
				t.Errorf("%d blocks free after removal, %d before", now, free)
			}
			fsck(t, img)
		})
	}
}

func TestLargeSparseFile(t *testing.T) {
	for _, l := range []layout{layouts()[1], {"ext3", []string{"-t", "ext3", "-b", "4096", "-O", "^large_file"}, "16M", nil}} {
		t.Run(l.name, func(t *testing.T) {
			img := mkfs(t, l, "")
			f := openImage(t, img, false)
			const end = 5<<30 + 1234
			file, err := f.OpenFile("sparse", os.O_RDWR|os.O_CREATE)
			if err != nil {
				t.Fatal(err)
			}
			for _, off := range []int64{end, 1 << 31, 100, 1 << 32} {
				if _, err := file.(*File).WriteAt([]byte("here"), off); err != nil {
					t.Fatal(err)
				}
			}
			p := make([]byte, 8)
			if n, err := file.(*File).ReadAt(p, end-2); n != 6 || string(p[:6]) != "\x00\x00here" {
				t.Errorf("%q, %v", p[:n], err)
			}
			if _, err := f.ReadFile("sparse"); err == nil {
				t.Error("5 GiB were read into memory")
			}
			if err := errors.Join(file.Close(), f.Close()); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
		})
	}
}

// TestManySubdirectories goes past the 65000 links that an inode can count.
func TestManySubdirectories(t *testing.T) {
	if os.Getenv("EXT4_TEST_SLOW") == "" {
		t.Skip("EXT4_TEST_SLOW is not set")
	}
	img := mkfs(t, layout{"", []string{"-b", "1024", "-N", "70000", "-O", "metadata_csum"}, "200M", nil}, "")
	f := openImage(t, img, false)
	for i := range 65100 {
		if err := f.Mkdir(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	fsck(t, img)
	for i := range 200 {
		if err := f.Remove(fmt.Sprint(i * 300)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fsck(t, img)
}

// TestLazyTables uses groups that mkfs left uninitialised, on a disk that was full of other things before.
func TestLazyTables(t *testing.T) {
	for _, features := range []string{"metadata_csum", "^metadata_csum,uninit_bg,^64bit"} {
		t.Run(features, func(t *testing.T) {
			t.Parallel()
			img := filepath.Join(t.TempDir(), "garbage.img")
			if err := os.WriteFile(img, bytes.Repeat([]byte{0xA5, 0x81, 0xFF, 0x41}, 12<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			runTool(t, "mkfs.ext4", "-q", "-F", "-b", "1024", "-N", "8192", "-E", "lazy_itable_init=1,nodiscard", "-O", features, img)
			f := openImage(t, img, false)
			for i := range 40 {
				d := fmt.Sprintf("d%d", i)
				if err := f.Mkdir(d); err != nil {
					t.Fatal(err)
				}
				for j := range 100 {
					put(t, f, fmt.Sprintf("%s/f%d", d, j), noise(j*5, 1))
				}
			}
			put(t, f, "large", make([]byte, 30<<20))
			for i := range 20 {
				for j := range 100 {
					if err := f.Remove(fmt.Sprintf("d%d/f%d", 2*i, j)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
		})
	}
}

// TestXattrs sees to it that extended attributes outlive edits, and that shared blocks of them are counted.
func TestXattrs(t *testing.T) {
	for _, features := range []string{"metadata_csum", "^metadata_csum,^64bit"} {
		t.Run(features, func(t *testing.T) {
			img := mkfs(t, layout{"", []string{"-O", features}, "16M", nil}, tree(t))
			small, large := "small", strings.Repeat("v", 900)
			value := filepath.Join(t.TempDir(), "value")
			if err := os.WriteFile(value, []byte(large), 0o600); err != nil {
				t.Fatal(err)
			}
			runTool(t, "debugfs", "-w", "-R", "ea_set /etc/hostname user.small "+small, img)
			runTool(t, "debugfs", "-w", "-R", "ea_set -f "+value+" /etc/empty user.large", img)
			runTool(t, "debugfs", "-w", "-R", "ea_set -f "+value+" /etc/deep/er/data user.large", img)
			f := openImage(t, img, false)
			put(t, f, "etc/hostname", noise(20000, 1))
			put(t, f, "etc/empty", noise(20000, 2))
			if err := errors.Join(f.Chmod("etc/hostname", 0o600), f.Lchown("etc/empty", 5, 5), f.Rename("etc/hostname", "moved"),
				f.Remove("etc/deep/er/data"), f.Close()); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			if out := runTool(t, "debugfs", "-R", "ea_get -V /moved user.small", img); !strings.Contains(out, small) {
				t.Errorf("user.small is gone: %s", out)
			}
			if out := runTool(t, "debugfs", "-R", "ea_get -V /etc/empty user.large", img); !strings.Contains(out, large) {
				t.Errorf("user.large is gone: %s", out)
			}
		})
	}
}

// TestKernelGoesOn lets the kernel prepare a file system (preallocated blocks,
// shared attributes, a directory index of its own), edits it, and lets the
// kernel go on with it.
func TestKernelGoesOn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	mounted := func(t *testing.T, img, script string) {
		t.Helper()
		dir := t.TempDir()
		if out, err := exec.Command("mount", "-t", "ext4", "-o", "loop", img, dir).CombinedOutput(); err != nil {
			t.Skipf("the kernel does not mount it: %s", out)
		}
		cmd := exec.Command("sh", "-ec", script)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		unmount(t, dir)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	short := map[string]bool{"stretch": true, "bookworm": true, "trixie": true, "1k": true, "2k-uninit_bg": true, "ext3": true, "meta_bg": true}
	for _, l := range layouts() {
		if l.name == "64k" || os.Getenv("EXT4_TEST_SLOW") == "" && !short[l.name] {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, "")
			prepare := `mkdir -p d/e; i=0; while [ $i -lt 700 ]; do echo $i > d/file-number-$i; i=$((i+1)); done`
			if !strings.HasPrefix(l.name, "ext") {
				prepare += `; fallocate -l 300000 pre; printf start > beyond; fallocate -n -l 300000 beyond`
			} else {
				prepare += `; head -c 300000 /dev/zero > pre; printf start > beyond`
			}
			mounted(t, img, prepare)
			f := openImage(t, img, false)
			file, err := f.OpenFile("pre", os.O_RDWR)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.(*File).WriteAt(noise(50001, 3), 70001); err != nil {
				t.Fatal(err)
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
			file, err = f.OpenFile("beyond", os.O_WRONLY|os.O_APPEND)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.Write(noise(9000, 4)); err != nil {
				t.Fatal(err)
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
			for i := range 700 {
				if i%2 == 0 {
					err = f.Remove(fmt.Sprintf("d/file-number-%d", i))
				} else {
					err = f.Symlink("x", fmt.Sprintf("d/link-number-%d", i))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			want := append(append(make([]byte, 70001), noise(50001, 3)...), make([]byte, 300000-120002)...)
			if got, err := f.ReadFile("pre"); err != nil || !bytes.Equal(got, want) {
				t.Errorf("pre: %d bytes, %v", len(got), err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			mountAndCompare(t, openImage(t, img, true), "ro,loop", img, digest(t, openImage(t, img, true)))
			mounted(t, img, `i=0; while [ $i -lt 300 ]; do echo $i > d/kernel-again-$i; rm -f d/link-number-$((2*i+1)); i=$((i+1)); done
				head -c 2000000 /dev/urandom > big; mv d/e e; mkdir d/new; rm pre beyond`)
			fsck(t, img)
		})
	}
}

// TestChecksums damages one byte of each kind of structure: metadata_csum finds it, and nothing is written.
func TestChecksums(t *testing.T) {
	img := mkfs(t, layouts()[1], tree(t))
	f := openImage(t, img, false)
	file, err := f.OpenFile("holes", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		if _, err := file.(*File).WriteAt([]byte("x"), int64(i)*8192); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(file.Close(), f.Mkdir("indexed")); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if err := f.Symlink("x", fmt.Sprintf("indexed/entry-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	place := func(name string) int64 { // of a file's first block
		in, err := f.find(name, false)
		if err != nil {
			t.Fatal(err)
		}
		m, err := in.blocks()
		if err != nil {
			t.Fatal(err)
		}
		if name == "holes" {
			return int64(m.tree.root.kids[0].blk) * 4096
		}
		return int64(m.lookup(0).phys) * 4096
	}
	g, err := f.group(0)
	if err != nil {
		t.Fatal(err)
	}
	offsets := map[string]int64{
		"superblock": 1024 + 0x78, "group descriptors": 4096 + 0x0C, "block bitmap": int64(g.blockBitmap())*4096 + 7,
		"inode bitmap": int64(g.inodeBitmap())*4096 + 7, "inode": int64(g.inodeTable())*4096 + 256 + 0x68,
		"directory": place("big") + 100, "directory index": place("indexed") + 0x28, "extent tree": place("holes") + 30,
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fsck(t, img)
	original, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	for what, off := range offsets {
		data := bytes.Clone(original)
		data[off] ^= 1
		damaged := bytes.Clone(data)
		f, err := Open(newMemory(data), 0, int64(len(data)), Options{Time: testTime()})
		if err == nil {
			err = errors.Join(tryPut(f, "holes", noise(90000, 1)), f.Mkdir("big/new"), f.Mkdir("indexed/new"), f.Mkdir("new"))
		}
		var c *CorruptError
		if !errors.As(err, &c) {
			t.Errorf("%s: %v, want a CorruptError", what, err)
		} else if what != "directory index" && c.Structure != what && c.Structure != "directory" {
			t.Errorf("%s: the error names the %s", what, c.Structure)
		}
		if f == nil && !bytes.Equal(data, damaged) {
			t.Errorf("%s: it was written to", what)
		}
	}
}
