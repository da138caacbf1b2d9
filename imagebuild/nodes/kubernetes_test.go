package nodes

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	kubeHead  = "image: {path: a.img}\ncluster: {name: c, network: 10.0.0.0/24, gateway: 10.0.0.1, dns: [1.1.1.1]}\n"
	kubeUser  = "defaults: {user: {authorizedKeys: [~/.ssh/id_ed25519.pub]}}\n"
	kubeNodes = kubeUser + "nodes:\n- {hostname: a, role: control-plane, ip: 10.0.0.50}\n- {hostname: b, role: worker}\n"
	kubeHA    = kubeUser + "nodes:\n- {hostname: a, role: control-plane, ip: 10.0.0.50}\n- {hostname: a2, role: control-plane, ip: 10.0.0.51}\n- {hostname: b, role: worker, ip: 10.0.0.60}\n- {hostname: r, role: router, ip: 10.0.0.1}\n"
)

// TestKubernetesRefusals has one mistake a file, and wants it at its place: the
// kubernetes block is line 3 and begins in column 13.
func TestKubernetesRefusals(t *testing.T) {
	for _, test := range []struct{ block, nodes, place, message, hint string }{
		// Versions.
		{"{distribution: k3s}", kubeNodes, "3:13", "the key version is missing", "1.34.1"},
		{"{version: 1.34}", kubeNodes, "3:23", "without quotes this is a number", `"1.34.1"`},
		{"{version: 1}", kubeNodes, "3:23", "without quotes this is a number", `"1.34.1"`},
		{`{version: "1.34"}`, kubeNodes, "3:23", "a series of releases", `"1.34.1"`},
		{`{version: latest}`, kubeNodes, "3:23", "not an exact version", "1.34.1"},
		{`{version: stable}`, kubeNodes, "3:23", "not an exact version", "1.34.1"},
		{`{version: stable-1.34}`, kubeNodes, "3:23", "not a version", "1.34.1"},
		{`{version: ""}`, kubeNodes, "3:23", "not a version", ""},
		{`{version: 1.34.1-rc.0}`, kubeNodes, "3:23", "no release", ""},
		{`{version: 1.34.01}`, kubeNodes, "3:23", "not a version", ""},
		{`{version: 2.0.0}`, kubeNodes, "3:23", "no Kubernetes", ""},
		{`{version: [1.34.1]}`, kubeNodes, "3:23", "must be a version", ""},
		{`{version: 1.34.1+k3s1}`, kubeNodes, "3:23", "a version of k3s", "distribution: k3s"},
		{`{version: 1.34.1, distribution: k3s}`, kubeNodes, "3:23", "which release of k3s", "1.34.1+k3s1"},
		{`{version: v1.34.1-k3s1, distribution: k3s}`, kubeNodes, "3:23", "how k3s writes", "v1.34.1+k3s1"},
		{`{version: 1.34.1, distribution: k8s}`, kubeNodes, "3:45", "no distribution", "did you mean k3s"},
		// Subnets.
		{`{version: 1.34.1, podSubnet: 10.244.0.1/16}`, kubeNodes, "3:42", "not the network", "10.244.0.0/16"},
		{`{version: 1.34.1, podSubnet: 10.244.0.0/25}`, kubeNodes, "3:42", "each node gets a /24", "10.244.0.0/16"},
		{`{version: 1.34.1, podSubnet: 10.244.0.0/24}`, kubeNodes, "3:42", "1 networks of 256 addresses, and 2 nodes", "/16"},
		{`{version: 1.34.1, podSubnet: "fd00::/48"}`, kubeNodes, "3:42", "IPv6", "IPv4"},
		{`{version: 1.34.1, serviceSubnet: 10.96.0.0/29}`, kubeNodes, "3:46", "tenth address", "10.96.0.0/16"},
		{`{version: 1.34.1, serviceSubnet: 11.0.0.0/8}`, kubeNodes, "3:46", "a /12 at most", "11.0.0.0/16"},
		{`{version: 1.34.1, podSubnet: 10.100.0.0/16}`, kubeNodes, "3:42", "podSubnet 10.100.0.0/16 and the default serviceSubnet 10.96.0.0/12 overlap", "podSubnet: 10.244.0.0/16"},
		{`{version: 1.34.1, serviceSubnet: 10.244.128.0/20}`, kubeNodes, "3:46", "overlap", "serviceSubnet: 10.96.0.0/16"},
		{`{version: 1.34.1, podSubnet: 10.0.0.0/16}`, kubeNodes, "3:42", "overlaps cluster.network 10.0.0.0/24", "podSubnet: 10.244.0.0/16"},
		{`{version: 1.34.1, podSubnet: 1.1.0.0/16}`, kubeNodes, "3:42", "holds the name server 1.1.1.1", ""},
		// Endpoints.
		{`{version: 1.34.1}`, kubeHA, "3:13", "a and a2 need an endpoint", "10.0.0.254 is free"},
		{`{version: 1.34.1, endpoint: a}`, kubeHA, "3:41", "a is one of several control planes", "kube-vip"},
		{`{version: 1.34.1, endpoint: 10.0.0.51}`, kubeHA, "3:41", "a2 is one of several control planes", "kube-vip"},
		{`{version: 1.34.1, endpoint: b}`, kubeHA, "3:41", "b is no control plane", ""},
		{`{version: 1.34.1, endpoint: 10.0.0.60}`, kubeHA, "3:41", "b is no control plane", ""},
		{`{version: 1.34.1, endpoint: 10.0.0.255}`, kubeHA, "3:41", "broadcast", ""},
		{`{version: 1.34.1, endpoint: 127.0.0.1}`, kubeHA, "3:41", "loopback", ""},
		{`{version: 1.34.1, endpoint: 10.0.0.300}`, kubeHA, "3:41", "not an IPv4 address", ""},
		{`{version: 1.34.1, endpoint: "10.0.0.200:70000"}`, kubeHA, "3:41", `"70000" is not a port`, ""},
		{`{version: 1.34.1, endpoint: "10.0.0.200:10250"}`, kubeHA, "3:41", "in use on a control plane", ""},
		{`{version: 1.34.1, endpoint: "https://a"}`, kubeNodes, "3:41", "is a URL", "https://"},
		{`{version: 1.34.1, endpoint: "[::1]:6443"}`, kubeNodes, "3:41", "IPv6", ""},
		{`{version: 1.34.1, endpoint: K8s.example.net}`, kubeNodes, "3:41", "capital letters", "k8s.example.net"},
		{`{version: 1.34.1, endpoint: k8s}`, kubeNodes, "3:41", "there is no node", ""},
		{`{version: 1.34.1, endpoint: isabele}`, kubeUser + "nodes:\n- {hostname: isabelle, role: control-plane, ip: 10.0.0.50}\n", "3:41", "there is no node", "did you mean isabelle"},
		{`{version: 1.34.1, endpoint: k8s.example.net, loadBalancer: kube-vip}`, kubeHA, "3:41", "needs an address", "certSANs"},
		{`{version: 1.34.1, endpoint: 192.0.2.1, loadBalancer: kube-vip}`, kubeHA, "3:41", "not in cluster.network", "external"},
		{`{version: 1.34.1, endpoint: a, loadBalancer: kube-vip}`, kubeNodes, "3:58", "a has anyway", ""},
		{`{version: 1.34.1, endpoint: r, loadBalancer: kube-vip}`, kubeHA, "3:58", "r has anyway", ""},
		{`{version: 1.34.1, endpoint: 10.0.0.1, loadBalancer: kube-vip}`, kubeNodes, "3:41", "the gateway's address", ""},
		{`{version: 1.34.1, loadBalancer: external}`, kubeNodes, "3:45", "no endpoint for a load balancer", ""},
		{`{version: 1.34.1, endpoint: 10.0.0.200, loadBalancer: metallb}`, kubeHA, "3:67", "no loadBalancer", "kube-vip or external"},
		{`{version: 1.34.1, endpoint: 10.244.3.4}`, kubeHA, "3:41", "is in the default podSubnet", ""},
		// Nodes.
		{`{version: 1.34.1}`, kubeUser + "nodes:\n- {hostname: a, role: worker}\n", "3:13", "no control plane", "role: control-plane"},
		{`{version: 1.34.1}`, kubeUser + "nodes:\n- {hostname: a, role: control-plane}\n", "6:23", "needs a static address", "add ip:"},
		{`{version: 1.34.1}`, kubeUser + "nodes:\n- {hostname: a, role: control-plane, ip: dhcp}\n", "6:23", "needs a static address", "add ip:"},
		{`{version: 1.34.1}`, kubeUser + "nodes:\n- {hostname: a, role: control-plane, ip: 10.0.0.5, swap: true}\n", "6:58", "a has swap on", "swap to false"},
		{`{version: 1.34.1}`, "defaults: {swap: true, user: {authorizedKeys: [~/.ssh/id_ed25519.pub]}}\nnodes:\n- {hostname: a, role: control-plane, ip: 10.0.0.5}\n- {hostname: p}\n", "6:3", "a has swap on", "swap to false"},
		{`{version: 1.34.1}`, kubeUser + "nodes:\n- {hostname: a, role: control-plane, ip: 10.0.0.5, memory: 2}\n", "6:60", "must be text", ""},
		{`{version: 1.34.1}`, kubeUser + "nodes:\n- {hostname: a, role: control-plane, ip: 10.0.0.5, memory: 1MiB}\n", "6:60", "no board has", ""},
		// The rest.
		{`{version: 1.34.1, certSANs: [a, a]}`, kubeNodes, "3:45", "listed twice", ""},
		{`{version: 1.34.1, certSANs: [A.example]}`, kubeNodes, "3:42", "neither a name nor", "write a.example"},
		{`{version: 1.34.1, dnsDomain: ""}`, kubeNodes, "3:42", "not a domain name", ""},
		{`{version: 1.34.1, cni: cilium}`, kubeNodes, "3:36", `no cni "cilium"`, "{manifest: FILE}"},
		{`{version: 1.34.1, cni: {manifest: https://a/b.yaml}}`, kubeNodes, "3:47", "is a URL", "download it"},
		{`{version: 1.34.1, cni: {manifest: nope.yaml}}`, kubeNodes, "3:47", "does not exist", ""},
		{`{version: 1.34.1, cni: {manifest: patches}}`, kubeNodes, "3:47", "a folder, not a file", ""},
		{`{version: 1.34.1, cni: {manifest: nokey.pub}}`, kubeNodes, "3:47", "no object of Kubernetes", ""},
		{`{version: 1.34.1, cni: {}}`, kubeNodes, "3:36", "the key manifest is missing", ""},
		{`{version: 1.34.1, cni: true}`, kubeNodes, "3:36", "must be a mapping", ""},
		{`{version: 1.34.1, artifacts: ""}`, kubeNodes, "3:42", "the path is empty", ""},
		{`{version: 1.34.1, artifacts: tool}`, kubeNodes, "3:42", "not a folder", ""},
		{`{version: 1.34.1, patches: tool}`, kubeNodes, "3:40", "not a folder", ""},
		{`{version: 1.34.1+k3s1, distribution: k3s, patches: patches}`, kubeNodes, "3:64", "patches are kubeadm's", ""},
		{`{version: 1.34.1, mirrors: {packages: "https://a/b?c"}}`, kubeNodes, "3:51", "neither ? nor #", ""},
		{`{version: 1.34.1, mirrors: {binaries: "https://a/$(reboot)"}}`, kubeNodes, "3:51", "not a URL", ""},
		{`{version: 1.34.1, mirrors: {images: registry/k8s}}`, kubeNodes, "3:49", "not a registry", ""},
		{`{version: 1.34.1, mirrors: {images: Registry.example/}}`, kubeNodes, "3:49", "not how images are named", "write registry.example"},
		{`{version: 1.34.1, mirror: {}}`, kubeNodes, "3:31", "there is no key", "mirrors"},
		{`{version: 1.34.1, podCIDR: 10.244.0.0/16}`, kubeNodes, "3:31", "there is no key", "podSubnet"},
		{`k3s`, kubeNodes, "3:13", "must be a mapping", "version"},
		{``, kubeNodes, "3:1", "the key has no value", ""},
	} {
		text := kubeHead + "kubernetes: " + test.block + "\n" + test.nodes
		_, err := load(t, text)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: taken: %v", test.block, err)
			continue
		}
		p := e.Problems[0]
		if len(e.Problems) != 1 || fmt.Sprintf("%d:%d", p.Line, p.Column) != test.place || !strings.Contains(p.Message, test.message) || !strings.Contains(p.Hint, test.hint) {
			t.Errorf("%s: want %s %q %q, got:\n%v", test.block, test.place, test.message, test.hint, err)
		}
	}
}

