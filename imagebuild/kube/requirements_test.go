package kube

import (
	"slices"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/secrets"
)

func TestRequirements(t *testing.T) {
	c := asVersion(t, available, version1344)
	byNode := map[string][]artifacts.Requirement{}
	for _, n := range c.Nodes {
		byNode[n.Hostname] = Requirements(c, "arm64", n)
	}
	names := func(node string, kind artifacts.Kind) (list []string) {
		for _, r := range byNode[node] {
			if r.Kind == kind {
				list = append(list, r.Name)
			}
			if r.Arch != "arm64" {
				t.Errorf("%s: %s is for %q", node, r, r.Arch)
			}
			if r.Kind != artifacts.Image && r.Why == "" {
				t.Errorf("%s: nothing says what %s is for", node, r)
			}
		}
		return list
	}
	for node, want := range map[string]string{
		"digby":    "kubeadm kubelet kubectl containerd containerd-shim-runc-v2 ctr runc crictl",
		"blathers": "kubeadm kubelet containerd containerd-shim-runc-v2 ctr runc crictl",
	} {
		if got := strings.Join(names(node, artifacts.Binary), " "); got != want {
			t.Errorf("%s needs %s", node, got)
		}
		if got := strings.Join(names(node, artifacts.CNIPlugin), " "); got != "bridge host-local loopback portmap" {
			t.Errorf("%s needs the plugins %s", node, got)
		}
		if got, want := names(node, artifacts.Image), images(c, c.Nodes[slices.IndexFunc(c.Nodes, func(n nodes.Node) bool { return n.Hostname == node })]); !slices.Equal(got, want) {
			t.Errorf("%s needs the images %s instead of %s", node, got, want)
		}
	}
	for _, ref := range names("blathers", artifacts.Image) {
		if strings.Contains(ref, "etcd") || strings.Contains(ref, "apiserver") || strings.Contains(ref, "vip") {
			t.Errorf("a worker needs %s", ref)
		}
	}
	if got := Requirements(asVersion(t, threeNodes, version1344), "arm64", nodes.Node{Role: nodes.Router}); got != nil {
		t.Errorf("a router needs %s", got)
	}
}

// TestOldRegistry has the images of 1.24 where they are today.
func TestOldRegistry(t *testing.T) {
	c := asVersion(t, threeNodes, nodes.Version{Major: 1, Minor: 24, Patch: 3})
	config := content(planAll(t, c, secrets.Placeholder("villagers"))["isabelle"], kubeadmYAML)
	for _, want := range []string{"\nimageRepository: registry.k8s.io\n", "\ndns:\n  imageRepository: registry.k8s.io/coredns\n"} {
		if !strings.Contains(config, want) {
			t.Errorf("no %q in\n%s", want, config)
		}
	}
}

// TestContainerdAgrees wants the containerd that is fetched, and the oldest one
// that will do, to be such that Check lets them pass, and no older one.
func TestContainerdAgrees(t *testing.T) {
	for minor := 26; minor <= newestMinor; minor++ {
		v := nodes.Version{Major: 1, Minor: minor}
		least, fetched := containerdFor(v)
		for _, c := range []string{least, fetched} {
			p := platform{release: "trixie", arch: "arm64", containerd: parseVersion(c), brought: true, offline: true}
			if o, ok := p.containerdObstacle(v); !ok {
				t.Errorf("1.%d with containerd %s: %s", minor, c, o.why)
			}
		}
		if !parseVersion(fetched).atLeast(parseVersion(least)[0], parseVersion(least)[1], parseVersion(least)[2]) {
			t.Errorf("1.%d: %s is fetched, and %s needed", minor, fetched, least)
		}
	}
}

// TestManifestImages wants references in full, as containerd lists them.
func TestManifestImages(t *testing.T) {
	const text = `# a comment
---
apiVersion: apps/v1
kind: DaemonSet
spec:
  template:
    spec:
      initContainers:
      - {name: a, image: "quay.io/calico/cni:v3.30.0"}
      containers:
      - {name: b, image: calico/node}
      - {name: c, image: busybox}
      - {name: d, image: "localhost:5000/x@sha256:0000000000000000000000000000000000000000000000000000000000000000"}
      - {name: e, image: localhost/y}
---
apiVersion: batch/v1
kind: CronJob
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: f, image: busybox}]}}}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
spec: {image: {type: string}, properties: {containers: {type: array}, image: {type: string}}}
`
	want := []string{
		"docker.io/calico/node:latest", "docker.io/library/busybox:latest", "localhost/y:latest",
		"localhost:5000/x@sha256:0000000000000000000000000000000000000000000000000000000000000000", "quay.io/calico/cni:v3.30.0",
	}
	if got := manifestImages([]byte(text)); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if err := checkManifest([]byte(text)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "# nothing\n", "---\n---\n", "a: b\n", "apiVersion: v1\n", "- a\n", "kind: [", "\x00", "apiVersion: v1\nkind: List\n---\n5\n"} {
		if err := checkManifest([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a manifest", bad)
		}
	}
}

// TestOwnManifests reads what is made of the templates.
func TestOwnManifests(t *testing.T) {
	c := asVersion(t, strings.Replace(available, "cni: {manifest: cni.yaml}", "cni: flannel", 1), version1344)
	for node, a := range planAll(t, c, secrets.Placeholder("villagers")) {
		for _, name := range []string{"cni.yaml", "kube-vip.yaml"} {
			text := content(a, dir+"/"+name)
			if (text == "") != (name == "cni.yaml" && node != "isabelle" || node == "blathers") {
				t.Errorf("%s: %s has %d bytes", node, name, len(text))
			}
			if text == "" {
				continue
			}
			if err := checkManifest([]byte(text)); err != nil {
				t.Errorf("%s: %s: %v", node, name, err)
			}
			for _, ref := range manifestImages([]byte(text)) {
				if !strings.Contains(content(a, dir+"/images"), ref+"\n") || !strings.HasPrefix(ref, "registry.example.net:5000/k8s/") {
					t.Errorf("%s: %s has the image %s, which is not listed or not the mirror's", node, name, ref)
				}
			}
		}
	}
}

// FuzzManifest wants no input to be too much for what reads manifests.
func FuzzManifest(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nkind: Pod\nspec: {containers: [{image: a}]}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("containers: {image: 5}\n---\ncontainers: [[image]]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = checkManifest(data)
		for _, ref := range manifestImages(data) {
			if !strings.ContainsAny(ref, ":@") {
				t.Errorf("%q is no whole reference", ref)
			}
		}
	})
}
