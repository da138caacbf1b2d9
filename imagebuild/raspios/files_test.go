package raspios

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
)

func withFiles(files ...nodes.File) *nodes.Config {
	return one(func(n *nodes.Node) { n.Files, n.User.Name = files, "tom" })
}

func TestFiles(t *testing.T) {
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, []byte(strings.Repeat("0123456789abcdef", 1<<17)), 0o600); err != nil {
		t.Fatal(err)
	}
	i := loadImage(t, "bookworm")
	p := build(t, i, withFiles(
		nodes.File{Path: "/etc/motd", Content: []byte("hello\n"), Mode: 0o644, Owner: "root:root"},
		nodes.File{Path: "/home/tom/x", Content: []byte("x"), Mode: 0o640, Owner: "tom"},
		nodes.File{Path: "/opt/n", Content: []byte("n"), Mode: 0o600, Owner: "7:audio"},
		nodes.File{Path: "/lib/firmware/f", Content: []byte("f"), Mode: 0o644},
		nodes.File{Path: "/opt/big", Source: big, Mode: 0o755},
		nodes.File{Path: "/boot/firmware/extra.txt", Content: []byte("b"), Mode: 0o600, Owner: "tom:tom"},
		nodes.File{Path: "/boot/issue.txt", Content: []byte("i"), Mode: 0o644},
	), 0)
	dump := i.root.Dump(false)
	for _, want := range []string{
		"-rw-r--r-- 0:0 /etc/motd \"hello\\n\"\n", "-rw-r----- 1000:1000 /home/tom/x \"x\"\n", "-rw------- 7:29 /opt/n \"n\"\n",
		"-rw-r--r-- 0:0 /usr/lib/firmware/f \"f\"\n", "-rwxr-xr-x 0:0 /opt/big 2097152 bytes",
	} {
		if !strings.Contains(dump, want) {
			t.Errorf("no %q", want)
		}
	}
	if content(t, i.boot, "extra.txt") != "b" || content(t, i.boot, "issue.txt") != "i" {
		t.Error("files of the boot partition are elsewhere")
	}
	if n := strings.Join(p.Notices, "\n"); strings.Count(n, "neither owners nor modes") != 1 {
		t.Errorf("notices: %s", n)
	}
	for _, e := range p.Edits {
		if (e.Path == "opt/n" || e.Path == "home/tom/x") && !e.Secret {
			t.Error("a private file is shown")
		}
		if e.Path == "opt/big" && (e.Source == nil || e.Content != nil) {
			t.Error("a large file is held in memory")
		}
		if strings.HasPrefix(e.Path, "lib/") || strings.HasPrefix(e.Path, "boot/") {
			t.Errorf("%v is not resolved", e)
		}
	}
}

// The same paths by other names are one file, and the last one wins.
func TestFilesOneEdit(t *testing.T) {
	p := build(t, loadImage(t, "bookworm"), withFiles(
		nodes.File{Path: "/lib/x", Content: []byte("1"), Mode: 0o644},
		nodes.File{Path: "/usr/lib/x", Content: []byte("2"), Mode: 0o644},
		nodes.File{Path: "/etc/hostname", Content: []byte("mine\n"), Mode: 0o644},
	), 0)
	seen := map[string]string{}
	for _, e := range p.Edits {
		if e.Partition == plan.Root {
			seen[e.Path] = string(e.Content)
		}
	}
	if seen["usr/lib/x"] != "2" || seen["etc/hostname"] != "mine\n" {
		t.Errorf("got %q, %q", seen["usr/lib/x"], seen["etc/hostname"])
	}
}

