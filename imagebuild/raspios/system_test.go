package raspios

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
)

func TestSwap(t *testing.T) {
	for _, name := range images {
		t.Run(name, func(t *testing.T) {
			i := loadImage(t, name)
			fstab := content(t, i.root, "etc/fstab")
			i.root.Put("var/swap", "100 MB").Put("etc/fstab", fstab+"/dev/sda1 none swap sw 0 0\n")
			build(t, i, config(), 0)
			d := newDraft(i.boot, i.root)
			f, err := Detect(i.boot, i.root)
			if err != nil {
				t.Fatal(err)
			}
			if f.Swap.Enabled || f.Swap.By == "" {
				t.Errorf("swap: %+v", f.Swap)
			}
			switch f.Swap.By {
			case "dphys-swapfile":
				if !d.masked("dphys-swapfile.service") || len(d.wants("dphys-swapfile.service")) > 0 || len(dphysLinks(d)) > 0 {
					t.Error("dphys-swapfile is not masked")
				}
			case "rpi-swap":
				if content(t, i.root, rpiSwapConf) != noRPISwap || content(t, i.root, zramConf) != "" {
					t.Error("rpi-swap is not off")
				}
			}
			if d.exists(plan.Root, "var/swap") {
				t.Error("/var/swap is still there")
			}
			if got := content(t, i.root, "etc/fstab"); got != fstab+"#/dev/sda1 none swap sw 0 0\n" {
				t.Errorf("fstab: %q", got)
			}
			build(t, i, one(func(n *nodes.Node) { n.Swap = true }), 0)
			if f, _ = Detect(i.boot, i.root); !f.Swap.Enabled {
				t.Errorf("swap does not come back: %+v", f.Swap)
			}
		})
	}
	i := loadImage(t, "bookworm")
	p := build(t, i, one(func(n *nodes.Node) { n.Swap = true }), 0)
	for _, e := range p.Edits {
		if strings.Contains(e.Path, "swap") {
			t.Errorf("swap: true makes %v", e)
		}
	}
}

func TestClock(t *testing.T) {
	for _, name := range images {
		i := loadImage(t, name)
		build(t, i, config(), 0)
		file := "var/lib/systemd/timesync/clock"
		if name == "stretch" {
			file = "var/lib/systemd/clock"
		}
		info, err := i.root.Stat(file)
		if err != nil || !info.ModTime().Equal(buildTime) {
			t.Errorf("%s: %v, %v", name, info, err)
			continue
		}
		acc, _ := parseAccount(parseTable(content(t, i.root, "etc/passwd"), 7).row("systemd-timesync"))
		if uid, gid, _ := plan.Owner(info); uid != acc.uid || gid != acc.gid || uid == 0 {
			t.Errorf("%s: owner %d:%d, want %d:%d", name, uid, gid, acc.uid, acc.gid)
		}
		if name != "trixie" && name != "trixie-2026-04" {
			if got := content(t, i.root, "etc/fake-hwclock.data"); got != "2026-06-01 12:00:00\n" {
				t.Errorf("%s: fake-hwclock: %q", name, got)
			}
		}
	}

	// A base that is newer keeps its time.
	i := loadImage(t, "bookworm")
	later := buildTime.Add(time.Hour)
	i.root.SetTime("var/lib/systemd/timesync/clock", later).Put("etc/fake-hwclock.data", "2026-06-01 13:00:00\n")
	build(t, i, config(), 0)
	if info, _ := i.root.Stat("var/lib/systemd/timesync/clock"); !info.ModTime().Equal(later) {
		t.Errorf("the clock goes back to %v", info.ModTime())
	}
	if got := content(t, i.root, "etc/fake-hwclock.data"); got != "2026-06-01 13:00:00\n" {
		t.Errorf("fake-hwclock goes back to %q", got)
	}

	// A folder that is not there is made for its owner.
	i = loadImage(t, "bookworm")
	i.root.Remove("var/lib/systemd/timesync/clock")
	i.root.Remove("var/lib/systemd/timesync")
	build(t, i, config(), 0)
	if info, err := i.root.Stat("var/lib/systemd/timesync"); err != nil {
		t.Error(err)
	} else if uid, _, _ := plan.Owner(info); uid != 997 {
		t.Errorf("the folder belongs to %d", uid)
	}
}

