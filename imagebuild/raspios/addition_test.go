package raspios

import (
	"io/fs"
	"slices"
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

// What a base image has of another node's, from an earlier build, goes; what the
// plan puts there stays, the user's own files among it.
func TestAdditionOwns(t *testing.T) {
	owns := []string{"etc/cluster", "etc/systemd/system/cluster.service", unitDir + "/multi-user.target.wants/cluster.service", "usr/lib/absent"}
	file := func(name string) plan.Edit {
		return plan.Edit{Partition: plan.Root, Path: name, Op: plan.Write, Mode: 0o600, Content: []byte("x")}
	}
	folder := plan.Edit{Partition: plan.Root, Path: "etc/cluster/kept", Op: plan.Mkdir, Mode: 0o700}
	control := Addition{
		Why: "cluster", Owns: owns, Enable: []string{"cluster.service"},
		Overlays: []fs.FS{fstest.MapFS{"etc/systemd/system/cluster.service": {Data: []byte("[Service]\n")}}},
		Edits:    []plan.Edit{file("etc/cluster/pki/ca/ca.key"), file("etc/cluster/tokens"), folder, file("etc/cluster/kept/own"), file("etc/cluster/kept/secret")},
	}
	for _, test := range []struct {
		name     string
		addition Addition
		files    []nodes.File
		want     []string
	}{
		{"the same", control, nil, []string{"kept", "kept/own", "kept/secret", "pki", "pki/ca", "pki/ca/ca.key", "tokens"}},
		{"a worker", Addition{Why: "cluster", Owns: owns, Edits: []plan.Edit{folder, file("etc/cluster/kept/own")}}, nil, []string{"kept", "kept/own"}},
		{"plain", Addition{Why: "cluster", Owns: owns}, nil, nil},
		{"the user's", Addition{Why: "cluster", Owns: owns}, []nodes.File{{Path: "/etc/cluster/tokens", Content: []byte("mine"), Mode: 0o644}}, []string{"tokens"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := loadImage(t, "bookworm")
			var said bool
			for _, a := range []Addition{control, test.addition} {
				in := input(t, i, one(func(n *nodes.Node) { n.Files = test.files }), 0)
				in.Additions = []Addition{a}
				p, err := Plan(in)
				if err != nil {
					t.Fatal(err)
				}
				apply(t, i, p)
				said = strings.Contains(strings.Join(p.Notices, "\n"), "free space")
			}
			if want := test.name != "the same"; said != want {
				t.Errorf("it is said that keys may be left: %v, want %v", said, want)
			}
			var got []string
			_ = fs.WalkDir(i.root, "etc/cluster", func(name string, _ fs.DirEntry, err error) error {
				if err == nil && name != "etc/cluster" {
					got = append(got, strings.TrimPrefix(name, "etc/cluster/"))
				}
				return err
			})
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			enabled := newDraft(i.boot, i.root).enabled("cluster.service")
			if want := len(test.addition.Enable) > 0; enabled != want {
				t.Errorf("the unit is enabled: %v, want %v", enabled, want)
			}
		})
	}
}

// Keys that only some nodes may have are not left in the free space of another's image.
func TestAdditionGuarded(t *testing.T) {
	i := loadImage(t, "bookworm")
	key := plan.Edit{Partition: plan.Root, Path: "etc/cluster/pki/ca.key", Op: plan.Write, Mode: 0o600, Content: []byte("x"), Secret: true}
	a := Addition{Why: "cluster", Owns: []string{"etc/cluster"}, Guarded: []string{"etc/cluster/pki", "etc/cluster/none"}, Edits: []plan.Edit{key}}
	for range 2 { // a control plane's, also from its own image
		in := input(t, i, one(func(*nodes.Node) {}), 0)
		in.Additions = []Addition{a}
		p, err := Plan(in)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, i, p)
	}
	a.Edits = nil
	in := input(t, i, one(func(*nodes.Node) {}), 0)
	in.Additions = []Addition{a}
	if _, err := Plan(in); err == nil || !strings.Contains(err.Error(), "/etc/cluster/pki") || !strings.Contains(err.Error(), "untouched") {
		t.Errorf("a worker's image with the keys of a control plane: %v", err)
	}
}