func TestFilesRefuse(t *testing.T) {
	for path, c := range map[string]struct{ owner, want string }{
		"/etc":             {"", "is a folder"},
		"/":                {"", "root of the image"},
		"/etc/hostname/x":  {"", "no folder"},
		"/opt/a":           {"nobody-here", `no user "nobody-here"`},
		"/opt/b":           {"root:nobody-here", `no group "nobody-here"`},
		"/opt/c":           {"4242", "give the group as well"},
		"/home/pi/x":       {"", "renamed"},
		"/boot/firmware/a": {"none", `no user "none"`},
	} {
		_, err := Plan(input(t, loadImage(t, "bookworm"), withFiles(nodes.File{Path: path, Content: []byte("x"), Owner: c.owner}), 0))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// What is at /boot in one release is at /boot/firmware in another.
func TestFilesOtherBoot(t *testing.T) {
	dir := tree(t, "root/boot/y.txt")
	for _, c := range []struct{ release, path, want string }{
		{"bookworm", "/boot/x.txt", "/boot/x.txt is not on the boot partition, which this image has at /boot/firmware"},
		{"bookworm", "/boot/firmware/x.txt", ""},
		{"bullseye-2022-09", "/boot/firmware/x.txt", "/boot/firmware/x.txt is in a folder firmware of the boot partition, which this image has at /boot"},
		{"bullseye-2022-09", "/boot/x.txt", ""},
	} {
		p := build(t, loadImage(t, c.release), withFiles(nodes.File{Path: c.path, Content: []byte("x")}), 0)
		n := strings.Join(p.Notices, "\n")
		if c.want == "" && strings.Contains(n, "x.txt") || !strings.Contains(n, c.want) {
			t.Errorf("%s %s: %q", c.release, c.path, n)
		}
	}
	p := build(t, loadImage(t, "bookworm"), one(func(n *nodes.Node) { n.Overlays = []string{dir} }), 0)
	if n := strings.Join(p.Notices, "\n"); strings.Count(n, "is not on the boot partition") != 1 {
		t.Errorf("overlay: %q", n)
	}
}

// A cmdline.txt of the user's own may not make the node unable to start.
func TestFilesCmdline(t *testing.T) {
	for _, name := range images {
		i := loadImage(t, name)
		in := input(t, i, config(), 0)
		file := in.Facts.BootMount + "/cmdline.txt"
		old := strings.TrimSpace(content(t, i.boot, "cmdline.txt"))
		for text, want := range map[string]string{
			"console=tty1 rootwait\n": "does not have the image's root=PARTUUID=",
			"":                        "does not have the image's root=PARTUUID=",
			old + " quiet2\n":         "",
		} {
			_, err := Plan(input(t, i, withFiles(nodes.File{Path: file, Content: []byte(text)}), 0))
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: %q: %v", name, text, err)
			}
		}
		without := strings.ReplaceAll(old, " "+in.Facts.FirstBoot, "")
		p, err := Plan(input(t, i, withFiles(nodes.File{Path: file, Content: []byte(without)}), 0))
		if err != nil || !strings.Contains(strings.Join(p.Notices, "\n"), "does not grow") {
			t.Errorf("%s: %v, %q", name, err, p.Notices)
		}
	}
}

// tree writes files below a temporary folder: "path" or "path → target" for a
// symbolic link, "path/" for a folder, "path*" for a program.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		name, target, link := strings.Cut(n, " → ")
		file := filepath.Join(dir, filepath.FromSlash(strings.TrimSuffix(name, "*")))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case link:
			err = os.Symlink(target, file)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(file, 0o700)
		case strings.HasSuffix(name, "*"):
			err = os.WriteFile(file, []byte("#!/bin/sh\n"), 0o700)
		default:
			err = os.WriteFile(file, []byte(name), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOverlays(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need rights on Windows")
	}
	dir := tree(t, "root/etc/motd", "root/opt/tool*", "root/opt/empty/", "root/lib/x", "root/home/tom/.config/a",
		"root/home/tom/.ssh/id", "root/etc/alias → ../opt/tool", "root/etc/abs → /dev/null", "root/boot/firmware/from-root.txt",
		"root/etc/NetworkManager/system-connections/vpn.nmconnection", "boot/overlays/mine.dtbo", "boot/new/x.txt")
	i := loadImage(t, "bookworm")
	build(t, i, one(func(n *nodes.Node) { n.Overlays, n.User.Name = []string{dir}, "tom" }), 0)
	dump := i.root.Dump(false)
	for _, want := range []string{
		"-rw-r--r-- 0:0 /etc/motd \"root/etc/motd\"\n", "-rwxr-xr-x 0:0 /opt/tool \"#!/bin/sh\\n\"\n", "drwxr-xr-x 0:0 /opt/empty\n",
		"-rw-r--r-- 0:0 /usr/lib/x ", "drwxr-xr-x 1000:1000 /home/tom/.config\n", "-rw-r--r-- 1000:1000 /home/tom/.config/a ",
		"drwx------ 1000:1000 /home/tom/.ssh\n", "-rw------- 1000:1000 /home/tom/.ssh/id ", "Lrwxrwxrwx 0:0 /etc/alias -> ../opt/tool\n",
		"Lrwxrwxrwx 0:0 /etc/abs -> /dev/null\n", "-rw------- 0:0 /etc/NetworkManager/system-connections/vpn.nmconnection ",
		"Lrwxrwxrwx 0:0 /lib -> usr/lib\n",
	} {
		if !strings.Contains(dump, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, f := range []string{"from-root.txt", "overlays/mine.dtbo", "new/x.txt"} {
		if _, err := i.boot.Stat(f); err != nil {
			t.Error(err)
		}
	}
}

func TestOverlaysRefuse(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need rights on Windows")
	}
	none := filepath.Join(t.TempDir(), "none")
	special := tree(t, "root/x/")
	run(t, nil, "mkfifo", filepath.Join(special, "root", "x", "pipe"))
	for _, c := range []struct{ dir, want string }{
		{tree(t, "root/etc/x → ../../secret"), ": root/etc/x: is a symbolic link to ../../secret, which climbs out"},
		{tree(t, "root/x → ../y"), "climbs out"},
		{tree(t, "boot/x → y"), ": boot/x: is a symbolic link, which the boot partition, a FAT, cannot hold"},
		{tree(t, "root/boot/firmware/x → y"), "a FAT, cannot hold"},
		{tree(t, "root → ../..", "boot/x"), ": root: is no folder"},
		{tree(t, "etc/motd"), "neither a folder"},
		{tree(t, "root/etc/hostname/x"), "a folder cannot replace"},
		{tree(t, "root/etc/ssh → /tmp"), "is a folder in the image"},
		{special, "no file, folder or symbolic link"},
		{none, none},
	} {
		_, err := Plan(input(t, loadImage(t, "bookworm"), one(func(n *nodes.Node) { n.Overlays = []string{c.dir} }), 0))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.want, err)
		}
	}
	// Links that stay inside are no reason.
	dir := tree(t, "root/etc/x → ../usr/y", "root/a/b → ../../c")
	if _, err := Plan(input(t, loadImage(t, "bookworm"), one(func(n *nodes.Node) { n.Overlays = []string{dir} }), 0)); err == nil || !strings.Contains(err.Error(), "a/b") || strings.Contains(err.Error(), "etc/x") {
		t.Error(err)
	}
}

// A later overlay writes through a link that an earlier one made.
func TestOverlaysInOrder(t *testing.T) {
	first, second := tree(t, "root/srv/data → /opt/data", "root/opt/data/"), tree(t, "root/srv/data/x", "root/etc/motd")
	i := loadImage(t, "bookworm")
	build(t, i, one(func(n *nodes.Node) { n.Overlays = []string{first, second} }), 0)
	if got := content(t, i.root, "opt/data/x"); got != "root/srv/data/x" {
		t.Errorf("got %q", got)
	}
}