func TestLocale(t *testing.T) {
	i := loadImage(t, "bookworm")
	i.root.Put("etc/default/locale", "LANG=en_GB.UTF-8\nLANGUAGE=en\nLC_TIME=C\n").
		Put("etc/console-setup/cached_setup_keyboard.sh", "x").Put("etc/console-setup/cached_UTF-8_del.kmap.gz", "x").
		Put("etc/console-setup/remap.inc", "x")
	build(t, i, one(func(n *nodes.Node) { n.Locale, n.Keymap, n.Timezone = "de_DE.UTF-8", "de", "Etc/UTC" }), 0)
	if got := content(t, i.root, "etc/default/locale"); got != "LANG=de_DE.UTF-8\nLC_TIME=C\n" {
		t.Errorf("locale: %q", got)
	}
	if got := content(t, i.root, "etc/locale.gen"); !strings.Contains(got, "\nde_DE.UTF-8 UTF-8\n") || !strings.Contains(got, "\nen_GB.UTF-8 UTF-8\n") {
		t.Errorf("locale.gen: %q", got)
	}
	if got := content(t, i.root, "etc/default/keyboard"); !strings.Contains(got, "\nXKBLAYOUT=\"de\"\n") {
		t.Errorf("keyboard: %q", got)
	}
	names, _ := fs.Glob(i.root, "etc/console-setup/*")
	if strings.Join(names, " ") != "etc/console-setup/remap.inc" {
		t.Errorf("caches: %v", names)
	}
	if target, _ := i.root.ReadLink("etc/localtime"); target != "/usr/share/zoneinfo/Etc/UTC" {
		t.Errorf("localtime: %q", target)
	}
	if info, err := i.root.Stat("usr/lib/piimg/make-locale"); err != nil || info.Mode() != 0o755 {
		t.Errorf("make-locale: %v, %v", info, err)
	}
	for _, loc := range []string{"C.UTF-8", "POSIX", "en_GB.utf8"} {
		p := build(t, loadImage(t, "bookworm"), one(func(n *nodes.Node) { n.Locale = loc }), 0)
		for _, e := range p.Edits {
			if strings.Contains(e.Path, "make-locale") {
				t.Errorf("%s needs %v", loc, e)
			}
		}
	}
}

// systemd has nothing to say against our units.
func TestUnits(t *testing.T) {
	i := loadImage(t, "bookworm")
	build(t, i, config(), 2)
	dir := extract(t, i, "etc/systemd", "usr/lib", "lib")
	if err := os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	out := run(t, nil, "systemd-analyze", "verify", "--root="+dir, "--man=no", "--recursive-errors=no",
		filepath.Join("/etc/systemd/system/piimg-locale.service"))
	if strings.Contains(out, "piimg") {
		t.Error(out)
	}
	run(t, nil, "shellcheck", filepath.Join("..", "..", "overlays", "locale", "root", "usr", "lib", "piimg", "make-locale"))
	script := filepath.Join(t.TempDir(), "keep")
	if err := os.WriteFile(script, []byte(keepHostKeys), 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, nil, "shellcheck", script)
}

