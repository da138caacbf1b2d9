package kube

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/raspios"
	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

var version1344 = nodes.Version{Major: 1, Minor: 34, Patch: 4}

// TestGolden compares what the nodes of two clusters get with what was looked at.
// Keys and certificates are left out, but for their names.
func TestGolden(t *testing.T) {
	for name, text := range map[string]string{"three": threeNodes, "available": available} {
		c := asVersion(t, text, version1344)
		all := planAll(t, c, secrets.Placeholder("villagers"))
		var b bytes.Buffer
		for _, n := range c.Nodes {
			print(&b, n.Hostname, all[n.Hostname])
		}
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s differs: run go test -update and look at the difference", file)
		}
	}
}

func print(b *bytes.Buffer, node string, a raspios.Addition) {
	fmt.Fprintf(b, "=== %s\n", node)
	for _, n := range a.Notices {
		fmt.Fprintf(b, "notice: %s\n", n)
	}
	if len(a.Edits) > 0 {
		fmt.Fprintf(b, "cmdline: %s\nenable: %s\n", strings.Join(a.Cmdline, " "), strings.Join(a.Enable, " "))
	}
	edits := slices.Clone(a.Edits)
	plan.Sort(edits)
	for _, e := range edits {
		fmt.Fprintf(b, "--- %s /%s %04o", e.Op, e.Path, e.Mode)
		if e.Secret {
			b.WriteString(" secret")
		}
		b.WriteString("\n")
		switch {
		case bytes.Contains(e.Content, []byte("-----BEGIN")):
		case strings.HasSuffix(e.Path, ".conf") && e.Secret:
		default:
			b.Write(e.Content)
		}
	}
}

// TestSecretsStayWhereTheyBelong looks for every secret in everything that the
// nodes get.
func TestSecretsStayWhereTheyBelong(t *testing.T) {
	s := secrets.Placeholder("villagers")
	keys, err := s.Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range clusters() {
		c := asVersion(t, text, version1344)
		first := c.ControlPlanes()[0].Hostname
		for node, a := range planAll(t, c, s) {
			n := c.Nodes[slices.IndexFunc(c.Nodes, func(n nodes.Node) bool { return n.Hostname == node })]
			has := func(secret string, allowed bool, what string) {
				t.Helper()
				for _, e := range a.Edits {
					if !bytes.Contains(e.Content, []byte(secret)) {
						continue
					}
					if !allowed {
						t.Errorf("%s: %s has %s in /%s", name, node, what, e.Path)
					}
					if !e.Secret || e.Mode != 0o600 {
						t.Errorf("%s: %s: /%s holds %s, and has mode %04o, secret %v", name, node, e.Path, what, e.Mode, e.Secret)
					}
				}
				if strings.Contains(fmt.Sprintf("%+v", a), secret) {
					t.Errorf("%s: %s prints %s", name, node, what)
				}
			}
			plane := n.Role == nodes.ControlPlane
			has(body(keys.CA.Key), plane, "the authority's key")
			has(body(keys.EtcdCA.Key), plane, "etcd's authority's key")
			has(body(keys.FrontProxyCA.Key), plane, "the front proxy's authority's key")
			has(body(keys.ServiceAccount), plane, "the key of service accounts")
			has(body(keys.ClientCA.Key), false, "the key of k3s's authority")
			for _, other := range c.Nodes {
				token := s.BootstrapToken(other.Hostname).Reveal()
				has(token, node == first || node == other.Hostname && n.InCluster(), "the token of "+other.Hostname)
			}
			if !n.InCluster() && (len(a.Edits) > 0 || len(a.Cmdline) > 0) {
				t.Errorf("%s: %s is not in the cluster, and gets something", name, node)
			}
			for _, e := range a.Edits {
				if bytes.Contains(e.Content, []byte("PRIVATE KEY")) && !e.Secret {
					t.Errorf("%s: %s: /%s holds a key, and is no secret", name, node, e.Path)
				}
				if e.Partition != plan.Root || e.UID != 0 || e.GID != 0 || e.Why == "" {
					t.Errorf("%s: %s: odd edit %v: owner %d:%d, why %q", name, node, e, e.UID, e.GID, e.Why)
				}
			}
			if err := plan.Validate(plan.Merge(a.Edits)); err != nil {
				t.Errorf("%s: %s: %v", name, node, err)
			}
		}
	}
}

// body returns what is secret in PEM: a line of it.
func body(key secrets.PrivateKey) string { return strings.Split(string(key), "\n")[1] }

// TestPlanIsTheSameAgain plans twice.
func TestPlanIsTheSameAgain(t *testing.T) {
	for name, text := range clusters() {
		c := asVersion(t, text, version1344)
		s := secrets.Placeholder("villagers")
		first, second := planAll(t, c, s), planAll(t, c, s)
		for node, a := range first {
			if !slices.EqualFunc(a.Edits, second[node].Edits, plan.Edit.Same) {
				t.Errorf("%s: %s gets something else the second time", name, node)
			}
		}
	}
}

// TestOtherSecrets lists what changes with them.
func TestOtherSecrets(t *testing.T) {
	c := asVersion(t, available, version1344)
	one := planAll(t, c, secrets.Placeholder("villagers"))
	two := planAll(t, c, otherSecrets(t))
	for node, a := range one {
		for i, e := range a.Edits {
			secret := e.Secret || strings.HasSuffix(e.Path, ".crt") || strings.HasSuffix(e.Path, "sa.pub")
			if e.Op == plan.Write && e.Same(two[node].Edits[i]) == secret {
				t.Errorf("%s: /%s: the same %v, secret %v", node, e.Path, !secret, secret)
			}
		}
	}
}

