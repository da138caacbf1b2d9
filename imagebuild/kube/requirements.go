package kube

import (
	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/nodes"
)

// Requirements returns what a node needs beside its image to run Kubernetes, in
// the order in which a person would list it. Arch is the image's, as dpkg names
// it. It is empty for nodes outside the cluster.
func Requirements(c *nodes.Config, arch string, n nodes.Node) []artifacts.Requirement {
	k := c.Kubernetes
	if k == nil || !n.InCluster() {
		return nil
	}
	var list []artifacts.Requirement
	if k.Distribution == nodes.K3s {
		list = k3sRequirements(c, arch, n)
	} else {
		list = kubeadmRequirements(k, n)
		for _, ref := range images(c, n) {
			list = append(list, artifacts.Requirement{Kind: artifacts.Image, Name: ref})
		}
	}
	for i := range list {
		list[i].Arch = arch
	}
	return list
}

// kubeadmRequirements returns the programs and packages of a kubeadm node.
func kubeadmRequirements(k *nodes.Kubernetes, n nodes.Node) []artifacts.Requirement {
	v := k.Version.String()
	list := []artifacts.Requirement{
		{Kind: artifacts.Binary, Name: "kubeadm", Version: v, Why: "forms the cluster"},
		{Kind: artifacts.Binary, Name: "kubelet", Version: v, Why: "runs the pods of a node"},
	}
	if n.Role == nodes.ControlPlane {
		list = append(list, artifacts.Requirement{
			Kind: artifacts.Binary, Name: "kubectl", Version: v, Why: "applies the CNI's manifest, looks after tokens",
		})
	}
	least, fetched := containerdFor(k.Version)
	runtime := []string{"containerd", "containerd.io"}
	list = append(list,
		artifacts.Requirement{Kind: artifacts.Binary, Name: "containerd", Version: fetched, AtLeast: least, Debs: runtime[1:], Why: "container runtime"},
		artifacts.Requirement{Kind: artifacts.Binary, Name: "containerd-shim-runc-v2", Version: fetched, AtLeast: least, Debs: runtime, Why: "container runtime"},
		artifacts.Requirement{Kind: artifacts.Binary, Name: "ctr", Version: fetched, AtLeast: least, Debs: runtime, Why: "imports images"},
		artifacts.Requirement{Kind: artifacts.Binary, Name: "runc", Version: runcVersion, AtLeast: "1.1.0", Debs: runtime[1:], Why: "starts containers"},
		// kubeadm 1.30 and older do not start without it.
		artifacts.Requirement{
			Kind: artifacts.Binary, Name: "crictl", Version: criToolsVersion, AtLeast: "1.26.0", Debs: []string{"cri-tools"},
			Optional: k.Version.AtLeast(1, 31), Why: "kubeadm's look at the container runtime",
		})
	for _, plugin := range []string{"bridge", "host-local", "loopback", "portmap"} {
		list = append(list, artifacts.Requirement{
			Kind: artifacts.CNIPlugin, Name: plugin, Version: cniPluginsVersion, AtLeast: "1.0.0",
			Debs: []string{"kubernetes-cni", "containernetworking-plugins"}, Why: "connects pods",
			Optional: k.CNI.Kind == nodes.NoCNI, // whoever sets one up brings what it needs
		})
	}
	for _, deb := range []struct {
		name  string
		until int // the minor version of kubeadm that first does without it
		why   string
	}{
		{"conntrack", 32, "kubeadm's preflight check before 1.32"},
		{"iptables", 33, "kubeadm's preflight check before 1.33; host ports of pods"},
		{"ethtool", 0, "what the kubelet's package depends on"},
		{"socat", 0, "kubectl port-forward with old runtimes"},
		{"ebtables", 0, "what the kubelet's package depends on"},
	} {
		list = append(list, artifacts.Requirement{
			Kind: artifacts.Deb, Name: deb.name, Optional: k.Version.AtLeast(1, deb.until), Why: deb.why,
		})
	}
	return list
}

const (
	runcVersion       = "1.3.4"
	criToolsVersion   = "1.34.0"
	cniPluginsVersion = "1.7.1"
)

// containerdFor returns the oldest version of containerd that goes with a version
// of Kubernetes (see containerdObstacle), and the one that is fetched.
func containerdFor(v nodes.Version) (least, fetched string) {
	switch {
	case v.AtLeast(1, 36):
		return "2.2.0", "2.2.9"
	case v.AtLeast(1, 35):
		return "1.7.28", "1.7.35"
	}
	return "1.6.0", "1.7.35" // the kubelet wants version 1 of the CRI since 1.26
}
