package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// xattrLayouts are with and without room in the inode.
func xattrLayouts() []layout {
	return []layout{
		{"256", []string{"-b", "4096", "-O", "metadata_csum,64bit"}, "16M", nil},
		{"1k-512", []string{"-b", "1024", "-I", "512", "-O", "metadata_csum,^64bit"}, "16M", nil},
		{"no-checksums", []string{"-b", "4096", "-O", "^metadata_csum,^64bit,^ext_attr"}, "16M", nil},
		{"ext2-128", []string{"-t", "ext2", "-b", "1024", "-I", "128", "-O", "^ext_attr"}, "16M", nil},
		{"ext2-rev0", []string{"-t", "ext2", "-r", "0", "-b", "1024", "-I", "128", "-O", "none"}, "16M", nil},
	}
}

// acl1 is an ACL in the exchange form: owner rwx, user 1000 rw, group r, mask rwx, others none.
func acl1() []byte {
	return acl{
		{aclUserObj, 7, aclNoID}, {aclUser, 6, 1000}, {aclGroupObj, 4, aclNoID}, {aclMask, 7, aclNoID}, {aclOther, 0, aclNoID},
	}.exchange()
}

// TestXattrOperations sets and removes attributes at random, beside a model of
// them, with values that fit into the inode, into a block, or nowhere.
func TestXattrOperations(t *testing.T) {
	for _, l := range xattrLayouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, tree(t))
			f := openImage(t, img, false)
			if err := f.Mknod("null", 0o20666, 0x103); err != nil {
				t.Fatal(err)
			}
			// Shared blocks, as the kernel makes them, are copied when one of two files changes.
			names := []string{"etc", "etc/hostname", "etc/empty", "abs", "long", "null", "sparse"}
			model := map[string]map[string][]byte{}
			for _, n := range names {
				model[n] = map[string][]byte{}
			}
			rapid.Check(t, func(t *rapid.T) {
				for range rapid.IntRange(1, 30).Draw(t, "operations") {
					name := rapid.SampledFrom(names).Draw(t, "file")
					attr := rapid.SampledFrom([]string{"security.x", "trusted.x", "trusted.a-longer-name", "security.\xfc\xe9",
						"user.é", "user.b", "trusted.y"}).Draw(t, "attribute")
					own := model[name]
					if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
						err := f.Lremovexattr(name, attr)
						if _, ok := own[attr]; ok != (err == nil) || !ok && !errors.Is(err, ErrNoXattr) {
							t.Fatalf("remove %s of %s: %v, known: %v", attr, name, err, ok)
						}
						delete(own, attr)
						continue
					}
					value := noise(rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(0, 5000)).Draw(t, "size"), rapid.Uint32().Draw(t, "seed"))
					err := f.Lsetxattr(name, attr, value)
					switch {
					case strings.HasPrefix(attr, "user.") && name != "etc" && name != "etc/hostname" && name != "etc/empty" && name != "sparse":
						if !errors.Is(err, fs.ErrPermission) {
							t.Fatalf("set %s of %s: %v", attr, name, err)
						}
					case errors.Is(err, ErrXattrSpace):
						total := len(value)
						for _, v := range own {
							total += len(v)
						}
						if total+8*32 < f.Info().BlockSize-32 {
							t.Fatalf("set %s of %s, %d bytes: %v", attr, name, len(value), err)
						}
					case err != nil:
						t.Fatalf("set %s of %s: %v", attr, name, err)
					default:
						own[attr] = value
					}
				}
				if err := f.Sync(); err != nil {
					t.Fatal(err)
				}
				compareXattrsOf(t, f, model)
			})
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			f = openImage(t, img, true)
			compareXattrsOf(t, f, model)
			if !slices.Contains(f.Info().Features, "ext_attr") {
				t.Error("the feature ext_attr is not set")
			}
			mountAndCompareXattrs(t, img, model)
			for name, own := range model {
				for attr, value := range own {
					if strings.IndexFunc(attr, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
						continue // debugfs takes them in no form
					}
					out := filepath.Join(t.TempDir(), "value")
					runTool(t, "debugfs", "-R", fmt.Sprintf("ea_get -f %s /%s %s", out, name, attr), img)
					if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, value) {
						t.Errorf("debugfs reads %d bytes of %s of %s (%v), want %d", len(got), attr, name, err, len(value))
					}
				}
			}
			f = openImage(t, img, false)
			for _, name := range []string{"abs", "null", "sparse", "etc/hostname"} {
				if err := f.Remove(name); err != nil {
					t.Error(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
		})
	}
}

