//go:build linux

package kube

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/secrets"
)

// A card is one of those that the tests boot.
type cardKind struct {
	name     string
	cluster  string // nodes.yaml
	hostname string
	offline  bool
	debs     bool // packages among the artifacts, in the place of programs
	long     bool // left out where it would take long to have them all
}

func cardKinds() []cardKind {
	const k3s = "kubernetes: {version: 1.34.1+k3s1, distribution: k3s}\nnodes:\n- {hostname: isabelle, role: control-plane, ip: 10.0.0.50}\n" +
		"- {hostname: blathers, role: worker, ip: 10.0.0.51}\n"
	const v = "1.34.4"
	three, ha := strings.ReplaceAll(threeNodes, "VERSION", v), strings.ReplaceAll(available, "VERSION", v)
	return []cardKind{
		{"init", three, "isabelle", true, false, false},
		{"init online", three, "isabelle", false, false, true},
		{"worker", three, "blathers", true, true, false},
		{"worker by DHCP online", three, "celeste", false, false, true},
		{"available init", ha, "isabelle", true, true, true},
		{"control plane", ha, "digby", true, false, false},
		{"k3s server", k3s, "isabelle", true, false, true},
		{"k3s agent online", k3s, "blathers", false, false, false},
	}
}

func kind(t testing.TB, name string) cardKind {
	t.Helper()
	for _, k := range cardKinds() {
		if k.name == name {
			return k
		}
	}
	t.Fatalf("there is no card %q", name)
	return cardKind{}
}

var bootTime = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// newNode writes a card as a build does, and puts it into a board.
func newNode(t testing.TB, k cardKind) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir(), bins: models(t)}
	root := filepath.Join(n.dir, "root")
	c := load(t, k.cluster)
	s := secrets.Placeholder("villagers")
	a := planAll(t, c, s)[k.hostname]
	for _, tree := range a.Overlays {
		layOver(t, tree, root)
	}
	place(t, a, root)
	for _, d := range []string{"etc/piimg/kubernetes", "etc/piimg/kubernetes/pki"} {
		_ = os.Chmod(filepath.Join(root, d), 0o700)
	}
	n.edit("etc/piimg/node.env", func(s string) string {
		if k.offline {
			s = strings.Replace(s, "PIIMG_OFFLINE='0'", "PIIMG_OFFLINE='1'", 1)
		}
		return s
	})
	for name, content := range map[string]string{
		"proc/filesystems":                 "nodev\tsysfs\nnodev\toverlay\n\text4\n",
		"proc/swaps":                       "Filename Type Size Used Priority\n/var/swap file 102396 0 -2\n",
		"proc/meminfo":                     "MemTotal:        1897324 kB\nMemFree:          100000 kB\n",
		"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
		"boot/firmware/config.txt":         "",
		"usr/lib/cni/tuning":               "a plugin of Debian's",
		"proc/sys/kernel/random/x":         "",
		"etc/kubernetes/x":                 "",
	} {
		n.write(name, content)
	}
	if k.offline {
		n.bring(k)
	} else {
		n.publish()
	}
	w := &world{
		Clock: bootTime, Addr: "10.0.0.50", Route: !k.offline, Active: map[string]bool{}, Enable: map[string]bool{}, Debs: map[string]string{},
		Nodes: map[string]string{}, Tokens: map[string]token{}, Broken: map[string]string{},
	}
	if ip := n.env1("PIIMG_NODE_IP"); ip != "" {
		w.Addr = ip
	}
	if !strings.HasSuffix(n.env1("PIIMG_ACTION"), "init") {
		w.Remote, w.Silent = true, 3
		id, secret, _ := strings.Cut(s.BootstrapToken(k.hostname).Reveal(), ".")
		w.Tokens[id] = token{secret, bootTime.Add(time.Hour)}
	}
	writeWorld(n.dir, w)
	n.restart()
	return n
}

// layOver lays an embedded tree over the card.
func layOver(t testing.TB, tree fs.FS, root string) {
	t.Helper()
	must(fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(tree, name)
		must(err)
		mode := os.FileMode(0o644)
		if strings.HasPrefix(string(data), "#!") {
			mode = 0o755
		}
		target := filepath.Join(root, name)
		must(os.MkdirAll(filepath.Dir(target), 0o755))
		return os.WriteFile(target, data, mode)
	}))
}

func (n *node) path(name string) string { return filepath.Join(n.dir, "root", name) }

func (n *node) write(name, content string) {
	must(os.MkdirAll(filepath.Dir(n.path(name)), 0o755))
	must(os.WriteFile(n.path(name), []byte(content), 0o644))
}

func (n *node) read(name string) string {
	data, err := os.ReadFile(n.path(name))
	if err != nil {
		return ""
	}
	return string(data)
}

func (n *node) has(name string) bool {
	_, err := os.Lstat(n.path(name))
	return err == nil
}

