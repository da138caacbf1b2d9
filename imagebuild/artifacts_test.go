package imagebuild

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/artifacts/artifactstest"
)

// A cluster of k3s needs little: its program and the archive of its images.
func TestArtifactsOfK3s(t *testing.T) {
	server := httptest.NewTLSServer(artifactstest.Internet())
	defer server.Close()
	image, err := filepath.Abs("../testdata/images/bookworm.img.xz")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := `
cluster: {name: villagers, network: 10.0.0.0/24, gateway: 10.0.0.1}
image: {path: ` + image + `}
kubernetes:
  version: 1.34.1+k3s1
  distribution: k3s
  artifacts: ./artifacts
  mirrors: {binaries: "` + server.URL + `"}
nodes:
  - {hostname: isabelle, role: control-plane, ip: 10.0.0.50, user: {authorizedKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me]}}
  - {hostname: blathers, role: worker, user: {authorizedKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me]}}
  - {hostname: resetti, role: plain, user: {authorizedKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me]}}
`
	o := Options{NodesFile: filepath.Join(dir, "nodes.yaml"), CacheDir: t.TempDir(), Client: server.Client()}
	if err := os.WriteFile(o.NodesFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := ArtifactsList(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if list.Architecture != "arm64" || list.Release != "bookworm" || len(list.Artifacts) != 2 || len(list.Problems) > 0 {
		t.Errorf("%+v", list)
	}
	for _, a := range list.Artifacts {
		if a.State != Missing || a.Size != 0 || !strings.HasPrefix(a.From, server.URL+"/k3s-io/k3s/releases/download/v1.34.1%2Bk3s1/k3s-") ||
			!slices.Equal(a.Nodes, []string{"isabelle", "blathers"}) {
			t.Errorf("%+v", a)
		}
	}
	pulled, err := ArtifactsPull(t.Context(), o, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(pulled.Fetched) != 2 || len(pulled.Missing) > 0 || len(pulled.Problems) > 0 || pulled.Dir != filepath.Join(dir, "artifacts") {
		t.Errorf("%+v", pulled)
	}
	if list, err = ArtifactsList(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, a := range list.Artifacts {
		if a.State != InFolder || a.File == "" || a.Size == 0 {
			t.Errorf("%+v", a)
		}
	}
	// What is gone is still known from the lock.
	if err := os.Remove(filepath.Join(dir, "artifacts/bin/k3s")); err != nil {
		t.Fatal(err)
	}
	if list, err = ArtifactsList(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if a := list.Artifacts[0]; a.State != Missing || a.Size == 0 || len(list.Problems) != 1 {
		t.Errorf("%+v, %q", a, list.Problems)
	}
}

// A folder can be filled for a version that needs a newer containerd than the base
// image's release has: the folder will have it.
func TestArtifactsOfNewVersions(t *testing.T) {
	o := cluster(t)
	text := string(read(t, o.NodesFile))
	for _, test := range []struct{ block, want string }{
		{`{version: "1.36.3", artifacts: ./artifacts}`, ""},
		{`{version: "1.35.4", artifacts: ./artifacts}`, ""},
		{`{version: "1.36.3"}`, "needs containerd 2.2 or later"},
	} {
		write(t, o.NodesFile, []byte(strings.Replace(text, `{version: "1.34.1"}`, test.block, 1)))
		list, err := ArtifactsList(t.Context(), o)
		switch {
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: got %v, want %q", test.block, err, test.want)
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.block, err)
		case test.want == "":
			i := slices.IndexFunc(list.Artifacts, func(a Artifact) bool { return a.Name == "containerd" })
			if i < 0 || list.Artifacts[i].State != Missing || !strings.HasPrefix(list.Artifacts[i].From, "https://") {
				t.Errorf("%s: containerd: %+v", test.block, list.Artifacts)
			}
		}
	}
}
