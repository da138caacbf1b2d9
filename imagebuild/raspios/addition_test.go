package raspios

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
)

func TestAdditions(t *testing.T) {
	unit := "[Service]\nExecStart=/usr/lib/piimg/firstboot\n"
	addition := Addition{
		Why: "cluster",
		Overlays: []fs.FS{fstest.MapFS{
			"usr/lib/piimg/firstboot":              {Data: []byte("#!/bin/sh\n")},
			"etc/systemd/system/cluster.service":   {Data: []byte(unit)},
			"etc/systemd/system/cluster.timer":     {Data: []byte("[Timer]\n")},
			"lib/systemd/system-sleep/cluster.dat": {Data: []byte("x")},
		}},
		Edits: []plan.Edit{
			{Partition: plan.Root, Path: "etc/cluster/key", Op: plan.Write, Mode: 0o600, Content: []byte("k"), Secret: true},
			{Partition: plan.Root, Path: "etc/cluster/motd", Op: plan.Write, Mode: 0o644, Content: []byte("ours")},
			{Partition: plan.Boot, Path: "cluster.txt", Op: plan.Write, Content: []byte("hello")},
		},
		Cmdline: []string{"cgroup_enable=memory"},
		Enable:  []string{"cluster.service", "cluster.timer"},
		Notices: []string{"It takes a while."},
	}
	for _, name := range images {
		t.Run(name, func(t *testing.T) {
			i := loadImage(t, name)
			c := one(func(n *nodes.Node) {
				n.Files = []nodes.File{{Path: "/etc/cluster/motd", Content: []byte("theirs"), Mode: 0o644}}
			})
			in := input(t, i, c, 0)
			in.Additions = []Addition{addition}
			p, err := Plan(in)
			if err != nil {
				t.Fatal(err)
			}
			apply(t, i, p)
			for path, want := range map[string]string{
				"usr/lib/piimg/firstboot": "#!/bin/sh\n", "etc/cluster/key": "k",
				"etc/cluster/motd": "theirs", // the user's own files win
			} {
				if got := content(t, i.root, path); got != want {
					t.Errorf("/%s: %q, want %q", path, got, want)
				}
			}
			if info, err := i.root.Stat("usr/lib/piimg/firstboot"); err != nil || info.Mode() != 0o755 {
				t.Errorf("the program: %v, %v", info, err)
			}
			if got := content(t, i.boot, "cluster.txt"); got != "hello" {
				t.Errorf("cluster.txt: %q", got)
			}
			if got := content(t, i.boot, "cmdline.txt"); !hasArg(firstLine(got), "cgroup_enable=memory") || !strings.Contains(got, "root=") {
				t.Errorf("cmdline.txt: %q", got)
			}
			d := newDraft(i.boot, i.root)
			if !d.enabled("cluster.service") || !d.exists(plan.Root, unitDir+"/timers.target.wants/cluster.timer") {
				t.Error("the units are not enabled")
			}
			if got := strings.Join(p.Notices, "\n"); !strings.Contains(got, "It takes a while.") {
				t.Errorf("notices: %s", got)
			}
			for _, e := range p.Edits {
				if e.Path == "etc/cluster/key" && (!e.Secret || e.Why != "cluster") {
					t.Errorf("the key: secret %v, why %q", e.Secret, e.Why)
				}
			}
		})
	}
}

// A unit that is to be started and that nobody brought is a mistake that a node
// would show only by doing nothing.
func TestAdditionWithoutUnit(t *testing.T) {
	i := loadImage(t, "bookworm")
	in := input(t, i, one(func(*nodes.Node) {}), 0)
	in.Additions = []Addition{{Why: "cluster", Enable: []string{"missing.service"}}}
	if _, err := Plan(in); err == nil || !strings.Contains(err.Error(), "missing.service") {
		t.Errorf("got %v", err)
	}
}