// TestKubernetesGateway wants a default route on every node with a static address.
func TestKubernetesGateway(t *testing.T) {
	head := strings.Replace(kubeHead, ", gateway: 10.0.0.1", "", 1)
	_, err := load(t, head+"kubernetes: {version: 1.34.1}\n"+kubeNodes)
	if err == nil || !strings.Contains(err.Error(), "do not reach the cluster's services") || !strings.Contains(err.Error(), "add cluster.gateway") {
		t.Errorf("without a gateway: %v", err)
	}
	if _, err := load(t, head+kubeNodes); err != nil {
		t.Errorf("without a gateway, and without Kubernetes: %v", err)
	}
}

func TestKubernetesTaken(t *testing.T) {
	kube := func(block, nodes string) *Config {
		t.Helper()
		text := kubeHead + "kubernetes: " + block + "\n" + nodes
		c, err := load(t, text)
		if err != nil {
			t.Fatalf("%s: %v", block, err)
		}
		if misfit := schemaMisfit(t, text); misfit != "" {
			t.Errorf("%s: the schema says: %s", block, misfit)
		}
		return c
	}
	c := kube(`{version: "1.34.1"}`, kubeNodes)
	k := c.Kubernetes
	want := Kubernetes{
		Version: Version{Major: 1, Minor: 34, Patch: 1}, Distribution: Kubeadm,
		PodSubnet: netip.MustParsePrefix("10.244.0.0/16"), ServiceSubnet: netip.MustParsePrefix("10.96.0.0/12"),
		Endpoint:  Endpoint{Host: "a", Addr: netip.MustParseAddr("10.0.0.50"), Port: 6443},
		DNSDomain: "cluster.local", CNI: CNI{Kind: Flannel}, Place: "nodes.yaml:3:13", VersionPlace: "nodes.yaml:3:23",
	}
	if got := fmt.Sprintf("%+v", *k); got != fmt.Sprintf("%+v", want) || len(c.Notices) != 0 {
		t.Errorf("the defaults are\n%s instead of\n%+v, and %v", got, want, c.Notices)
	}
	if len(c.ControlPlanes()) != 1 || c.Workers()[0].Hostname != "b" || !c.Nodes[0].InCluster() {
		t.Error("the nodes are not told apart")
	}
	k = kube(`{version: v1.34.1+k3s2, distribution: k3s, cni: none}`, kubeNodes).Kubernetes
	if k.Version.String() != "1.34.1+k3s2" || k.PodSubnet.String() != "10.42.0.0/16" || k.ServiceSubnet.String() != "10.43.0.0/16" || k.CNI.Kind != NoCNI {
		t.Errorf("k3s: %+v", k)
	}
	for endpoint, want := range map[string]Endpoint{
		"a":                      {Host: "a", Addr: netip.MustParseAddr("10.0.0.50"), Port: 6443},
		"a:7443":                 {Host: "a", Addr: netip.MustParseAddr("10.0.0.50"), Port: 7443},
		"10.0.0.50":              {Host: "10.0.0.50", Addr: netip.MustParseAddr("10.0.0.50"), Port: 6443},
		"10.0.0.254":             {Host: "10.0.0.254", Addr: netip.MustParseAddr("10.0.0.254"), Port: 6443, VIP: true},
		"10.0.0.1":               {Host: "10.0.0.1", Addr: netip.MustParseAddr("10.0.0.1"), Port: 6443},
		"192.0.2.9:443":          {Host: "192.0.2.9", Addr: netip.MustParseAddr("192.0.2.9"), Port: 443},
		"k8s.example.net:443":    {Host: "k8s.example.net", Port: 443},
		"a.home":                 {Host: "a.home", Addr: netip.MustParseAddr("10.0.0.50"), Port: 6443},
		"k8s.example.net:10250":  {Host: "k8s.example.net", Port: 10250},
		"10.0.0.254:8443":        {Host: "10.0.0.254", Addr: netip.MustParseAddr("10.0.0.254"), Port: 8443, VIP: true},
		"10.0.0.253 # kube-vip ": {Host: "10.0.0.253", Addr: netip.MustParseAddr("10.0.0.253"), Port: 6443, VIP: true},
	} {
		k := kube("{version: 1.34.1, endpoint: "+strings.Replace(endpoint, " #", "\n #", 1)+"\n }", strings.ReplaceAll(kubeNodes, "control-plane,", "control-plane, domain: home,")).Kubernetes
		if k.Endpoint != want {
			t.Errorf("%s: %+v", endpoint, k.Endpoint)
		}
	}
	if k := kube("{version: 1.34.1, endpoint: r}", kubeHA).Kubernetes; k.Endpoint.Addr.String() != "10.0.0.1" || k.Endpoint.VIP {
		t.Errorf("the router: %+v", k.Endpoint)
	}
	if k := kube("{version: 1.34.1, endpoint: 10.0.0.99, loadBalancer: external}", kubeHA).Kubernetes; k.Endpoint.VIP {
		t.Errorf("external: %+v", k.Endpoint)
	}
	kube("{version: 1.34.1, podSubnet: 10.128.0.0/9, serviceSubnet: 10.96.0.0/28}", kubeNodes)
	kube("{version: 1.34.1+k3s1, distribution: k3s}", kubeNodes+"- {hostname: s, role: worker, swap: true}\n")
	kube("{version: 1.34.1}", kubeNodes+"- {hostname: s, swap: true}\n")
}

