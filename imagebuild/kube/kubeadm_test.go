package kube

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/raspios"
	"github.com/piimg/piimg/imagebuild/secrets"
	"pgregory.net/rapid"
)

const kubeadmYAML = dir + "/kubeadm.yaml"

// asVersion loads one of the clusters with the version of a kubeadm.
func asVersion(t testing.TB, text string, v nodes.Version) *nodes.Config {
	t.Helper()
	return load(t, strings.Replace(text, "VERSION", v.String(), 1))
}

// clusters are those that kubeadm's judgement is asked for.
func clusters() map[string]string {
	oneNode := func(kubernetes string) string {
		return "kubernetes: {version: VERSION" + kubernetes + "}\nnodes:\n- {hostname: isabelle, role: control-plane, ip: 10.0.0.50}\n"
	}
	return map[string]string{
		"three nodes": threeNodes, "available": available,
		"alone":    oneNode(""),
		"ports":    oneNode(`, endpoint: "isabelle:8443"`),
		"small":    oneNode(", podSubnet: 10.244.8.0/24, serviceSubnet: 10.96.0.0/28"),
		"external": oneNode(`, endpoint: "k8s.example.net:443"`),
		"no CNI":   oneNode(", cni: none, certSANs: [10.1.2.3, a.b.c]"),
	}
}

// TestKubeadmAcceptsAll gives every configuration of every cluster to kubeadm of
// its version.
func TestKubeadmAcceptsAll(t *testing.T) {
	for _, k := range kubeadms(t) {
		for name, text := range clusters() {
			t.Run(k.version.String()+"/"+name, func(t *testing.T) {
				for node, a := range planAll(t, asVersion(t, text, k.version), secrets.Placeholder("villagers")) {
					if config := content(a, kubeadmYAML); config != "" {
						k.validate(t, node, config)
					}
				}
			})
		}
	}
}

// validate fails the test unless kubeadm takes the configuration, without a word
// of warning: an unknown field is one, in some of the documents.
func (k kubeadm) validate(t testing.TB, node, config string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), node+".yaml")
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := k.run(t, "config", "validate", "--config", name); strings.TrimSpace(out) != "ok" {
		t.Errorf("%s, kubeadm %s:\n%s", node, k.version, out)
	}
}

// TestKubeadmAcceptsAny does the same with clusters that nobody thought of.
func TestKubeadmAcceptsAny(t *testing.T) {
	all := kubeadms(t)
	rapid.Check(t, func(rt *rapid.T) {
		k := rapid.SampledFrom(all).Draw(rt, "kubeadm")
		c := anyCluster(t, rt, k.version)
		s := secrets.Placeholder(rapid.StringMatching(`[a-z]{1,8}`).Draw(rt, "secrets"))
		n := rapid.SampledFrom(c.Nodes).Draw(rt, "node")
		a, err := Plan(Input{Config: c, Node: n, Facts: facts(raspios.Dhcpcd), Secrets: s})
		if err != nil {
			rt.Fatal(err)
		}
		k.validate(t, n.Hostname, content(a, kubeadmYAML))
	})
}

func anyCluster(t testing.TB, rt *rapid.T, v nodes.Version) *nodes.Config {
	t.Helper()
	name := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?`).Filter(func(s string) bool { return strings.ContainsAny(s, "ghijkl") })
	names := rapid.SliceOfNDistinct(name, 2, 7, rapid.ID).Draw(rt, "names")
	planes := rapid.IntRange(1, min(5, len(names))).Draw(rt, "control planes")
	c := asVersion(t, available, v)
	template := c.Nodes
	c.Nodes = nil
	for i, name := range names {
		n := template[len(template)-1]
		if i < planes {
			n = template[0]
			for range i {
				n.IP = n.IP.Next()
			}
			n.Memory = rapid.SampledFrom([]int64{0, 1 << 30, 2 << 30}).Draw(rt, "memory")
		}
		n.Hostname = name
		n.Domain = rapid.SampledFrom([]string{"", "example.net"}).Draw(rt, "domain")
		c.Nodes = append(c.Nodes, n)
	}
	k := c.Kubernetes
	k.Untainted = planes == len(names)
	k.Endpoint.VIP = rapid.Bool().Draw(rt, "vip")
	k.Endpoint.Port = rapid.SampledFrom([]uint16{6443, 443, 8443, 65535}).Draw(rt, "port")
	if rapid.Bool().Draw(rt, "no mirror") {
		k.Mirrors = nodes.Mirrors{}
	}
	if rapid.Bool().Draw(rt, "no patches") {
		k.Patches = nil
	}
	k.CertSANs = rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,9}(\.[a-z0-9]{1,9}){0,3}|\*\.[a-z]{2,5}\.net|10\.[1-9]{1,2}\.0\.1`), 0, 5).Draw(rt, "SANs")
	return c
}

// TestTokensThatLookLikeNumbers has tokens that YAML may take for something else
// than text. About one in a million derived ones is like these.
func TestTokensThatLookLikeNumbers(t *testing.T) {
	for _, k := range kubeadms(t) {
		api := kubeadmAPI(componentsOf(k.version).API)
		for _, token := range []string{
			"123456.1234567890123456", "000000.0000000000000000", "1e1234.1234567890123456", "0x1234.1234567890123456",
			"0o1234.1234567890123456", "12345e.1234567890123456", "nulled.1234567890123456", "true00.1234567890123456",
			"201211.0123456789012345", "0b1101.1010101010101010",
		} {
			c := load(t, strings.Replace(threeNodes, "VERSION", k.version.String(), 1))
			p := &planner{
				Input: Input{Config: c, Node: c.Nodes[1], Secrets: secrets.Placeholder("villagers")},
				k:     c.Kubernetes,
			}
			p.keys, _ = p.Secrets.Kubernetes()
			join, err := p.joinConfiguration(api)
			if err != nil {
				t.Fatal(err)
			}
			join.Discovery.BootstrapToken.Token = token
			text, err := documents(join)
			if err != nil {
				t.Fatal(err)
			}
			k.validate(t, token, string(text))
		}
	}
}

// TestImagesAreKubeadms compares the images that a control plane is said to need
// with those that kubeadm asks for.
func TestImagesAreKubeadms(t *testing.T) {
	for _, k := range kubeadms(t) {
		for name, text := range clusters() {
			c := asVersion(t, text, k.version)
			a := planAll(t, c, secrets.Placeholder("villagers"))["isabelle"]
			file := filepath.Join(t.TempDir(), "kubeadm.yaml")
			if err := os.WriteFile(file, []byte(content(a, kubeadmYAML)), 0o600); err != nil {
				t.Fatal(err)
			}
			listed := strings.Fields(content(a, dir+"/images"))
			asked := strings.Fields(k.run(t, "config", "images", "list", "--config", file))
			for _, ref := range asked {
				if !slices.Contains(listed, ref) {
					t.Errorf("%s, %s: kubeadm asks for %s, which is not listed", k.version, name, ref)
				}
			}
			if len(asked) < 7 {
				t.Errorf("%s, %s: kubeadm asks for no more than %s", k.version, name, asked)
			}
		}
	}
}
