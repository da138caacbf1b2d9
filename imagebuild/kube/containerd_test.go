package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// TestContainerdTakesItsConfiguration asks containerd what it makes of it.
func TestContainerdTakesItsConfiguration(t *testing.T) {
	containerd := tooltest.Path(t, "containerd")
	file := "containerd-1.toml"
	if strings.Contains(run(t, containerd, "--version"), " v2.") || strings.Contains(run(t, containerd, "--version"), " 2.") {
		file = "containerd-2.toml"
	}
	for name, text := range map[string]string{"three nodes": threeNodes, "available": available} {
		c := asVersion(t, text, version1344)
		a := planAll(t, c, secrets.Placeholder("villagers"))["blathers"]
		config := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(config, []byte(content(a, dir+"/"+file)), 0o600); err != nil {
			t.Fatal(err)
		}
		dump := run(t, containerd, "--config", config, "config", "dump")
		pause := "registry.k8s.io/pause:3.10.1"
		if text == available {
			pause = "registry.example.net:5000/k8s/pause:3.10.1"
		}
		for _, want := range []string{pause, "SystemdCgroup = true", `"/opt/cni/bin"`, `"/etc/cni/net.d"`, `config_path = "/etc/containerd/certs.d`, "disabled_plugins = []"} {
			if n := strings.Count(strings.ReplaceAll(dump, "'", `"`), want); n != 1 {
				t.Errorf("%s: containerd has %s %d times:\n%s", name, want, n, dump)
			}
		}
	}
}