func TestKubernetesNotices(t *testing.T) {
	one := "- {hostname: a, role: control-plane, ip: 10.0.0.50, memory: 1GB}\n"
	for _, test := range []struct {
		block, nodes string
		want         []string
	}{
		{"{version: 1.34.1}", one, []string{"no worker", "less than 2 GiB"}},
		{"{version: 1.34.1+k3s1, distribution: k3s}", one + "- {hostname: b, role: worker}\n", nil},
		{"{version: 1.34.1}", strings.Replace(one, "1GB", "2GB", 1) + "- {hostname: b, role: worker, memory: 1GiB}\n", nil},
		{"{version: 1.34.1, endpoint: k8s.example.net}", strings.Replace(one, "1GB", "2GB", 1) + "- {hostname: b, role: worker}\n", []string{"must lead to port 6443"}},
	} {
		c, err := load(t, kubeHead+"kubernetes: "+test.block+"\n"+kubeUser+"nodes:\n"+test.nodes)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Notices) != len(test.want) {
			t.Errorf("%s: %v instead of %q", test.block, c.Notices, test.want)
			continue
		}
		for i, n := range c.Notices {
			if !strings.Contains(n.Message, test.want[i]) {
				t.Errorf("%s: %q instead of %q", test.block, n.Message, test.want[i])
			}
		}
		if untainted := !strings.Contains(test.nodes, "worker"); c.Kubernetes.Untainted != untainted {
			t.Errorf("%s: untainted is %v", test.block, c.Kubernetes.Untainted)
		}
	}
}

