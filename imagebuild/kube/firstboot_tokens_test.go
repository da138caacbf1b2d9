//go:build linux

package kube

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

const keeper = "usr/lib/piimg/tokens"

// keep runs the keeper of tokens.
func (n *node) keep() {
	n.t.Helper()
	if out, err := n.run(keeper); err != nil {
		n.t.Fatalf("the keeper of tokens: %v\n%s", err, out)
	}
}

// kept returns whose tokens the control plane keeps, and the ids that the cluster has.
func (n *node) kept() (names, ids []string) {
	for line := range strings.Lines(n.read("etc/piimg/kubernetes/tokens")) {
		names = append(names, strings.Fields(line)[0])
	}
	return names, slices.Sorted(maps.Keys(readWorld(n.dir).Tokens))
}

// TestTokens follows the tokens of two workers, of which one comes late.
func TestTokens(t *testing.T) {
	n := newNode(t, kind(t, "init"))
	n.keep() // there is no cluster yet
	if log, _ := os.ReadFile(filepath.Join(n.dir, "log")); strings.Contains(string(log), "kubectl") {
		t.Error("the API server was asked before there was one")
	}
	n.boot()
	s := secrets.Placeholder("villagers")
	blathers, celeste := s.BootstrapToken("blathers"), s.BootstrapToken("celeste")
	expect := func(when string, names []string, want ...secrets.Token) {
		t.Helper()
		gotNames, gotIDs := n.kept()
		var ids []string
		for _, token := range want {
			ids = append(ids, token.ID())
		}
		slices.Sort(ids)
		if !slices.Equal(gotNames, names) || !slices.Equal(gotIDs, ids) {
			t.Errorf("%s: the tokens of %v are kept, and the cluster has %v; want %v and %v\n%s", when, gotNames, gotIDs, names, ids, n.out.String())
		}
	}
	both := []string{"blathers", "celeste"}
	expect("after init", both, blathers, celeste)

	// kubeadm's tokens last for a day: the half of it they are left alone.
	log := filepath.Join(n.dir, "log")
	must(os.Truncate(log, 0))
	n.keep()
	if said, _ := os.ReadFile(log); strings.Contains(string(said), "apply") {
		t.Error("tokens that are good were written again")
	}
	n.change(func(w *world) { w.Clock = w.Clock.Add(13 * time.Hour) })
	n.keep()
	expect("after 13 hours", both, blathers, celeste)
	for id, token := range readWorld(n.dir).Tokens {
		if left := token.Until.Sub(readWorld(n.dir).Clock); left < 23*time.Hour {
			t.Errorf("the token %s is good for %v", id, left)
		}
		if whole := id + "." + token.Secret; whole != blathers.Reveal() && whole != celeste.Reveal() {
			t.Errorf("the token %s was made with another secret", id)
		}
	}
	// What has ended is removed by the cluster, and made anew.
	n.change(func(w *world) { w.Tokens = map[string]token{}; w.Clock = w.Clock.Add(72 * time.Hour) })
	n.keep()
	expect("after three days", both, blathers, celeste)

	n.change(func(w *world) { w.Nodes["blathers"] = "False" })
	n.keep()
	expect("when blathers has joined", both, blathers, celeste)
	n.change(func(w *world) { w.Nodes["blathers"] = "True" })
	n.keep()
	expect("when blathers is ready", both[1:], celeste)
	if info, err := os.Stat(n.path("etc/piimg/kubernetes/tokens")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the list of tokens: %v, %v", info.Mode(), err)
	}

	n.change(func(w *world) { w.Broken["kubectl"] = "The connection to the server was refused" })
	if out, err := n.run(keeper); err == nil {
		t.Errorf("nothing is said of an API server that does not answer:\n%s", out)
	}
	expect("when the API server does not answer", both[1:], celeste)
	n.change(func(w *world) {
		w.Broken = map[string]string{}
		w.Nodes["celeste"] = "True"
		w.Enable["piimg-tokens.timer"], w.Active["piimg-tokens.timer"] = true, true
	})
	n.keep()
	expect("when all are ready", nil)
	if w := readWorld(n.dir); n.has("etc/piimg/kubernetes/tokens") || w.Enable["piimg-tokens.timer"] || w.Active["piimg-tokens.timer"] {
		t.Error("the keeper keeps nothing, and goes on")
	}
	n.keep()
	n.quiet()
}

// TestTokensCutOff cuts the keeper off at every moment, and lets it run again.
func TestTokensCutOff(t *testing.T) {
	first := newNode(t, kind(t, "init"))
	first.boot()
	first.change(func(w *world) {
		w.Nodes["blathers"] = "True"
		w.Tokens = map[string]token{"aaaaaa": {"another's", w.Clock.Add(time.Hour)}}
	})
	reference := first.copy(t)
	moments := 0
	reference.moments(func(int) bool { moments++; return false }, keeper)
	want := reference.state()
	tries := min(moments, 20*cuts(t))
	for i := range tries {
		at := i * moments / tries
		n := first.copy(t)
		if !n.moments(func(count int) bool { return count == at }, keeper) {
			t.Fatalf("there is no moment %d of %d", at, moments)
		}
		n.keep()
		for _, d := range differences(n.state(), want) {
			t.Errorf("cut off at moment %d of %d: %s", at, moments, d)
		}
	}
}

