package raspios

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// sshd takes the keys, and the public ones belong to them.
func TestHostKeys(t *testing.T) {
	for _, name := range images {
		t.Run(name, func(t *testing.T) {
			i := loadImage(t, name)
			i.root.Put("etc/ssh/ssh_host_rsa_key", "of all copies").Put("etc/ssh/ssh_host_rsa_key.pub", "of all copies")
			build(t, i, config(), 1)
			d := newDraft(i.boot, i.root)
			dir, conf := t.TempDir(), ""
			keys, _ := fs.Glob(i.root, "etc/ssh/ssh_host_*_key")
			if len(keys) != 2 {
				t.Fatalf("keys: %v", keys)
			}
			for _, k := range keys {
				info, _ := i.root.Stat(k)
				if info.Mode() != 0o600 {
					t.Errorf("%s: %v", k, info.Mode())
				}
				file := filepath.Join(dir, filepath.Base(k))
				if err := os.WriteFile(file, []byte(content(t, i.root, k)), 0o600); err != nil {
					t.Fatal(err)
				}
				pub := run(t, nil, "ssh-keygen", "-y", "-f", file)
				if got := content(t, i.root, k+".pub"); strings.Fields(got)[1] != strings.Fields(pub)[1] {
					t.Errorf("%s.pub is of another key", k)
				}
				conf += "HostKey " + file + "\n"
			}
			// Nothing on the first boot makes others.
			if d.unit("regenerate_ssh_host_keys.service") != "" && (!d.masked("regenerate_ssh_host_keys.service") || d.enabled("regenerate_ssh_host_keys.service")) {
				t.Error("regenerate_ssh_host_keys.service is not off")
			}
			const program = "usr/lib/raspberrypi-sys-mods/regenerate_ssh_host_keys"
			if d.exists(plan.Root, program) && content(t, i.root, program) != keepHostKeys {
				t.Error("the first boot's program makes new keys")
			}

			file := filepath.Join(dir, "sshd_config")
			if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
				t.Skipf("sshd cannot be asked without /run/sshd: %v", err)
			}
			run(t, nil, tooltest.Path(t, "sshd"), "-t", "-f", file)
		})
	}
}

func TestSSHOff(t *testing.T) {
	for _, name := range images {
		i := loadImage(t, name)
		build(t, i, config(), 0) // had it on
		build(t, i, one(func(n *nodes.Node) { n.SSH = false }), 0)
		f, err := Detect(i.boot, i.root)
		if err != nil {
			t.Fatal(err)
		}
		if f.SSH.Enabled {
			t.Errorf("%s: ssh is on", name)
		}
		if newDraft(i.boot, i.root).exists(plan.Root, "etc/systemd/system/sshd.service") {
			t.Errorf("%s: the alias is still there", name)
		}
	}
	i := loadImage(t, "bookworm")
	if err := i.root.Remove("usr/lib/systemd/system/ssh.service"); err != nil {
		t.Fatal(err)
	}
	if _, err := Plan(input(t, i, config(), 0)); err == nil || !strings.Contains(err.Error(), "no ssh.service") {
		t.Error(err)
	}
}

// systemd's own idea of what a first boot enables: it must not undo ours.
func TestPresets(t *testing.T) {
	systemctl := tooltest.Path(t, "systemctl")
	for _, name := range []string{"trixie", "trixie-2026-04"} {
		for _, on := range []bool{true, false} {
			i := loadImage(t, name)
			build(t, i, one(func(n *nodes.Node) { n.SSH = on }), 0)
			dir := extract(t, i, "etc/systemd", "usr/lib/systemd", "lib")
			run(t, nil, systemctl, "--root="+dir, "preset-all", "--preset-mode=enable-only")
			_, err := os.Lstat(filepath.Join(dir, "etc/systemd/system/multi-user.target.wants/ssh.service"))
			if (err == nil) != on {
				t.Errorf("%s: ssh %v: %v", name, on, err)
			}
			if target, _ := os.Readlink(filepath.Join(dir, "etc/systemd/system/userconfig.service")); target != "/dev/null" {
				t.Errorf("%s: userconfig is %q", name, target)
			}
		}
	}
}

// extract writes parts of an image's root to the disk.
func extract(t *testing.T, i image, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		err := fs.WalkDir(i.root, n, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			to := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			info, err := i.root.Lstat(name)
			if err != nil {
				return err
			}
			switch {
			case info.Mode()&fs.ModeSymlink != 0:
				target, err := i.root.ReadLink(name)
				if err != nil {
					return err
				}
				return os.Symlink(target, to)
			case info.IsDir():
				return os.MkdirAll(to, 0o755)
			}
			return os.WriteFile(to, []byte(content(t, i.root, name)), info.Mode().Perm())
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