type failer interface {
	Helper()
	Errorf(format string, args ...any)
}

func compareXattrsOf(t failer, f *FS, model map[string]map[string][]byte) {
	t.Helper()
	for name, own := range model {
		list, err := f.Llistxattr(name)
		if err != nil || len(list) != len(own) || !slices.IsSorted(list) {
			t.Errorf("%s has %q, %v, want %d attributes", name, list, err, len(own))
		}
		for attr, want := range own {
			if got, err := f.Lgetxattr(name, attr); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s of %s: %d bytes, %v, want %d", attr, name, len(got), err, len(want))
			}
		}
	}
}

// TestXattrErrors asks for what is not there, and for what no file can have.
func TestXattrErrors(t *testing.T) {
	f := openImage(t, mkfs(t, layouts()[1], tree(t)), false)
	if _, err := f.Getxattr("etc/hostname", "user.x"); !errors.Is(err, ErrNoXattr) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such attribute: %v", err)
	}
	if _, err := f.Getxattr("nothing", "user.x"); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNoXattr) {
		t.Errorf("no such file: %v", err)
	}
	for _, attr := range []string{"", "user.", "x", "system.data", "system.posix_acl_access2", "user.a\x00b", "user." + strings.Repeat("n", 251)} {
		if err := f.Setxattr("etc/hostname", attr, nil); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", attr, err)
		}
	}
	if err := f.Setxattr("etc/hostname", "user."+strings.Repeat("n", 250), []byte("v")); err != nil {
		t.Error(err)
	}
	err := f.Setxattr("etc/hostname", "user.large", make([]byte, 4096))
	if !errors.Is(err, ErrXattrSpace) || !strings.Contains(err.Error(), "4096") {
		t.Errorf("a large value: %v", err)
	}
	for _, value := range [][]byte{nil, {2, 0, 0, 0, 1}, append(acl1(), acl1()[4:]...), acl1()[:4+8*4], acl{{aclUser, 9, 5}}.exchange()} {
		if err := f.Setxattr("etc/hostname", "system.posix_acl_access", value); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("ACL %x: %v", value, err)
		}
	}
	for _, err := range []error{
		f.Setxattr("etc/hostname", "system.posix_acl_default", acl1()), f.Lsetxattr("abs", "system.posix_acl_access", acl1()),
	} {
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("an ACL where none can be: %v", err)
		}
	}
	// Through the link, and the link itself.
	if err := errors.Join(f.Setxattr("abs", "trusted.t", []byte("file")), f.Lsetxattr("abs", "trusted.t", []byte("link"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"etc/hostname": "file", "abs": "link"} {
		if got, err := f.Lgetxattr(name, "trusted.t"); string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestSharedXattrBlock changes one of two files that share a block of attributes.
func TestSharedXattrBlock(t *testing.T) {
	for _, l := range xattrLayouts()[:3] {
		img := mkfs(t, l, tree(t))
		f := openImage(t, img, false)
		value := noise(700, 1)
		share := func(in *inode) error { // as the kernel does with attributes that are alike
			first, err := f.find("etc/hostname", false)
			if err != nil {
				return err
			}
			_, b, err := first.blockXattrs()
			if err != nil {
				return err
			}
			f.edit(b)[xattrRefs]++
			f.sb.sealXattrs(b.blk, b.data)
			return errors.Join(in.setXattrBlock(b.blk), in.addBlocks(1))
		}
		err := errors.Join(f.Setxattr("etc/hostname", "user.a", value), f.alter("share", "etc/empty", false, share),
			f.alter("share", "sparse", false, share), f.Sync())
		if err != nil {
			t.Fatal(err)
		}
		fsck(t, img)
		if err := errors.Join(f.Setxattr("etc/empty", "user.b", value[:50]), f.Setxattr("etc/empty", "user.c", value[:200]), f.Remove("sparse"), f.Sync()); err != nil {
			t.Fatal(err)
		}
		fsck(t, img)
		if err := errors.Join(f.Removexattr("etc/hostname", "user.a"), f.Sync()); err != nil {
			t.Fatal(err)
		}
		fsck(t, img)
		compareXattrsOf(t, f, map[string]map[string][]byte{
			"etc/hostname": {}, "etc/empty": {"user.a": value, "user.b": value[:50], "user.c": value[:200]},
		})
	}
}

// TestXattrInode reads a value that is in an inode of its own, and sees to it that it stays.
func TestXattrInode(t *testing.T) {
	for _, features := range []string{"ea_inode,metadata_csum", "ea_inode,^metadata_csum"} {
		img := mkfs(t, layout{"", []string{"-b", "1024", "-O", features}, "16M", nil}, tree(t))
		large := bytes.Repeat([]byte("larger! "), 128) // debugfs takes no more
		value := filepath.Join(t.TempDir(), "value")
		if err := os.WriteFile(value, large, 0o600); err != nil {
			t.Fatal(err)
		}
		runTool(t, "debugfs", "-w", "-R", "ea_set -f "+value+" /etc/hostname user.large", img)
		if _, err := exec.Command(tooltest.Path(t, "e2fsck"), "-fy", img).CombinedOutput(); err == nil {
			t.Log("debugfs counts the blocks of such values by now")
		}
		f := openImage(t, img, false)
		if got, err := f.Getxattr("etc/hostname", "user.large"); err != nil || !bytes.Equal(got, large) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		var u *UnsupportedError
		for _, err := range []error{
			f.Setxattr("etc/hostname", "user.large", nil), f.Removexattr("etc/hostname", "user.large"), f.Remove("etc/hostname"),
		} {
			if !errors.As(err, &u) {
				t.Errorf("%v", err)
			}
		}
		if err := errors.Join(f.Setxattr("etc/hostname", "user.small", []byte("x")), f.Setxattr("etc/hostname", "user.more", large[:300]), f.Close()); err != nil {
			t.Fatal(err)
		}
		fsck(t, img)
		f = openImage(t, img, true)
		compareXattrsOf(t, f, map[string]map[string][]byte{"etc/hostname": {"user.large": large, "user.small": []byte("x"), "user.more": large[:300]}})
	}
}

// TestACL follows an ACL through chmod and into new files.
func TestACL(t *testing.T) {
	img := mkfs(t, layouts()[1], tree(t))
	f := openImage(t, img, false)
	const access, byDefault = "system.posix_acl_access", "system.posix_acl_default"
	mode := func(name string, want fs.FileMode) {
		t.Helper()
		if fi, err := f.Lstat(name); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, fi.Mode(), err, want)
		}
	}
	if err := f.Setxattr("etc/hostname", access, acl1()); err != nil {
		t.Fatal(err)
	}
	mode("etc/hostname", 0o770)
	if err := f.Chmod("etc/hostname", 0o641); err != nil {
		t.Fatal(err)
	}
	got, err := f.Getxattr("etc/hostname", access)
	want := acl{
		{aclUserObj, 6, aclNoID}, {aclUser, 6, 1000}, {aclGroupObj, 4, aclNoID}, {aclMask, 4, aclNoID}, {aclOther, 1, aclNoID},
	}.exchange()
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("after chmod: %x, %v", got, err)
	}
	minimal := acl{{aclUserObj, 6, aclNoID}, {aclGroupObj, 0, aclNoID}, {aclOther, 4, aclNoID}}.exchange()
	if err := f.Setxattr("etc/empty", access, minimal); err != nil {
		t.Fatal(err)
	}
	mode("etc/empty", 0o604)
	if list, err := f.Listxattr("etc/empty"); len(list) != 0 || err != nil {
		t.Errorf("an ACL that the permission bits say: %q, %v", list, err)
	}
	if err := errors.Join(f.Setxattr("etc/deep", byDefault, acl1()), f.Mkdir("etc/deep/dir"), f.Symlink("x", "etc/deep/link")); err != nil {
		t.Fatal(err)
	}
	put(t, f, "etc/deep/dir/file", []byte("x"))
	mode("etc/deep/dir", fs.ModeDir|0o750)
	mode("etc/deep/dir/file", 0o640)
	mode("etc/deep/link", fs.ModeSymlink|0o777)
	want = acl{
		{aclUserObj, 6, aclNoID}, {aclUser, 6, 1000}, {aclGroupObj, 4, aclNoID}, {aclMask, 4, aclNoID}, {aclOther, 0, aclNoID},
	}.exchange()
	if got, err := f.Getxattr("etc/deep/dir/file", access); err != nil || !bytes.Equal(got, want) {
		t.Errorf("inherited: %x, %v", got, err)
	}
	if got, err := f.Getxattr("etc/deep/dir", byDefault); err != nil || !bytes.Equal(got, acl1()) {
		t.Errorf("inherited by a directory: %x, %v", got, err)
	}
	if err := errors.Join(f.Removexattr("etc/hostname", access), f.Setxattr("etc/deep", byDefault, acl{}.exchange()), f.Close()); err != nil {
		t.Fatal(err)
	}
	fsck(t, img)
}
