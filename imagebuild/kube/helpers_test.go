package kube

import (
	"encoding/base64"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/raspios"
	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var buildTime = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// load reads a nodes.yaml that is given without what has nothing to do with
// Kubernetes: the base image, the cluster and the user.
func load(t testing.TB, text string) *nodes.Config {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"nodes.yaml": "image: {path: a.img}\ncluster: {name: villagers, network: 10.0.0.0/24, gateway: 10.0.0.1, dns: [10.0.0.1]}\n" +
			"defaults: {user: {authorizedKeys: [key.pub]}}\n" + text,
		"key.pub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPaU8pv4jQkKOfFUlYvlDhbKMLVfFOeVMQCEzYWTZjhM me\n",
		"a.img":   "",
		"cni.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: net}\nspec:\n  initContainers: [{name: i, image: quay.io/net/install:v1}]\n" +
			"  containers: [{name: c, image: calico/node}]\n",
		"patches/etcd+merge.yaml": "metadata: {annotations: {a: b}}\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := nodes.Load(filepath.Join(dir, "nodes.yaml"), nodes.Env{})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

func facts(network raspios.Network) *raspios.Facts {
	return &raspios.Facts{
		Release: raspios.Bookworm, Architecture: "arm64", BootMount: "/boot/firmware", Network: raspios.NetworkFacts{By: network},
	}
}

// planAll returns what the nodes get, by their names.
func planAll(t testing.TB, c *nodes.Config, s *secrets.Secrets) map[string]raspios.Addition {
	t.Helper()
	all := map[string]raspios.Addition{}
	for _, n := range c.Nodes {
		a, err := Plan(Input{Config: c, Node: n, Facts: facts(raspios.NetworkManager), Secrets: s})
		if err != nil {
			t.Fatal(err)
		}
		all[n.Hostname] = a
	}
	return all
}

// content returns a file of an addition; "" if it is not there.
func content(a raspios.Addition, name string) string {
	for _, e := range a.Edits {
		if e.Path == name {
			return string(e.Content)
		}
	}
	return ""
}

// place puts the files of an addition into a folder.
func place(t testing.TB, a raspios.Addition, root string) {
	t.Helper()
	for _, e := range a.Edits {
		name := filepath.Join(root, filepath.FromSlash(e.Path))
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil && e.Op == plan.Write {
			err = os.WriteFile(name, e.Content, e.Mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// kubeadm is one that was built by testdata/kubernetes/build.sh.
type kubeadm struct {
	path    string
	version nodes.Version
}

// kubeadms returns all that were built, the oldest first.
func kubeadms(t testing.TB) []kubeadm {
	t.Helper()
	dir := os.Getenv("PIIMG_KUBERNETES_CACHE")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			tooltest.Skip(t, err.Error())
		}
		dir = filepath.Join(cache, "piimg", "kubernetes")
	}
	found, err := fs.Glob(os.DirFS(dir), "v*/kubeadm")
	if err != nil {
		t.Fatal(err)
	}
	var all []kubeadm
	for _, name := range found {
		v := nodes.Version{Major: 1}
		if _, err := fmt.Sscanf(name, "v1.%d.%d/", &v.Minor, &v.Patch); err == nil && !strings.Contains(name, "-") {
			all = append(all, kubeadm{filepath.Join(dir, filepath.FromSlash(name)), v})
		}
	}
	if len(all) == 0 {
		tooltest.Skip(t, "there is no kubeadm in "+dir+": run make kubernetes")
	}
	return all
}

// run runs the program, and fails the test if that does not go well.
func (k kubeadm) run(t testing.TB, args ...string) string {
	t.Helper()
	return run(t, k.path, args...)
}

func run(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Clusters that tests are made with. VERSION stands for the version.
const (
	threeNodes = `kubernetes: {version: VERSION}
nodes:
- {hostname: isabelle, role: control-plane, ip: 10.0.0.50, memory: 1GiB}
- {hostname: blathers, role: worker, ip: 10.0.0.51}
- {hostname: celeste, role: worker}
- {hostname: tom-nook, role: router, ip: 10.0.0.1}
- {hostname: flick}
`
	available = `kubernetes:
  version: VERSION
  endpoint: 10.0.0.200
  certSANs: [k8s.example.net, "*.example.net", 192.0.2.7]
  podSubnet: 10.128.0.0/16
  serviceSubnet: 10.112.0.0/16
  dnsDomain: island.example
  cni: {manifest: cni.yaml}
  patches: patches
  mirrors: {packages: "https://mirror.example.net/k8s", images: "registry.example.net:5000/k8s", binaries: "https://mirror.example.net/bin"}
nodes:
- {hostname: isabelle, role: control-plane, ip: 10.0.0.50, domain: example.net}
- {hostname: digby, role: control-plane, ip: 10.0.0.51}
- {hostname: kk, role: control-plane, ip: 10.0.0.52, interface: eth1}
- {hostname: blathers, role: worker}
`
)

// decode decodes base64.
func decode(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