var anyToken = regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`)

// quiet fails the test if a secret was said, or was the argument of a program.
func (n *node) quiet() {
	n.t.Helper()
	log, err := os.ReadFile(filepath.Join(n.dir, "log"))
	must(err)
	s := secrets.Placeholder("villagers")
	for where, text := range map[string]string{
		"what was said": n.out.String(), "the arguments of programs": string(log),
		"the status": n.read("var/lib/piimg/status") + n.read("boot/firmware/piimg-status.txt"),
	} {
		for _, m := range anyToken.FindAllString(text, -1) {
			n.t.Errorf("%s contains the token %.6s…", where, m)
		}
		for _, name := range []string{"blathers", "celeste", "digby", "kk"} {
			if _, secret, _ := strings.Cut(s.BootstrapToken(name).Reveal(), "."); strings.Contains(text, secret) {
				n.t.Errorf("%s contains the secret of %s' token", where, name)
			}
		}
		if strings.Contains(text, "PRIVATE KEY") {
			n.t.Errorf("%s contains a private key", where)
		}
	}
}

// TestNoSecretIsLeft looks at everything on the cards after the first boot.
func TestNoSecretIsLeft(t *testing.T) {
	for _, k := range cardKinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, k)
			n.boot()
			n.quiet()
			for name, what := range n.tree() {
				switch {
				case strings.HasSuffix(name, ".new"):
					t.Errorf("%s is left over", name)
				case name == "etc/piimg/kubernetes/tokens", strings.HasPrefix(name, "var/lib/rancher/k3s/server/tls/"), strings.HasPrefix(name, "etc/rancher/k3s/"):
					// the keeper's, and what k3s goes on to need
				case anyToken.MatchString(what):
					t.Errorf("a token is in %s", name)
				case strings.Contains(what, "PRIVATE KEY") && !strings.HasPrefix(name, "etc/kubernetes/pki/"):
					t.Errorf("a private key is in %s", name)
				case strings.Contains(what, "PRIVATE KEY") && n.env1("PIIMG_ROLE") == "worker":
					t.Errorf("a worker has the private key %s", name)
				}
			}
			for _, name := range []string{"var/lib/piimg/artifacts", "etc/piimg/kubernetes/kubeadm.yaml", "etc/piimg/kubernetes/pki", "run/piimg/kubeadm.yaml"} {
				if n.has(name) {
					t.Errorf("%s is still there", name)
				}
			}
		})
	}
}

// TestFirstBootUnits lets systemd judge the units, and shellcheck the scripts.
func TestFirstBootUnits(t *testing.T) {
	analyze := tooltest.Path(t, "systemd-analyze")
	n := newNode(t, kind(t, "init"))
	for _, unit := range []string{"kubelet.service", "containerd.service"} {
		must(os.Rename(n.path("usr/lib/piimg/units/"+unit), n.path("etc/systemd/system/"+unit)))
	}
	for _, name := range []string{"usr/local/bin/kubelet", "usr/local/bin/containerd", "sbin/modprobe"} {
		n.write(name, "#!/bin/sh\n")
		must(os.Chmod(n.path(name), 0o755))
	}
	// The targets that the units name are the machine's own.
	for _, unit := range []string{"multi-user.target", "timers.target", "sysinit.target", "basic.target", "shutdown.target", "network.target", "network-online.target", "local-fs.target"} {
		n.write("etc/systemd/system/"+unit, "[Unit]\nDescription="+unit+"\n")
	}
	units := []string{"piimg-firstboot.service", "piimg-tokens.service", "piimg-tokens.timer", "kubelet.service", "containerd.service"}
	for _, unit := range units {
		if out := run(t, analyze, "verify", "--man=no", "--root="+n.path(""), unit); out != "" {
			t.Errorf("systemd-analyze verify: %s", out)
		}
	}
	n.edit("etc/systemd/system/"+units[0], func(s string) string { return strings.Replace(s, "Restart=on-failure", "Restart=often", 1) })
	if out := run(t, analyze, "verify", "--man=no", "--root="+n.path(""), units[0]); !strings.Contains(out, "often") {
		t.Errorf("systemd-analyze says nothing of a unit that is wrong: %s", out)
	}
	shellcheck := tooltest.Path(t, "shellcheck")
	args := []string{"--"}
	for _, dir := range []string{"../../overlays/kubernetes/root/usr", "../../overlays/k3s/root/usr"} {
		must(filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Ext(name) != ".service" {
				args = append(args, name)
			}
			return err
		}))
	}
	run(t, shellcheck, args...)
	for _, script := range args[1:] {
		run(t, tooltest.Path(t, "bash"), "-n", script)
	}
}

// TestTokensTemplate fills in the template that kubectl gets from the keeper.
func TestTokensTemplate(t *testing.T) {
	script, err := os.ReadFile("../../overlays/kubernetes/root/" + keeper)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`go-template=([^']*)'`).FindSubmatch(script)
	if m == nil {
		t.Fatal("the keeper has no template")
	}
	condition := func(kind, status string) any { return map[string]any{"type": kind, "status": status} }
	node := func(name string, labels map[string]any, conditions ...any) any {
		n := map[string]any{"metadata": map[string]any{"name": name}, "status": map[string]any{}}
		if labels != nil {
			n["metadata"].(map[string]any)["labels"] = labels
		}
		if conditions != nil {
			n["status"].(map[string]any)["conditions"] = conditions
		}
		return n
	}
	list := map[string]any{"items": []any{
		node("isabelle", map[string]any{"a": "b", "node-role.kubernetes.io/control-plane": "", "z": ""}, condition("MemoryPressure", "False"), condition("Ready", "True")),
		node("blathers", map[string]any{"a": "b"}, condition("Ready", "Unknown"), condition("PIDPressure", "True")),
		node("celeste", nil),
	}}
	var b strings.Builder
	if err := template.Must(template.New("").Parse(string(m[1]))).Execute(&b, list); err != nil {
		t.Fatal(err)
	}
	if want := "isabelle=True,control-plane\nblathers=Unknown\nceleste=\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
