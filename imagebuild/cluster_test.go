package imagebuild

import (
	"bytes"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// cluster lays out a project of one control plane and one worker.
func cluster(t *testing.T) Options {
	t.Helper()
	o := project(t, "bookworm")
	path, err := filepath.Abs(filepath.Join(shared, "images", "bookworm.img.xz"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, o.NodesFile, []byte(`
image: {path: `+path+`}
cluster: {name: villagers, network: 10.0.0.0/24, gateway: 10.0.0.1}
kubernetes: {version: "1.34.1"}
defaults: {user: {name: pi, password: {file: password}, authorizedKeys: [key.pub]}}
nodes:
  - {hostname: isabelle, role: control-plane, ip: 10.0.0.50}
  - {hostname: blathers, role: worker, ip: 10.0.0.51}
`))
	o.SecretsFile = filepath.Join(t.TempDir(), "secrets.yaml")
	return o
}

// built is what a build of the cluster has made.
type built struct {
	files map[string][]byte            // beside the images, by name
	nodes map[string]map[string]string // path → what is there, by node; "boot:" and "root:" before it
	sums  map[string]string            // of the images, by node
}

func buildCluster(t *testing.T, o Options) built {
	t.Helper()
	report, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b := built{files: map[string][]byte{}, nodes: map[string]map[string]string{}, sums: map[string]string{}}
	for _, f := range report.Files {
		b.files[filepath.Base(f)] = read(t, f)
	}
	for _, n := range report.Nodes {
		checkFileSystems(t, n.Image)
		is, all := open(t, n.Image), map[string]string{}
		for path, what := range tree(t, is.boot) {
			all["boot:/"+path] = what
		}
		for path, what := range tree(t, is.root) {
			all["root:/"+path] = what
		}
		b.nodes[n.Hostname], b.sums[n.Hostname] = all, n.SHA256
	}
	return b
}

// The same secrets give the same bytes; other secrets change what they are for, and
// nothing else.
func TestClusterSecrets(t *testing.T) {
	tooltest.Need(t, "e2fsck", "fsck.fat")
	o := cluster(t)
	first := buildCluster(t, o)
	o.Out = filepath.Join(t.TempDir(), "again")
	again := buildCluster(t, o)
	o.Out, o.SecretsFile = filepath.Join(t.TempDir(), "other"), filepath.Join(t.TempDir(), "other.yaml")
	other := buildCluster(t, o)

	if !maps.Equal(first.sums, again.sums) {
		t.Errorf("built twice with the same secrets: %v and %v", first.sums, again.sums)
	}
	if got := changedFiles(first.files, again.files); len(got) > 0 {
		t.Errorf("built twice with the same secrets, %v differ", got)
	}
	if got, want := changedFiles(first.files, other.files), []string{"SHA256SUMS", "known_hosts", "kubeconfig", "manifest.json"}; !slices.Equal(got, want) {
		t.Errorf("with other secrets, %v differ beside the images, want %v", got, want)
	}
	keys := []string{
		"root:/etc/ssh/ssh_host_ecdsa_key", "root:/etc/ssh/ssh_host_ecdsa_key.pub",
		"root:/etc/ssh/ssh_host_ed25519_key", "root:/etc/ssh/ssh_host_ed25519_key.pub",
		"root:/etc/shadow", // the salt of the password
		"root:/etc/NetworkManager/system-connections/piimg-eth0.nmconnection", // its UUID
		"root:/etc/piimg/kubernetes/ca.crt",
		"root:/etc/piimg/kubernetes/kubeadm.yaml",
	}
	pki := []string{
		"root:/etc/piimg/kubernetes/tokens",
		"root:/etc/piimg/kubernetes/pki/ca.crt", "root:/etc/piimg/kubernetes/pki/ca.key",
		"root:/etc/piimg/kubernetes/pki/etcd/ca.crt", "root:/etc/piimg/kubernetes/pki/etcd/ca.key",
		"root:/etc/piimg/kubernetes/pki/front-proxy-ca.crt", "root:/etc/piimg/kubernetes/pki/front-proxy-ca.key",
		"root:/etc/piimg/kubernetes/pki/sa.key", "root:/etc/piimg/kubernetes/pki/sa.pub",
	}
	for node, want := range map[string][]string{"isabelle": append(pki, keys...), "blathers": keys} {
		slices.Sort(want)
		if got := changedPaths(first.nodes[node], other.nodes[node]); !slices.Equal(got, want) {
			t.Errorf("with other secrets, %s differs in\n  %s\nwant\n  %s", node, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
	}
}

// changedFiles returns the names whose content differs, but for hashes of it.
func changedFiles(a, b map[string][]byte) (names []string) {
	for name := range a {
		if !bytes.Equal(a[name], b[name]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func changedPaths(a, b map[string]string) (paths []string) {
	all := maps.Clone(a)
	maps.Copy(all, b)
	for path := range all {
		if a[path] != b[path] {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// A worker's image holds no authority's key, nor the service account's, nor another
// node's token, in whatever form and anywhere in its bytes: not in free blocks either.
func TestWorkerSecrets(t *testing.T) {
	o := cluster(t)
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s, err := secrets.Load(o.SecretsFile, secrets.Unlock{})
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	hidden := map[string][]byte{"control plane's token": []byte(s.BootstrapToken("isabelle").Reveal())}
	for name, key := range map[string]secrets.PrivateKey{
		"CA": k.CA.Key, "etcd CA": k.EtcdCA.Key, "front-proxy CA": k.FrontProxyCA.Key, "client CA": k.ClientCA.Key, "service account": k.ServiceAccount,
	} {
		lines := strings.Split(string(key), "\n")
		hidden[name+" key in PEM"] = []byte(lines[1])
		block, _ := pem.Decode(key)
		hidden[name+" key in DER"] = block.Bytes
	}
	image := read(t, filepath.Join(o.Out, "blathers.img"))
	control := read(t, filepath.Join(o.Out, "isabelle.img"))
	for name, secret := range hidden {
		if bytes.Contains(image, secret) {
			t.Errorf("the worker's image holds the %s", name)
		}
	}
	if !bytes.Contains(control, hidden["CA key in PEM"]) {
		t.Error("the control plane's image does not hold the CA's key: the search finds nothing")
	}
	if !bytes.Contains(image, []byte(s.BootstrapToken("blathers").Reveal())) {
		t.Error("the worker's image does not hold its token: the search finds nothing")
	}
	for _, name := range []string{"hosts", "inventory.ini", "ssh_config", "known_hosts", "SHA256SUMS"} {
		if content := read(t, filepath.Join(o.Out, name)); bytes.Contains(content, []byte("PRIVATE")) {
			t.Errorf("%s holds a key", name)
		}
	}
	if info, err := os.Stat(filepath.Join(o.Out, "kubeconfig")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kubeconfig: %v, %v", info, err)
	}
}
