package kube

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// TestKubeconfig has kubectl read what is written for it.
func TestKubeconfig(t *testing.T) {
	kubectl := tooltest.Path(t, "kubectl")
	openssl := tooltest.Path(t, "openssl")
	v := nodes.Version{Major: 1, Minor: 34, Patch: 4}
	k3s := v
	k3s.Suffix = "+k3s1"
	s := secrets.Placeholder("villagers")
	keys, err := s.Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, text string
		version    nodes.Version
		server     string
		user       string
		ca         secrets.Authority
	}{
		{"three nodes", threeNodes, v, "https://10.0.0.50:6443", "kubernetes-admin", keys.CA},
		{"available", available, v, "https://10.0.0.200:6443", "kubernetes-admin", keys.CA},
		{"external", clusters()["external"], v, "https://k8s.example.net:443", "kubernetes-admin", keys.CA},
		{"ports", clusters()["ports"], v, "https://10.0.0.50:8443", "kubernetes-admin", keys.CA},
		{"k3s", strings.Replace(threeNodes, "VERSION", "VERSION, distribution: k3s", 1), k3s, "https://10.0.0.50:6443", "system:admin", keys.ClientCA},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := asVersion(t, test.text, test.version)
			text, err := Kubeconfig(c, s)
			if err != nil {
				t.Fatal(err)
			}
			if again, _ := Kubeconfig(c, s); !bytes.Equal(text, again) {
				t.Error("it is another one the second time")
			}
			file := filepath.Join(t.TempDir(), "kubeconfig")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			view := func(path string) string {
				return run(t, kubectl, "--kubeconfig", file, "config", "view", "--raw", "-o", "jsonpath="+path)
			}
			if got := view("{.clusters[0].cluster.server} {.users[0].name} {.clusters[0].name} {.current-context}"); got !=
				test.server+" "+test.user+" villagers "+test.user+"@villagers" {
				t.Errorf("kubectl reads %q", got)
			}
			dir := t.TempDir()
			for name, path := range map[string]string{
				"server.crt": "{.clusters[0].cluster.certificate-authority-data}", "client.crt": "{.users[0].user.client-certificate-data}",
			} {
				if err := os.WriteFile(filepath.Join(dir, name), decode(t, view(path)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "ca.crt"), test.ca.Cert, 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, openssl, "verify", "-CAfile", filepath.Join(dir, "ca.crt"), filepath.Join(dir, "client.crt"))
			if got, _ := os.ReadFile(filepath.Join(dir, "server.crt")); !bytes.Equal(got, keys.CA.Cert) {
				t.Error("the server is known by another authority")
			}
		})
	}
}

// TestKubeconfigWithoutCluster wants a reason.
func TestKubeconfigWithoutCluster(t *testing.T) {
	c := load(t, "nodes:\n- {hostname: isabelle}\n")
	if _, err := Kubeconfig(c, secrets.Placeholder("villagers")); err == nil || !strings.Contains(err.Error(), "no kubernetes block") {
		t.Errorf("got %v", err)
	}
}
