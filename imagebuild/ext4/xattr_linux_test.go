package ext4

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// mountImage mounts the image, where the test is root and the kernel can do it.
func mountImage(t testing.TB, options, img string) (dir string, ok bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		return "", false
	}
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-t", "ext4", "-o", options, img, dir).CombinedOutput(); err != nil {
		t.Logf("the kernel does not mount it: %s", bytes.TrimSpace(out))
		return "", false
	}
	return dir, true
}

// mountAndCompareXattrs compares the attributes that the kernel reads with the model.
func mountAndCompareXattrs(t testing.TB, img string, model map[string]map[string][]byte) {
	t.Helper()
	dir, ok := mountImage(t, "ro,loop", img)
	if !ok {
		return
	}
	defer unmount(t, dir)
	for name, own := range model {
		p := filepath.Join(dir, name)
		list := make([]byte, 4096)
		n, err := unix.Llistxattr(p, list)
		if have := bytes.Count(list[:max(0, n)], []byte{0}); err != nil || have != len(own) {
			t.Errorf("%s: the kernel lists %q, %v, want %d attributes", name, list[:max(0, n)], err, len(own))
		}
		for attr, want := range own {
			got := make([]byte, 8192)
			n, err := unix.Lgetxattr(p, attr, got)
			if err != nil || !bytes.Equal(got[:n], want) {
				t.Errorf("%s of %s: the kernel reads %d bytes, %v, want %d", attr, name, n, err, len(want))
			}
		}
	}
}

// TestACLsBesideTheKernel does the same with ACLs in two directories, in one of
// them by the kernel: modes and ACLs are the same.
func TestACLsBesideTheKernel(t *testing.T) {
	for _, l := range xattrLayouts()[:3] {
		t.Run(l.name, func(t *testing.T) {
			img := mkfs(t, l, "")
			dir, ok := mountImage(t, "loop", img)
			if !ok {
				t.Skip("mounting needs root")
			}
			const access, byDefault = "system.posix_acl_access", "system.posix_acl_default"
			lists := []acl{
				{{aclUserObj, 7, aclNoID}, {aclGroupObj, 5, aclNoID}, {aclOther, 5, aclNoID}},
				{{aclUserObj, 6, aclNoID}, {aclGroupObj, 7, aclNoID}, {aclMask, 3, aclNoID}, {aclOther, 2, aclNoID}},
				{{aclUserObj, 7, aclNoID}, {aclUser, 6, 70000}, {aclUser, 1, 5}, {aclGroupObj, 4, aclNoID}, {aclGroup, 7, 6}, {aclMask, 6, aclNoID}, {aclOther, 4, aclNoID}},
			}
			old := unix.Umask(0)
			for i, a := range lists {
				d := filepath.Join(dir, "kernel", string(rune('a'+i)))
				err := errors.Join(os.MkdirAll(d, 0o755), unix.Setxattr(d, byDefault, a.exchange(), 0),
					os.WriteFile(d+"/file", nil, 0o644), os.Mkdir(d+"/dir", 0o755), os.WriteFile(d+"/dir/file", nil, 0o644),
					os.WriteFile(d+"/set", nil, 0o600), unix.Setxattr(d+"/set", access, a.exchange(), 0), os.Chmod(d+"/dir/file", 0o751),
					unix.Setxattr(d+"/set", "user.kernel", noise(900, 1), 0), unix.Setxattr(d+"/file", "security.x", noise(20, 1), 0))
				if err != nil {
					t.Error(err)
				}
			}
			unix.Umask(old)
			unmount(t, dir)

			f := openImage(t, img, false)
			if err := f.Mkdir("ours"); err != nil {
				t.Fatal(err)
			}
			for i, a := range lists {
				d := "ours/" + string(rune('a'+i))
				if err := errors.Join(f.Mkdir(d), f.Setxattr(d, byDefault, a.exchange()), tryPut(f, d+"/file", nil), f.Mkdir(d+"/dir"),
					tryPut(f, d+"/dir/file", nil), tryPut(f, d+"/set", nil), f.Setxattr(d+"/set", access, a.exchange()), f.Chmod(d+"/dir/file", 0o751),
					f.Setxattr(d+"/set", "user.kernel", noise(900, 1)), f.Setxattr(d+"/file", "security.x", noise(20, 1))); err != nil {
					t.Error(err)
				}
			}
			err := fs.WalkDir(f, "kernel", func(name string, d fs.DirEntry, err error) error {
				return errors.Join(err, compareTwo(t, f, name, "ours"+name[len("kernel"):]))
			})
			if err := errors.Join(err, f.Close()); err != nil {
				t.Error(err)
			}
			fsck(t, img)
			if dir, ok = mountImage(t, "loop", img); !ok {
				t.Fatal("it cannot be mounted a second time")
			}
			// What the kernel reads is what we read; and it goes on where we stopped.
			f = openImage(t, img, true)
			err = fs.WalkDir(f, "ours", func(name string, d fs.DirEntry, err error) error {
				list, err2 := f.Listxattr(name)
				for _, attr := range list {
					want, err := f.Getxattr(name, attr)
					got := make([]byte, 4096)
					n, err2 := unix.Getxattr(filepath.Join(dir, name), attr, got)
					if err != nil || err2 != nil || !bytes.Equal(want, got[:max(0, n)]) {
						t.Errorf("%s of %s: %x, %v; the kernel: %x, %v", attr, name, want, err, got[:max(0, n)], err2)
					}
				}
				return errors.Join(err, err2)
			})
			d := filepath.Join(dir, "ours/c/set")
			if err := errors.Join(err, unix.Setxattr(d, "user.kernel", noise(300, 2), 0), unix.Removexattr(d, access), os.RemoveAll(filepath.Join(dir, "ours/a"))); err != nil {
				t.Error(err)
			}
			unmount(t, dir)
			fsck(t, img)
		})
	}
}

func compareTwo(t *testing.T, f *FS, a, b string) error {
	fa, err := f.Lstat(a)
	fb, err2 := f.Lstat(b)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if fa.Mode() != fb.Mode() {
		t.Errorf("%s: %v, %s: %v", a, fa.Mode(), b, fb.Mode())
	}
	la, err := f.Listxattr(a)
	lb, err2 := f.Listxattr(b)
	if len(la) != len(lb) {
		t.Errorf("%s: %q, %s: %q", a, la, b, lb)
	}
	for _, attr := range la {
		va, err := f.Getxattr(a, attr)
		vb, err2 := f.Getxattr(b, attr)
		if err != nil || err2 != nil || !bytes.Equal(va, vb) {
			t.Errorf("%s of %s: %x, %v; of %s: %x, %v", attr, a, va, err, b, vb, err2)
		}
	}
	return errors.Join(err, err2)
}
