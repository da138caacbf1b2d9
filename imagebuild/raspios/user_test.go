package raspios

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/nodes"
	"pgregory.net/rapid"
)

func content(t *testing.T, fsys fs.FS, name string) string {
	t.Helper()
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// one returns a configuration with one node, changed by fn.
func one(fn func(*nodes.Node)) *nodes.Config {
	c := config()
	c.Nodes = c.Nodes[:1]
	fn(&c.Nodes[0])
	return c
}

func TestSHA512Crypt(t *testing.T) {
	for _, pass := range []string{"s3cret", "a", "pässwörd with spaces", strings.Repeat("long", 40)} {
		got, err := sha512crypt(pass, "0123456789abcdef")
		if err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSpace(run(t, []byte(pass+"\n"), "openssl", "passwd", "-6", "-salt", "0123456789abcdef", "-stdin"))
		if got != want {
			t.Errorf("%q: got %s, want %s", pass, got, want)
		}
	}
	// The test vector of the scheme's specification.
	if got, _ := sha512crypt("Hello world!", "saltstring"); got != "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1" {
		t.Errorf("got %s", got)
	}
}

func TestUserPassword(t *testing.T) {
	for _, name := range images {
		t.Run(name, func(t *testing.T) {
			const given = "$6$abcdefgh$hash"
			for want, user := range map[string]nodes.User{
				given: {Name: "pi", PasswordHash: given},
				"*":   {Name: "pi", AuthorizedKeys: []string{"ssh-ed25519 AAAA"}},
			} {
				i := loadImage(t, name)
				p := build(t, i, one(func(n *nodes.Node) { n.User = user }), 0)
				row := parseTable(content(t, i.root, "etc/shadow"), 3).row("pi")
				if row[1] != want || row[2] != "20605" || len(row) != 9 {
					t.Errorf("shadow: %q", row)
				}
				for _, e := range p.Edits {
					if e.Path == "etc/shadow" && !e.Secret {
						t.Error("shadow is not secret")
					}
				}
			}
			if i := loadImage(t, name); strings.Contains(content(t, i.root, "etc/shadow"), "20605") {
				t.Error("the base changed")
			}
			in := input(t, loadImage(t, name), one(func(n *nodes.Node) { n.User.PasswordHash = "$y$j9T$salt$hash" }), 0)
			_, err := Plan(in)
			if old := in.Facts.Release.before(Bullseye); old != (err != nil) {
				t.Errorf("$y$: %v", err)
			}
		})
	}
}

// A renamed user keeps groups, files and ids in every file that names users.
func TestUserRename(t *testing.T) {
	for _, name := range images {
		t.Run(name, func(t *testing.T) {
			i := loadImage(t, name)
			before := map[string]string{}
			for _, f := range []string{"passwd", "shadow", "group", "gshadow", "subuid", "subgid"} {
				before[f] = content(t, i.root, "etc/"+f)
			}
			i.root.PutMode("home/pi/notes.txt", "mine", 0o600, 1000, 1000)
			build(t, i, one(func(n *nodes.Node) { n.User.Name = "tom" }), 0)
			for f, old := range before {
				now := content(t, i.root, "etc/"+f)
				for _, line := range lines(now) {
					w := strings.FieldsFunc(line, func(r rune) bool { return r == ':' || r == ',' })
					for _, field := range w {
						if field == "pi" || field == "/home/pi" {
							t.Errorf("%s still has %q", f, line)
						}
					}
				}
				if strings.Count(now, "\n") != strings.Count(old, "\n") {
					t.Errorf("%s: %d lines became %d", f, strings.Count(old, "\n"), strings.Count(now, "\n"))
				}
			}
			if got := content(t, i.root, "home/tom/notes.txt"); got != "mine" {
				t.Errorf("home: %q", got)
			}
			if _, err := i.root.Stat("home/pi"); err == nil {
				t.Error("the old home is still there")
			}
			info, err := i.root.Stat("home/tom/.ssh/authorized_keys")
			if err != nil || info.Mode() != 0o600 || info.Sys().(*ext4.Stat).UID != 1000 {
				t.Errorf("authorized_keys: %v, %v", info, err)
			}
			names, _ := fs.Glob(i.root, "etc/sudoers.d/010_*-nopasswd")
			if len(names) != 1 || names[0] != "etc/sudoers.d/010_tom-nopasswd" {
				t.Errorf("sudo rules: %v", names)
			}
			if os.Geteuid() == 0 { // they change their root folder
				dir := extract(t, i, "etc", "home")
				run(t, nil, "grpck", "-r", "-R", dir)
				run(t, nil, "pwck", "-r", "-q", "-R", dir)
			}
		})
	}
}

func TestUserRenameRefuses(t *testing.T) {
	for name, want := range map[string]string{"www-data": "another user", "sudo": "a group"} {
		_, err := Plan(input(t, loadImage(t, "bookworm"), one(func(n *nodes.Node) { n.User.Name = name }), 0))
		if err == nil || !strings.Contains(err.Error(), "node tom-nook: user.name: the image has "+want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	i := loadImage(t, "bookworm")
	i.root.PutDir("home/tom", 0, 0)
	_, err := Plan(input(t, i, one(func(n *nodes.Node) { n.User.Name = "tom" }), 0))
	if err == nil || !strings.Contains(err.Error(), "/home/tom is there already") {
		t.Error(err)
	}
	i = loadImage(t, "bookworm")
	i.root.Put("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
	_, err = Plan(input(t, i, one(func(n *nodes.Node) {}), 0))
	if err == nil || !strings.Contains(err.Error(), "no user with uid 1000") {
		t.Error(err)
	}
}

func TestSudo(t *testing.T) {
	for sudo, want := range map[nodes.Sudo]struct{ rule, member bool }{
		nodes.SudoNoPassword: {true, true}, nodes.SudoPassword: {false, true}, nodes.SudoNone: {false, false},
	} {
		i := loadImage(t, "bookworm")
		build(t, i, one(func(n *nodes.Node) { n.Sudo = sudo }), 0)
		rule, err := fs.ReadFile(i.root, "etc/sudoers.d/010_pi-nopasswd")
		if (err == nil) != want.rule {
			t.Errorf("%s: rule %q, %v", sudo, rule, err)
		}
		if err == nil {
			name := filepath.Join(t.TempDir(), "rule")
			if err := os.WriteFile(name, rule, 0o440); err != nil {
				t.Fatal(err)
			}
			run(t, nil, "visudo", "-cf", name)
		}
		group := parseTable(content(t, i.root, "etc/group"), 4).row("sudo")[3]
		if (group == "pi") != want.member {
			t.Errorf("%s: group sudo has %q", sudo, group)
		}
	}
}

// The dialog of the first boot is over, and the console is back.
func TestUserDialog(t *testing.T) {
	for _, name := range images {
		i := loadImage(t, name)
		i.boot.Put("userconf.txt", "a:b\n")
		in := input(t, i, config(), 0)
		build(t, i, config(), 0)
		if _, err := i.boot.Stat("userconf.txt"); err == nil {
			t.Errorf("%s: userconf.txt is still there", name)
		}
		if !in.Facts.UserConf {
			continue
		}
		d := newDraft(i.boot, i.root)
		if !d.masked("userconfig.service") || d.enabled("userconfig.service") || !d.enabled("getty@tty1.service") {
			t.Errorf("%s: the dialog is not off", name)
		}
		if _, err := i.root.Stat("etc/systemd/system/getty.target.wants"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d.exists("root", "etc/ssh/sshd_config.d/rename_user.conf") {
			t.Errorf("%s: the banner is still there", name)
		}
	}
}

func TestDesktop(t *testing.T) {
	i := loadImage(t, "bookworm")
	const lightdm, getty = "etc/lightdm/lightdm.conf", "etc/systemd/system/getty@tty1.service.d/autologin.conf"
	i.root.Put(lightdm, "[Seat:*]\nautologin-user=rpi-first-boot-wizard\n#x\n").
		Put("etc/xdg/autostart/piwiz.desktop", "x").Put("etc/sudoers.d/010_wiz-nopasswd", "x").
		Put(getty, "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin rpi-first-boot-wizard --noclear %I $TERM\n")
	p := build(t, i, config(), 0)
	if _, err := i.root.Stat(getty); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the console still logs the wizard in: %v", err)
	}
	if got := content(t, i.root, lightdm); got != "[Seat:*]\n#autologin-user=\n#x\n" {
		t.Errorf("lightdm: %q", got)
	}
	if !strings.Contains(strings.Join(p.Notices, "\n"), "wizard") {
		t.Errorf("notices: %q", p.Notices)
	}
	i = loadImage(t, "buster")
	i.root.Put(lightdm, "[Seat:*]\nautologin-user=pi\n").
		Put(getty, "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin pi --noclear %I $TERM\n")
	i.root.Put("etc/systemd/system/autologin@.service", "[Service]\nExecStart=-/sbin/agetty --autologin pi --noclear %I $TERM\n")
	build(t, i, one(func(n *nodes.Node) { n.User.Name = "tom" }), 0)
	if got := content(t, i.root, "etc/systemd/system/autologin@.service"); !strings.Contains(got, "--autologin tom --noclear") {
		t.Errorf("autologin@: %q", got)
	}
	if got := content(t, i.root, lightdm); got != "[Seat:*]\nautologin-user=tom\n" {
		t.Errorf("lightdm: %q", got)
	}
	if got := content(t, i.root, getty); !strings.Contains(got, "--autologin tom --noclear") {
		t.Errorf("getty: %q", got)
	}
}

// Lines that are no rows survive.
func TestTableRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`([a-z:+#,-]{0,12}\n){0,8}`).Draw(t, "text")
		if got := parseTable(text, 3).String(); got != text {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
