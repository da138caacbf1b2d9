package kube

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/secrets"
)

// TestKubeadmInit lets kubeadm go through all of init but for what touches the
// machine. It ends with the commands for others to join: its own opinion of the
// endpoint, of the token and of the authority's hash.
func TestKubeadmInit(t *testing.T) {
	for _, k := range kubeadms(t) {
		for name, text := range map[string]string{"three nodes": threeNodes, "available": available, "ports": clusters()["ports"]} {
			t.Run(k.version.String()+"/"+name, func(t *testing.T) {
				c := asVersion(t, text, k.version)
				s := secrets.Placeholder("villagers")
				a := planAll(t, c, s)["isabelle"]
				root := t.TempDir()
				place(t, a, root)
				// Without --dry-run, kubeadm keeps the others as well (TestKubeadmKeepsThePKI);
				// with it, it looks for them where it does not put them.
				pki := filepath.Join(root, dir, "pki")
				for _, name := range []string{"etcd", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub"} {
					if err := os.RemoveAll(filepath.Join(pki, name)); err != nil {
						t.Fatal(err)
					}
				}
				keys, err := s.Kubernetes()
				if err != nil {
					t.Fatal(err)
				}
				hash, err := caHash(keys.CA)
				if err != nil {
					t.Fatal(err)
				}
				config := strings.NewReplacer(
					"kind: ClusterConfiguration\n", "kind: ClusterConfiguration\ncertificatesDir: "+pki+"\n",
					"directory: /etc/", "directory: "+root+"/etc/",
					"  ignorePreflightErrors:\n  - Mem\n", "", // goes with "all" in no version
				).Replace(content(a, kubeadmYAML))
				file := filepath.Join(root, "kubeadm.yaml")
				if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(k.path, "init", "--dry-run", "--config", file, "--ignore-preflight-errors", "all")
				cmd.Env = append(os.Environ(), "KUBEADM_INIT_DRYRUN_DIR="+t.TempDir())
				all, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, all)
				}
				out := string(all)
				join := "kubeadm join " + c.Kubernetes.Endpoint.String() + " --token "
				if nodes := joining(c); len(nodes) > 0 {
					join += s.BootstrapToken(nodes[0].Hostname).Reveal() + " "
				}
				for _, want := range []string{
					join, "--discovery-token-ca-cert-hash " + hash, "election-timeout", "heartbeat-interval",
					"--advertise-address=10.0.0.50", "--service-cluster-ip-range=" + c.Kubernetes.ServiceSubnet.String(),
					"--cluster-cidr=" + c.Kubernetes.PodSubnet.String(), images(c, c.Nodes[0])[0] + "\n",
				} {
					if !strings.Contains(out, want) {
						t.Errorf("%s is not in what kubeadm would do:\n%s", want, out)
					}
				}
			})
		}
	}
}
