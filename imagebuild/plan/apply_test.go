package plan_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/plan/plantest"
)

func base() *plantest.FS {
	return plantest.New().
		Put("etc/hostname", "raspberrypi\n").
		Put("usr/lib/tool", "old").
		PutLink("lib", "usr/lib").
		PutLink("etc/localtime", "/usr/share/zoneinfo/Europe/London").
		Put("usr/share/zoneinfo/Europe/London", "TZif").
		PutMode("home/pi/.profile", "hello", 0o600, 1000, 1000).
		Put("var/log/a/b", "x").Put("var/log/c", "y")
}

func boot() *plantest.FS {
	f := plantest.New().Put("cmdline.txt", "console=tty1\n").Put("overlays/README", "r")
	f.FAT = true
	return f
}

func write(path, content string) plan.Edit {
	return plan.Edit{Partition: plan.Root, Path: path, Op: plan.Write, Mode: 0o644, Content: []byte(content)}
}

func remove(path string) plan.Edit {
	return plan.Edit{Partition: plan.Root, Path: path, Op: plan.Remove}
}

func apply(t *testing.T, root *plantest.FS, edits ...plan.Edit) error {
	t.Helper()
	ctx := context.Background()
	b := boot()
	if err := plan.Apply(ctx, edits, b, root); err != nil {
		return err
	}
	if err := plan.Verify(ctx, edits, b, root); err != nil {
		t.Errorf("verify after apply: %v", err)
	}
	return nil
}

func content(t *testing.T, fsys fs.FS, name string) string {
	t.Helper()
	p, err := fs.ReadFile(fsys, name)
	if err != nil {
		t.Error(err)
	}
	return string(p)
}

func TestApply(t *testing.T) {
	root := base()
	stamp := time.Unix(1700000000, 0)
	err := apply(t, root,
		write("etc/hostname", "isabelle\n"),
		write("lib/new", "through a link"),
		write("opt/a/b/tool", "deep"),
		plan.Edit{Partition: plan.Root, Path: "usr/bin/su", Op: plan.Write, Mode: 0o755 | fs.ModeSetuid, UID: 0, GID: 7},
		plan.Edit{Partition: plan.Root, Path: "etc/localtime", Op: plan.Symlink, Target: "/usr/share/zoneinfo/UTC"},
		plan.Edit{Partition: plan.Root, Path: "etc/mask", Op: plan.Symlink, Target: "/dev/null"},
		plan.Edit{Partition: plan.Root, Path: "home/tom/.ssh", Op: plan.Mkdir, Mode: 0o700, UID: 1000, GID: 1000},
		plan.Edit{Partition: plan.Root, Path: "home/tom", From: "home/pi", Op: plan.Rename},
		plan.Edit{Partition: plan.Root, Path: "var/clock", Op: plan.Write, Mode: 0o644, Time: stamp},
		remove("var/log"), write("var/log/fresh", "1"), remove("not/there"),
		plan.Edit{Partition: plan.Boot, Path: "CMDLINE.TXT", Op: plan.Write, Content: []byte("x")},
	)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimLeft(`
drwxr-xr-x 0:0 /
drwxr-xr-x 0:0 /etc
-rw-r--r-- 0:0 /etc/hostname "isabelle\n"
Lrwxrwxrwx 0:0 /etc/localtime -> /usr/share/zoneinfo/UTC
Lrwxrwxrwx 0:0 /etc/mask -> /dev/null
drwxr-xr-x 0:0 /home
drwxr-xr-x 0:0 /home/tom
-rw------- 1000:1000 /home/tom/.profile "hello"
drwx------ 1000:1000 /home/tom/.ssh
Lrwxrwxrwx 0:0 /lib -> usr/lib
drwxr-xr-x 0:0 /opt
drwxr-xr-x 0:0 /opt/a
drwxr-xr-x 0:0 /opt/a/b
-rw-r--r-- 0:0 /opt/a/b/tool "deep"
drwxr-xr-x 0:0 /usr
drwxr-xr-x 0:0 /usr/bin
urwxr-xr-x 0:7 /usr/bin/su ""
drwxr-xr-x 0:0 /usr/lib
-rw-r--r-- 0:0 /usr/lib/new "through a link"
-rw-r--r-- 0:0 /usr/lib/tool "old"
drwxr-xr-x 0:0 /usr/share
drwxr-xr-x 0:0 /usr/share/zoneinfo
drwxr-xr-x 0:0 /usr/share/zoneinfo/Europe
-rw-r--r-- 0:0 /usr/share/zoneinfo/Europe/London "TZif"
drwxr-xr-x 0:0 /var
-rw-r--r-- 0:0 /var/clock ""
drwxr-xr-x 0:0 /var/log
-rw-r--r-- 0:0 /var/log/fresh "1"
`, "\n")
	if got := root.Dump(false); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if info, _ := root.Stat("var/clock"); !info.ModTime().Equal(stamp) {
		t.Errorf("time of the clock is %v", info.ModTime())
	}
}

// A file that is edited keeps its inode; one with other names does not, and the
// other names keep their content.
func TestApplyHardLinks(t *testing.T) {
	root := base()
	if err := root.Link("usr/lib/tool", "usr/lib/alias"); err != nil {
		t.Fatal(err)
	}
	root.Calls = nil
	if err := apply(t, root, write("usr/lib/tool", "new"), write("etc/hostname", "h")); err != nil {
		t.Fatal(err)
	}
	if got := content(t, root, "usr/lib/alias"); got != "old" {
		t.Errorf("the other name holds %q", got)
	}
	if got, want := strings.Join(root.Calls, "; "), "remove usr/lib/tool; create usr/lib/tool"; got != want {
		t.Errorf("calls: %s, want %s", got, want)
	}
}

func TestApplyRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		edit plan.Edit
		want string
	}{
		"file over folder":  {write("var/log", "x"), "root:/var/log: there is a folder"},
		"link over folder":  {plan.Edit{Partition: plan.Root, Path: "var", Op: plan.Symlink, Target: "x"}, "there is a folder"},
		"folder over file":  {plan.Edit{Partition: plan.Root, Path: "etc/hostname", Op: plan.Mkdir}, "something else"},
		"folder over link":  {plan.Edit{Partition: plan.Root, Path: "lib", Op: plan.Mkdir}, "something else"},
		"below a file":      {write("etc/hostname/x", "y"), "not a directory"},
		"special file":      {write("dev/null", "y"), "special file"},
		"dangling parent":   {write("dangling/x", "y"), "leads nowhere"},
		"rename of nothing": {plan.Edit{Partition: plan.Root, Path: "home/b", From: "home/a", Op: plan.Rename}, "file does not exist"},
		"rename over":       {plan.Edit{Partition: plan.Root, Path: "var", From: "home", Op: plan.Rename}, "not replaced"},
		"invalid":           {write("../x", "y"), "clean"},
	} {
		t.Run(name, func(t *testing.T) {
			root := base()
			if err := root.PutDir("dev", 0, 0).Mknod("dev/null", fs.ModeDevice|fs.ModeCharDevice|0o666); err != nil {
				t.Fatal(err)
			}
			root.PutLink("dangling", "no/where")
			err := apply(t, root, c.edit)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestApplySource(t *testing.T) {
	name := filepath.Join(t.TempDir(), "big")
	data := strings.Repeat("0123456789abcdef", 50000)
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	e := write("opt/big", "")
	e.Content, e.Source = nil, &plan.Source{Path: name, Size: int64(len(data)), SHA256: sha256.Sum256([]byte(data))}
	root := base()
	if err := apply(t, root, e); err != nil {
		t.Fatal(err)
	}
	if content(t, root, "opt/big") != data {
		t.Error("content differs")
	}
	for _, changed := range []string{data[1:] + "x", data + "x", data[1:], ""} {
		if err := os.WriteFile(name, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := apply(t, base(), e); err == nil || !strings.Contains(err.Error(), "has changed since") {
			t.Errorf("%d bytes: got %v", len(changed), err)
		}
	}
}

func TestApplyCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	root := base()
	if err := plan.Apply(ctx, []plan.Edit{write("a", "b")}, boot(), root); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(root.Calls) > 0 {
		t.Errorf("did %v", root.Calls)
	}
}

// Every kind of difference is found, and no secret shows in the error.
func TestVerifyFinds(t *testing.T) {
	secret := write("etc/hostname", "s3cret")
	secret.Secret = true
	stamp := time.Unix(5e8, 0)
	for name, c := range map[string]struct {
		edit  plan.Edit
		spoil func(*plantest.FS)
		want  string
	}{
		"content": {secret, func(f *plantest.FS) { f.Put("etc/hostname", "s4cret") }, "content is not"},
		"size":    {secret, func(f *plantest.FS) { f.Put("etc/hostname", "s3cret!") }, "size is 7, not 6"},
		"gone":    {secret, func(f *plantest.FS) { f.Remove("etc/hostname") }, "not exist"},
		"mode":    {secret, func(f *plantest.FS) { f.Chmod("etc/hostname", 0o600) }, "mode is 0600, not 0644"},
		"owner":   {secret, func(f *plantest.FS) { f.Lchown("etc/hostname", 5, 6) }, "owner is 5:6, not 0:0"},
		"time": {plan.Edit{Partition: plan.Root, Path: "etc/clock", Op: plan.Write, Mode: 0o644, Time: stamp},
			func(f *plantest.FS) { f.SetTime("etc/clock", stamp.Add(time.Hour)) }, "time is"},
		"there": {remove("var/log"), func(f *plantest.FS) { f.Put("var/log/x", "") }, "still there"},
		"target": {plan.Edit{Partition: plan.Root, Path: "etc/l", Op: plan.Symlink, Target: "a"},
			func(f *plantest.FS) { f.Remove("etc/l"); f.PutLink("etc/l", "b") }, `leads to "b", not to "a"`},
		"no link": {plan.Edit{Partition: plan.Root, Path: "etc/l", Op: plan.Symlink, Target: "a"},
			func(f *plantest.FS) { f.Remove("etc/l"); f.Put("etc/l", "b") }, "no symbolic link"},
		"no folder": {plan.Edit{Partition: plan.Root, Path: "etc/d", Op: plan.Mkdir, Mode: 0o644},
			func(f *plantest.FS) { f.Remove("etc/d"); f.Put("etc/d", "b") }, "no folder"},
		"renamed back": {plan.Edit{Partition: plan.Root, Path: "home/tom", From: "home/pi", Op: plan.Rename},
			func(f *plantest.FS) { f.PutDir("home/pi", 0, 0) }, "home/pi is still there"},
	} {
		t.Run(name, func(t *testing.T) {
			root := base()
			if err := apply(t, root, c.edit); err != nil {
				t.Fatal(err)
			}
			c.spoil(root)
			err := plan.Verify(context.Background(), []plan.Edit{c.edit}, boot(), root)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "cret") {
				t.Errorf("shows the secret: %v", err)
			}
			var perr *plan.Error
			if !errors.As(err, &perr) || perr.Edit.Path != c.edit.Path {
				t.Errorf("not a *plan.Error for the edit: %#v", err)
			}
		})
	}
}