func otherSecrets(t *testing.T) *secrets.Secrets {
	t.Helper()
	s, err := secrets.Create(filepath.Join(t.TempDir(), "secrets.yaml"), "villagers")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEnv has a shell read node.env.
func TestEnv(t *testing.T) {
	sh := tooltest.Path(t, "sh")
	c := asVersion(t, available, version1344)
	c.Cluster.Name = `it's $HOME "and" \back`
	for _, n := range c.Nodes {
		a, err := Plan(Input{Config: c, Node: n, Facts: facts(raspios.NetworkManager), Secrets: secrets.Placeholder("villagers")})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "node.env")
		if err := os.WriteFile(file, []byte(content(a, etc+"/node.env")), 0o600); err != nil {
			t.Fatal(err)
		}
		out := run(t, sh, "-euc", `. "$1"; printf '%s|%s|%s|%s' "$PIIMG_CLUSTER" "$PIIMG_NODE" "$PIIMG_ACTION" "$PIIMG_NODE_IP"`, "sh", file)
		action := map[string]string{"isabelle": "init", "digby": "join-control-plane", "kk": "join-control-plane", "blathers": "join"}[n.Hostname]
		ip := ""
		if n.IP.IsValid() {
			ip = n.IP.String()
		}
		if want := strings.Join([]string{c.Cluster.Name, n.Hostname, action, ip}, "|"); out != want {
			t.Errorf("the shell reads %q instead of %q", out, want)
		}
	}
	c.Cluster.Name = "two\nlines"
	if _, err := Plan(Input{Config: c, Node: c.Nodes[0], Facts: facts(raspios.NetworkManager), Secrets: secrets.Placeholder("villagers")}); err == nil || !strings.Contains(err.Error(), "node isabelle: PIIMG_CLUSTER") {
		t.Errorf("a name of two lines: %v", err)
	}
}

// TestMemory has the notice that a check is waived.
func TestMemory(t *testing.T) {
	for memory, want := range map[int64]struct {
		waived bool
		notice string
	}{
		0: {}, 1 << 30: {true, "with the 1024 MiB of this one"}, 1900 << 20: {}, 2 << 30: {}, 8 << 30: {},
	} {
		c := asVersion(t, threeNodes, version1344)
		c.Nodes[0].Memory, c.Nodes[1].Memory = memory, memory
		all := planAll(t, c, secrets.Placeholder("villagers"))
		if got := strings.Contains(content(all["isabelle"], kubeadmYAML), "ignorePreflightErrors:\n  - Mem\n"); got != want.waived {
			t.Errorf("%d: waived %v", memory, got)
		}
		notices := strings.Join(all["isabelle"].Notices, "\n")
		if (want.notice == "") != (notices == "") || !strings.Contains(notices, want.notice) {
			t.Errorf("%d: notices %q", memory, notices)
		}
		if strings.Contains(content(all["blathers"], kubeadmYAML), "Mem") || len(all["blathers"].Notices) > 0 {
			t.Errorf("%d: a worker is told of its memory", memory)
		}
	}
}

// TestPlanErrors wants the node, and what is wrong.
func TestPlanErrors(t *testing.T) {
	c := asVersion(t, available, version1344)
	c.Kubernetes.CNI.Manifest = []byte("kind: [\n")
	in := Input{Config: c, Node: c.Nodes[0], Facts: facts(raspios.NetworkManager), Secrets: secrets.Placeholder("villagers")}
	_, err := Plan(in)
	if err == nil || !strings.Contains(err.Error(), "node isabelle: the manifest "+c.Kubernetes.CNI.Path) {
		t.Errorf("a bad manifest: %v", err)
	}
	c.Kubernetes = nil
	if a, err := Plan(in); err != nil || len(a.Edits) > 0 {
		t.Errorf("without a cluster: %v, %v", a.Edits, err)
	}
}

// What a node has been given for Kubernetes goes when its image becomes that of
// another node, whatever that one is: so all of it must be known as the package's.
func TestOwns(t *testing.T) {
	covered := func(owns []string, name string) bool {
		return slices.ContainsFunc(owns, func(o string) bool { return name == o || strings.HasPrefix(name, o+"/") })
	}
	for _, text := range []string{threeNodes, available} {
		c := asVersion(t, text, version1344)
		for node, a := range planAll(t, c, secrets.Placeholder("villagers")) {
			for _, tree := range a.Overlays {
				_ = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, _ error) error {
					if !d.IsDir() && !covered(a.Owns, name) {
						t.Errorf("%s: /%s of an overlay is nobody's", node, name)
					}
					return nil
				})
			}
			for _, e := range a.Edits {
				// crictl's configuration may be the user's on a node that is not ours.
				if e.Path != "etc/crictl.yaml" && !covered(a.Owns, e.Path) {
					t.Errorf("%s: /%s is nobody's", node, e.Path)
				}
			}
			for _, unit := range a.Enable {
				if wants := regexp.MustCompile(`\.wants/` + regexp.QuoteMeta(unit) + "$"); !slices.ContainsFunc(a.Owns, wants.MatchString) {
					t.Errorf("%s: what starts %s is nobody's", node, unit)
				}
			}
		}
		c.Kubernetes = nil
		a, err := Plan(Input{Config: c, Node: c.Nodes[0], Facts: facts(raspios.NetworkManager), Secrets: secrets.Placeholder("villagers")})
		if err != nil || len(a.Edits)+len(a.Overlays)+len(a.Enable)+len(a.Cmdline) > 0 || len(a.Owns) == 0 {
			t.Errorf("without a kubernetes block: %+v, %v", a, err)
		}
	}
}