func TestCloudInit(t *testing.T) {
	i := loadImage(t, "trixie")
	p := build(t, i, config(), 0)
	d := newDraft(i.boot, i.root)
	if !d.exists(plan.Root, "etc/cloud/cloud-init.disabled") || !strings.Contains(content(t, i.root, "etc/cloud/cloud.cfg.d/99-piimg.cfg"), "preserve_hostname: true") {
		t.Error("cloud-init is not off")
	}
	if strings.Contains(strings.Join(p.Notices, "\n"), "user-data") {
		t.Errorf("notices: %q", p.Notices)
	}
	// Should it run, it must make no new host keys, nor lock the user's password.
	var conf map[string]any
	if err := yaml.Unmarshal([]byte(content(t, i.root, "etc/cloud/cloud.cfg.d/99-piimg.cfg")), &conf); err != nil {
		t.Error(err)
	}
	if users, ok := conf["users"].([]any); !ok || len(users) != 0 || conf["ssh_deletekeys"] != false {
		t.Errorf("cloud-init would change users or host keys: %v", conf)
	}
	bring := one(func(n *nodes.Node) {
		n.Files = []nodes.File{{Path: "/boot/firmware/user-data", Content: []byte("#cloud-config\nhostname: x\n")}}
	})
	p = build(t, i, bring, 0)
	if d.exists(plan.Root, "etc/cloud/cloud-init.disabled") || !strings.Contains(strings.Join(p.Notices, "\n"), "cloud-init runs") {
		t.Errorf("cloud-init is off, notices: %q", p.Notices)
	}
	p = build(t, i, config(), 0)
	if !d.exists(plan.Root, "etc/cloud/cloud-init.disabled") || !strings.Contains(strings.Join(p.Notices, "\n"), "user-data for cloud-init is not used") {
		t.Errorf("cloud-init runs, notices: %q", p.Notices)
	}
}

func TestCloudInitNetwork(t *testing.T) {
	i := loadImage(t, "trixie")
	bring := one(func(n *nodes.Node) {
		n.Files = []nodes.File{{Path: "/boot/firmware/network-config", Content: []byte("network: {version: 2}\n")}}
	})
	p := build(t, i, bring, 0)
	if newDraft(i.boot, i.root).exists(plan.Root, "etc/cloud/cloud-init.disabled") || !strings.Contains(strings.Join(p.Notices, "\n"), "you bring network-config") {
		t.Errorf("cloud-init is off, notices: %q", p.Notices)
	}
	p = build(t, i, config(), 0)
	if !strings.Contains(strings.Join(p.Notices, "\n"), "network-config for cloud-init is not used") {
		t.Errorf("notices: %q", p.Notices)
	}
}

// Everything that cannot be done comes out at once, each with the node.
func TestAllProblems(t *testing.T) {
	c := one(func(n *nodes.Node) {
		n.Timezone, n.Locale, n.Keymap = "Mars/Olympus", "xx_XX.UTF-8", "No Such"
		n.User.Name = "www-data"
		n.Files = []nodes.File{
			{Path: "/etc", Content: []byte("x")},
			{Path: "/opt/x", Content: []byte("x"), Owner: "nobody-here:root"},
			{Path: "/opt/y", Source: "/no/such/file"},
		}
		n.Overlays = []string{tree(t, "root/etc/passwd/x", "root/a → ../../b")}
		n.Cmdline = []string{"a\nb"}
		n.Wifi = &nodes.Wifi{SSID: "x", Passphrase: "short"}
	})
	_, err := Plan(input(t, loadImage(t, "bookworm"), c, 0))
	if err == nil {
		t.Fatal("no error")
	}
	got := strings.Split(err.Error(), "\n")
	if len(got) != 11 {
		t.Errorf("%d problems, want 11", len(got))
	}
	for _, line := range got {
		if !strings.HasPrefix(line, "node tom-nook: ") {
			t.Errorf("without the node: %s", line)
		}
	}
	for _, want := range []string{"timezone: ", "locale: ", "keymap: ", "user.name: ", "files: /etc: is a folder", "no user \"nobody-here\"", "/no/such/file", ": root/etc/passwd: is a file", ": root/a: is a symbolic", "cmdline: ", "wifi.passphrase: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
}
