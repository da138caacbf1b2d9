package kube

import (
	"encoding/base64"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/raspios"
	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// k3sCluster has two servers and two agents, one of which gets its address by DHCP.
func k3sCluster(servers int) *nodes.Config {
	c := &nodes.Config{
		Cluster: nodes.Cluster{Name: "villagers", Network: netip.MustParsePrefix("10.0.0.0/24")},
		Nodes: []nodes.Node{
			{Hostname: "isabelle", Role: nodes.ControlPlane, IP: netip.MustParseAddr("10.0.0.50"), Interface: "eth0", Domain: "home"},
			{Hostname: "tom-nook", Role: nodes.ControlPlane, IP: netip.MustParseAddr("10.0.0.51"), Interface: "eth0"},
			{Hostname: "blathers", Role: nodes.Worker, IP: netip.MustParseAddr("10.0.0.60"), Interface: "eth0"},
			{Hostname: "celeste", Role: nodes.Worker, Interface: "wlan0"},
		},
		Kubernetes: &nodes.Kubernetes{
			Version: nodes.Version{Major: 1, Minor: 34, Patch: 1, Suffix: "+k3s1"}, Distribution: nodes.K3s,
			PodSubnet: netip.MustParsePrefix("10.42.0.0/16"), ServiceSubnet: netip.MustParsePrefix("10.43.0.0/16"),
			Endpoint:  nodes.Endpoint{Host: "isabelle", Addr: netip.MustParseAddr("10.0.0.50"), Port: 6443},
			DNSDomain: "cluster.local", CNI: nodes.CNI{Kind: nodes.Flannel}, CertSANs: []string{"k8s.example.net"},
		},
	}
	if servers == 1 {
		c.Nodes = slices.Delete(c.Nodes, 1, 2)
		return c
	}
	c.Kubernetes.Endpoint = nodes.Endpoint{Host: "10.0.0.200", Addr: netip.MustParseAddr("10.0.0.200"), Port: 6443, VIP: true}
	return c
}

// card is what a node finds, by path.
type card map[string]plan.Edit

func (c card) text(t *testing.T, name string) string {
	t.Helper()
	e, ok := c[name]
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return string(e.Content)
}

func k3sCard(t *testing.T, c *nodes.Config, hostname string) card {
	t.Helper()
	i := slices.IndexFunc(c.Nodes, func(n nodes.Node) bool { return n.Hostname == hostname })
	add, err := Plan(Input{Config: c, Node: c.Nodes[i], Facts: &raspios.Facts{Release: raspios.Bookworm, Architecture: "arm64", BootMount: "/boot/firmware"},
		Secrets: secrets.Placeholder("villagers")})
	if err != nil {
		t.Fatal(err)
	}
	out := card{}
	for _, e := range add.Edits {
		out[e.Path] = e
	}
	return out
}

// write lays the files of the card below a folder.
func (c card) write(t *testing.T, dir string) {
	t.Helper()
	for name, e := range c {
		name = filepath.Join(dir, name)
		if e.Op == plan.Mkdir {
			name = filepath.Join(name, "x")
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if e.Op == plan.Write {
			if err := os.WriteFile(name, e.Content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestK3sConfig(t *testing.T) {
	type m = map[string]any
	one, two, bare := k3sCluster(1), k3sCluster(2), k3sCluster(1)
	bare.Kubernetes.CNI, bare.Kubernetes.Untainted = nodes.CNI{Kind: nodes.NoCNI}, true
	bare.Nodes = bare.Nodes[:1]
	bare.Kubernetes.Endpoint.Port = 7443
	taint := []any{"node-role.kubernetes.io/control-plane=:NoSchedule"}
	sans := []any{"isabelle", "10.0.0.50", "isabelle.home", "isabelle.local", "localhost", "127.0.0.1", "k8s.example.net"}
	both := []any{"10.0.0.200", "isabelle", "isabelle.home", "isabelle.local", "10.0.0.50", "tom-nook", "tom-nook.local", "10.0.0.51", "localhost", "127.0.0.1", "k8s.example.net"}
	for _, test := range []struct {
		config *nodes.Config
		node   string
		action string
		want   m
	}{
		{one, "isabelle", "server-init", m{
			"token-file": "/etc/rancher/k3s/token", "agent-token-file": "/etc/rancher/k3s/agent-token", "node-name": "isabelle", "node-ip": "10.0.0.50",
			"node-taint": taint, "advertise-address": "10.0.0.50", "https-listen-port": uint64(6443), "tls-san": sans, "write-kubeconfig-mode": "0600",
			"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16", "cluster-domain": "cluster.local", "flannel-iface": "eth0"}},
		{one, "celeste", "agent", m{
			"server": "https://10.0.0.50:6443", "token-file": "/etc/rancher/k3s/token", "node-name": "celeste", "node-ip": "@NODE_IP@", "flannel-iface": "wlan0"}},
		{two, "isabelle", "server-init", m{
			"cluster-init": true,
			"token-file":   "/etc/rancher/k3s/token", "agent-token-file": "/etc/rancher/k3s/agent-token", "node-name": "isabelle", "node-ip": "10.0.0.50",
			"node-taint": taint, "advertise-address": "10.0.0.50", "https-listen-port": uint64(6443), "tls-san": both, "write-kubeconfig-mode": "0600",
			"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16", "cluster-domain": "cluster.local", "flannel-iface": "eth0"}},
		{two, "tom-nook", "server", m{
			"server":     "https://10.0.0.200:6443",
			"token-file": "/etc/rancher/k3s/token", "agent-token-file": "/etc/rancher/k3s/agent-token", "node-name": "tom-nook", "node-ip": "10.0.0.51",
			"node-taint": taint, "advertise-address": "10.0.0.51", "https-listen-port": uint64(6443), "tls-san": both, "write-kubeconfig-mode": "0600",
			"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16", "cluster-domain": "cluster.local", "flannel-iface": "eth0"}},
		{bare, "isabelle", "server-init", m{
			"token-file": "/etc/rancher/k3s/token", "agent-token-file": "/etc/rancher/k3s/agent-token", "node-name": "isabelle", "node-ip": "10.0.0.50",
			"advertise-address": "10.0.0.50", "https-listen-port": uint64(7443), "tls-san": sans, "write-kubeconfig-mode": "0600",
			"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16", "cluster-domain": "cluster.local", "flannel-backend": "none", "disable-network-policy": true}},
	} {
		files := k3sCard(t, test.config, test.node)
		var got m
		if err := yaml.Unmarshal([]byte(files.text(t, "etc/piimg/kubernetes/k3s/config.yaml")), &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\ngot  %v\nwant %v", test.node, got, test.want)
		}
		if env := files.text(t, "etc/piimg/node.env"); !strings.Contains(env, "\nPIIMG_ACTION='"+test.action+"'\n") || !strings.Contains(env, "\nPIIMG_DISTRIBUTION='k3s'\n") {
			t.Errorf("%s: node.env is\n%s", test.node, env)
		}
		if _, ok := files["etc/piimg/kubernetes/kubeadm.yaml"]; ok {
			t.Errorf("%s has kubeadm's configuration", test.node)
		}
		_, vip := files["etc/piimg/kubernetes/kube-vip.yaml"]
		if want := test.config == two; vip != want {
			t.Errorf("%s: kube-vip is %v", test.node, vip)
		}
	}
}

func TestK3sManifestAndMirror(t *testing.T) {
	c := k3sCluster(2)
	c.Kubernetes.CNI = nodes.CNI{Kind: nodes.ManifestCNI, Manifest: []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: cni}\n")}
	c.Kubernetes.Mirrors.Images = "registry.example.net:5000/k8s"
	const manifest = "etc/piimg/kubernetes/k3s/manifests/piimg-cni.yaml"
	first := k3sCard(t, c, "isabelle")
	if got := first.text(t, manifest); got != string(c.Kubernetes.CNI.Manifest) {
		t.Errorf("the manifest is %q", got)
	}
	if _, ok := k3sCard(t, c, "tom-nook")[manifest]; ok {
		t.Error("both servers deploy the manifest")
	}
	var got struct {
		Mirrors map[string]struct {
			Endpoint []string
			Rewrite  map[string]string
		}
	}
	if err := yaml.Unmarshal([]byte(first.text(t, "etc/piimg/kubernetes/k3s/registries.yaml")), &got); err != nil {
		t.Fatal(err)
	}
	for _, registry := range []string{"docker.io", "ghcr.io", "registry.k8s.io"} {
		m := got.Mirrors[registry]
		if !slices.Equal(m.Endpoint, []string{"https://registry.example.net:5000"}) || m.Rewrite["^(.*)$"] != "k8s/$1" || len(m.Rewrite) != 1 {
			t.Errorf("%s: %+v", registry, m)
		}
	}
	c.Kubernetes.Mirrors.Images = "registry.example.net"
	if text := k3sCard(t, c, "blathers").text(t, "etc/piimg/kubernetes/k3s/registries.yaml"); strings.Contains(text, "rewrite") {
		t.Errorf("a rewrite without a path:\n%s", text)
	}
}

// TestK3sAuthorities asks openssl of what the first server finds, and wants no key
// anywhere else.
func TestK3sAuthorities(t *testing.T) {
	c := k3sCluster(2)
	first := k3sCard(t, c, "isabelle")
	dir := t.TempDir()
	first.write(t, dir)
	tls := filepath.Join(dir, "etc/piimg/kubernetes/k3s/tls")
	for _, ca := range []string{"server-ca", "client-ca", "request-header-ca", "etcd/peer-ca", "etcd/server-ca"} {
		cert, key := filepath.Join(tls, ca+".crt"), filepath.Join(tls, ca+".key")
		run(t, tooltest.Path(t, "openssl"), "verify", "-CAfile", cert, "-check_ss_sig", cert)
		if a, b := run(t, tooltest.Path(t, "openssl"), "x509", "-in", cert, "-noout", "-pubkey"), run(t, tooltest.Path(t, "openssl"), "pkey", "-in", key, "-pubout"); a != b {
			t.Errorf("%s: the key is another's", ca)
		}
		if e := first["etc/piimg/kubernetes/k3s/tls/"+ca+".key"]; !e.Secret || e.Mode != 0o600 {
			t.Errorf("%s.key is not kept: %v", ca, e)
		}
	}
	run(t, tooltest.Path(t, "openssl"), "pkey", "-in", filepath.Join(tls, "service.key"), "-noout", "-check")

	// What a person gets in advance is known by the authorities that are there.
	config, err := Kubeconfig(c, secrets.Placeholder("villagers"))
	if err != nil {
		t.Fatal(err)
	}
	client := filepath.Join(dir, "client.crt")
	var k struct {
		Users []struct {
			User struct {
				Cert string `yaml:"client-certificate-data"`
			}
		}
	}
	if err := yaml.Unmarshal(config, &k); err != nil {
		t.Fatal(err)
	}
	cert, err := base64.StdEncoding.DecodeString(k.Users[0].User.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(client, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, tooltest.Path(t, "openssl"), "verify", "-purpose", "sslclient", "-CAfile", filepath.Join(tls, "client-ca.crt"), client)

	for _, other := range []string{"tom-nook", "blathers", "celeste"} {
		for name, e := range k3sCard(t, c, other) {
			if strings.Contains(name, "/tls/") || strings.Contains(string(e.Content), "PRIVATE KEY") {
				t.Errorf("%s has %s", other, name)
			}
		}
	}
}

// TestK3sTokens compares the hash with sha256sum's of the file that the server
// serves, and wants agents not to know what servers join with.
func TestK3sTokens(t *testing.T) {
	c := k3sCluster(2)
	first := k3sCard(t, c, "isabelle")
	dir := t.TempDir()
	first.write(t, dir)
	sum, _, _ := strings.Cut(run(t, tooltest.Path(t, "sha256sum"), filepath.Join(dir, "etc/piimg/kubernetes/k3s/tls/server-ca.crt")), " ")
	token := func(node, name string) string {
		files := k3sCard(t, c, node)
		e := files["etc/piimg/kubernetes/k3s/"+name]
		if !e.Secret || e.Mode != 0o600 {
			t.Errorf("%s of %s is not kept: %v", name, node, e)
		}
		return strings.TrimSuffix(files.text(t, "etc/piimg/kubernetes/k3s/"+name), "\n")
	}
	server, agent := token("isabelle", "token"), token("isabelle", "agent-token")
	if len(server) != 32 || len(agent) != 32 || server == agent || strings.Trim(server+agent, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		t.Fatal("the secrets are not of the form that they should have")
	}
	for node, want := range map[string]string{
		"tom-nook": "K10" + sum + "::server:" + server,
		"blathers": "K10" + sum + "::node:" + agent,
		"celeste":  "K10" + sum + "::node:" + agent,
	} {
		if token(node, "token") != want {
			t.Errorf("the token of %s is another", node)
		}
	}
	if token("tom-nook", "agent-token") != agent {
		t.Error("the servers do not agree")
	}
	for _, node := range []string{"blathers", "celeste"} {
		for name, e := range k3sCard(t, c, node) {
			if strings.Contains(string(e.Content), server) || strings.HasSuffix(name, "agent-token") {
				t.Errorf("%s of %s holds what servers join with", name, node)
			}
		}
	}
	for _, bad := range []string{"", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", first.text(t, "etc/piimg/kubernetes/ca.crt") + first.text(t, "etc/piimg/kubernetes/ca.crt")} {
		if _, err := k3sHash([]byte(bad)); err == nil {
			t.Errorf("%q was hashed", bad)
		}
	}
}

func TestK3sRequirements(t *testing.T) {
	c := k3sCluster(2)
	c.Kubernetes.CNI = nodes.CNI{Kind: nodes.ManifestCNI, Manifest: []byte("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: docker.io/example/cni:v1\n")}
	names := func(n nodes.Node) string {
		var s []string
		for _, r := range k3sRequirements(c, "armhf", n) {
			if r.Arch != "armhf" {
				t.Errorf("%v is for another architecture", r)
			}
			s = append(s, string(r.Kind)+" "+r.Name+" "+r.Version)
		}
		return strings.Join(s, "; ")
	}
	if got, want := names(c.Nodes[0]), "binary k3s 1.34.1+k3s1; image "+artifacts.K3sImages+" 1.34.1+k3s1; image "+kubeVIPImage+" ; image docker.io/example/cni:v1 "; got != want {
		t.Errorf("a server needs\n%s instead of\n%s", got, want)
	}
	if got := names(c.Nodes[2]); strings.Contains(got, "kube-vip") {
		t.Errorf("an agent needs %s", got)
	}
}

// k3sScript is what puts things into their places on the node.
const k3sScript = "../../overlays/k3s/root/usr/lib/piimg/k3s-install"

// TestK3sInstall runs the node's own script, also a second time, and after it was
// cut off.
func TestK3sInstall(t *testing.T) {
	sh := tooltest.Path(t, "sh")
	root := t.TempDir()
	c := k3sCluster(2)
	files := k3sCard(t, c, "isabelle")
	files["etc/piimg/kubernetes/k3s/config.yaml"] = plan.Edit{Op: plan.Write, Content: []byte("node-ip: '@NODE_IP@'\n")}
	files["etc/piimg/kubernetes/k3s/manifests/piimg-cni.yaml"] = plan.Edit{Op: plan.Write, Content: []byte("cni")}
	files["var/lib/piimg/artifacts/bin/k3s"] = plan.Edit{Op: plan.Write, Content: []byte("#!/bin/sh\n")}
	files["var/lib/piimg/artifacts/images/k3s images.tar.zst"] = plan.Edit{Op: plan.Write, Content: []byte("images")}
	files.write(t, root)
	install := func(address string) error {
		cmd := exec.Command(sh, k3sScript, address)
		cmd.Env = append(os.Environ(), "PIIMG_ROOT="+root)
		out, err := cmd.CombinedOutput()
		t.Logf("%s: %s", address, out)
		return err
	}
	for _, bad := range []string{"", "10.0.0.5/24", "x", "10..1", "$(id)"} {
		if install(bad) == nil {
			t.Errorf("%q was taken for an address", bad)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "etc/rancher")); err == nil {
		t.Error("something was done without an address")
	}
	in := func(name string) string {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
		}
		return string(data)
	}
	check := func() {
		t.Helper()
		for target, source := range map[string]string{
			"etc/rancher/k3s/token":                                 "k3s/token",
			"etc/rancher/k3s/agent-token":                           "k3s/agent-token",
			"etc/kubernetes/kube-vip.conf":                          "kube-vip.conf",
			"var/lib/rancher/k3s/agent/pod-manifests/kube-vip.yaml": "kube-vip.yaml",
			"var/lib/rancher/k3s/server/tls/server-ca.crt":          "k3s/tls/server-ca.crt",
			"var/lib/rancher/k3s/server/tls/client-ca.key":          "k3s/tls/client-ca.key",
			"var/lib/rancher/k3s/server/tls/request-header-ca.key":  "k3s/tls/request-header-ca.key",
			"var/lib/rancher/k3s/server/tls/etcd/peer-ca.crt":       "k3s/tls/etcd/peer-ca.crt",
			"var/lib/rancher/k3s/server/tls/etcd/server-ca.key":     "k3s/tls/etcd/server-ca.key",
			"var/lib/rancher/k3s/server/tls/service.key":            "k3s/tls/service.key",
			"var/lib/rancher/k3s/server/manifests/piimg-cni.yaml":   "k3s/manifests/piimg-cni.yaml",
			"var/lib/rancher/k3s/agent/images/k3s images.tar.zst":   "../../../var/lib/piimg/artifacts/images/k3s images.tar.zst",
			"usr/local/bin/k3s":                                     "../../../var/lib/piimg/artifacts/bin/k3s",
		} {
			if in(target) != in("etc/piimg/kubernetes/"+source) {
				t.Errorf("%s is not %s", target, source)
			}
			info, err := os.Stat(filepath.Join(root, target))
			if err == nil && info.Mode()&0o077 != 0 && !strings.HasSuffix(target, "bin/k3s") {
				t.Errorf("%s can be read by others: %v", target, info.Mode())
			}
		}
		if got := in("etc/rancher/k3s/config.yaml"); got != "node-ip: '10.0.0.50'\n" {
			t.Errorf("the configuration is %q", got)
		}
		err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
			if strings.HasSuffix(name, ".new") {
				t.Errorf("%s was left behind", name)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if err := install("10.0.0.50"); err != nil {
		t.Fatal(err)
	}
	check()

	// Power was lost while files were written.
	for _, name := range []string{"etc/rancher/k3s/token", "etc/rancher/k3s/config.yaml", "var/lib/rancher/k3s/server/tls/service.key", "usr/local/bin/k3s"} {
		if err := os.Rename(filepath.Join(root, name), filepath.Join(root, name+".new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(root, name+".new"), 3); err != nil {
			t.Fatal(err)
		}
	}
	if err := install("10.0.0.50"); err != nil {
		t.Fatal(err)
	}
	check()

	// Once the server has run, its own authorities count.
	if err := os.MkdirAll(filepath.Join(root, "var/lib/rancher/k3s/server/db"), 0o700); err != nil {
		t.Fatal(err)
	}
	renewed := filepath.Join(root, "var/lib/rancher/k3s/server/tls/server-ca.crt")
	if err := os.WriteFile(renewed, []byte("renewed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := install("10.0.0.50"); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(renewed); string(got) != "renewed" {
		t.Error("an authority was put back after the server had run")
	}
}

// TestK3sUnits asks systemd and shellcheck.
func TestK3sUnits(t *testing.T) {
	run(t, tooltest.Path(t, "shellcheck"), k3sScript)
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("../../overlays/k3s/root")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"usr/local/bin/k3s", "sbin/modprobe"} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The first boot puts the one that the node needs into its place.
	if err := os.MkdirAll(filepath.Join(root, "etc/systemd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, "usr/lib/piimg/units"), filepath.Join(root, "etc/systemd/system")); err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{"k3s.service", "k3s-agent.service"} {
		out := run(t, tooltest.Path(t, "systemd-analyze"), "verify", "--root="+root, "--man=no", "--recursive-errors=no", "/etc/systemd/system/"+unit)
		if strings.Contains(out, "k3s") {
			t.Errorf("%s: %s", unit, out)
		}
	}
}