// TestDefaultSubnetsAreRefused has networks that piimg's own defaults overlap.
func TestDefaultSubnetsAreRefused(t *testing.T) {
	text := "image: {path: a.img}\ncluster: {name: c, network: 10.0.0.0/8, gateway: 10.0.0.1, dns: [1.1.1.1]}\nkubernetes: {version: 1.34.1}\n" + kubeNodes
	_, err := load(t, text)
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) != 2 {
		t.Fatal(err)
	}
	for i, want := range []string{"podSubnet: 172.20.0.0/16", "serviceSubnet: 172.20.0.0/16"} {
		if p := e.Problems[i]; p.Line != 3 || !strings.Contains(p.Message, "the default ") || !strings.Contains(p.Hint, want) {
			t.Errorf("%v", p)
		}
	}
}

// FuzzDocuments wants an answer on any bytes.
func FuzzDocuments(f *testing.F) {
	for _, dir := range []string{"testdata/patches/*", "testdata/badpatches/*", "testdata/cni.yaml.txt"} {
		files, err := filepath.Glob(dir)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := documents(data)
		for _, d := range docs {
			if err != nil || d.mapping && d.list || d.object && !d.mapping {
				t.Errorf("%+v, %v", d, err)
			}
		}
	})
}

// Documents without a value are left out, wherever they are, and hide nothing.
func TestDocumentsWithoutValue(t *testing.T) {
	const object = "apiVersion: v1\nkind: Namespace\n"
	for text, want := range map[string]string{
		"---\n# a template of nothing\n---\n" + object: "[{4 true false true}]",
		"---\n---\n" + object + "---\n":                "[{3 true false true}]",
		object + "---\n\n---\n- x\n":                   "[{1 true false true} {6 false true false}]",
		"--- # first\n" + object + "--- \na: b\n":      "[{2 true false true} {5 true false false}]",
		"a: |\n  ---\n  x\n":                           "[{1 true false false}]",
		"---\n# c\n---\n":                              "[]",
		"---\n---\n---":                                "[]",
	} {
		docs, err := documents([]byte(text))
		if got := fmt.Sprint(docs); err != nil || got != want {
			t.Errorf("%q: got %s, %v; want %s", text, got, err, want)
		}
	}
	if _, err := documents([]byte("---\n# c\n---\na: [\n")); err == nil || !strings.Contains(err.Error(), "line 4 ") {
		t.Errorf("a mistake after a document without a value: %v", err)
	}
}