func (n *node) edit(name string, change func(string) string) {
	info, err := os.Stat(n.path(name))
	must(err)
	must(os.WriteFile(n.path(name), []byte(change(n.read(name))), info.Mode()))
}

func (n *node) env1(key string) string {
	f := &fake{root: filepath.Join(n.dir, "root")}
	return f.env(key)
}

// change changes the world.
func (n *node) change(change func(*world)) {
	w := readWorld(n.dir)
	change(w)
	writeWorld(n.dir, w)
}

// bring puts artifacts on the card: programs, or some of them as packages.
func (n *node) bring(k cardKind) {
	const dir = "var/lib/piimg/artifacts/"
	files := map[string]string{"cni/bridge": "bridge", "cni/loopback": "loopback"}
	programs := []string{"kubeadm", "kubelet", "kubectl", "containerd", "ctr", "crictl"}
	if n.env1("PIIMG_DISTRIBUTION") == "k3s" {
		programs = []string{"k3s"}
		files["images/k3s-airgap-images-arm64.tar"] = "images"
	}
	if k.debs {
		programs = []string{"kubeadm", "kubectl"}
		files["debs/containerd_1.7.24_arm64.deb"] = fmt.Sprintf(packageText, "containerd", "1.7.24", "usr/bin/containerd usr/bin/ctr")
		files["debs/kubelet_1.34.4-1.1_arm64.deb"] = fmt.Sprintf(packageText, "kubelet", "1.34.4-1.1", "usr/bin/kubelet")
	}
	for _, name := range programs {
		files["bin/"+name] = program(n.bins, name)
	}
	for i, ref := range strings.Fields(n.read("etc/piimg/kubernetes/images")) {
		files[fmt.Sprintf("images/%d.tar", i)] = ref + "\n"
	}
	sums := ""
	for _, name := range slices.Sorted(maps.Keys(files)) {
		n.write(dir+name, files[name])
		sums += fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(files[name])), name)
	}
	n.write(dir+"SHA256SUMS", sums)
}

// publish puts what is downloaded onto the internet.
func (n *node) publish() {
	internet := filepath.Join(n.dir, "internet")
	put := func(name, content string) {
		name = filepath.Join(internet, name)
		must(os.MkdirAll(filepath.Dir(name), 0o755))
		must(os.WriteFile(name, []byte(content), 0o644))
	}
	put("pkgs.k8s.io/core:/stable:/v1.34/deb/Release.key", "pub "+packagesKey+"\nsub 0123\n")
	k3s := program(n.bins, "k3s")
	release := "github.com/k3s-io/k3s/releases/download/v1.34.1%2Bk3s1/"
	put(release+"k3s-arm64", k3s)
	put(release+"sha256sum-arm64.txt", fmt.Sprintf("%x  k3s-arm64\n%x  other\n", sha256.Sum256([]byte(k3s)), 0))
}

// TestFirstBoot lets every kind of node boot until it is finished, and again.
func TestFirstBoot(t *testing.T) {
	for _, k := range cardKinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, k)
			n.boot()
		})
	}
}

// TestSkippedPhasesExist asks every kubeadm whether it knows the phases that the
// scripts leave out.
func TestSkippedPhasesExist(t *testing.T) {
	script, err := os.ReadFile("../../overlays/kubernetes/root/usr/lib/piimg/phases/60-cluster")
	if err != nil {
		t.Fatal(err)
	}
	skipped := func(command, pattern string) []string {
		m := regexp.MustCompile(pattern).FindSubmatch(script)
		if m == nil {
			t.Fatalf("the script leaves out no phases of kubeadm %s", command)
		}
		return strings.Split(string(m[1]), ",")
	}
	phases := map[string][]string{
		"init": append(skipped("init", ` skip=([a-z,-]+)\n`), skipped("init", `--skip-token-print --skip-phases=([a-z,-]+) `)...),
		"join": skipped("join", `join --config "\$config" --skip-phases=([a-z,-]+);`),
	}
	for _, k := range kubeadms(t) {
		all := planAll(t, asVersion(t, threeNodes, k.version), secrets.Placeholder("villagers"))
		for command, names := range phases {
			config := filepath.Join(t.TempDir(), "kubeadm.yaml")
			node := map[string]string{"init": "isabelle", "join": "blathers"}[command]
			must(os.WriteFile(config, []byte(content(all[node], kubeadmYAML)), 0o600))
			// It looks at the names in their order, and does nothing when one is wrong. Not
			// all of them are in its help.
			skip := "--skip-phases=" + strings.Join(append(names, "no-such-phase"), ",")
			out, err := exec.Command(k.path, command, "--dry-run", "--config", config, skip).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "invalid phase name: no-such-phase") {
				t.Errorf("kubeadm %s %s %s: %v\n%s", k.version, command, skip, err, out)
			}
		}
		if help := k.run(t, "reset", "--help"); !strings.Contains(help, "--cri-socket") || !strings.Contains(help, "--force") {
			t.Errorf("kubeadm %s reset lacks arguments", k.version)
		}
	}
}
