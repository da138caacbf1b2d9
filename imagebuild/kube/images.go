package kube

import (
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes"
)

// What comes from elsewhere than Kubernetes, pinned.
const (
	kubernetesRegistry = "registry.k8s.io"

	flannelImage = "ghcr.io/flannel-io/flannel:v0.28.4"
	// flannelPluginImage holds the CNI plugin, which goes with flannel's manifest.
	flannelPluginImage = "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel1"

	kubeVIPImage = "ghcr.io/kube-vip/kube-vip:v1.1.2"
)

// images returns the references of the container images that a kubeadm node
// runs, in full, without those that it only runs if the user adds them.
func images(c *nodes.Config, n nodes.Node) []string {
	k := c.Kubernetes
	var list []string
	if n.Role == nodes.ControlPlane {
		for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
			list = append(list, kubernetesImage(k, name, "v"+k.Version.String()))
		}
		list = append(list, kubernetesImage(k, "etcd", componentsOf(k.Version).Etcd))
		if k.Endpoint.VIP {
			list = append(list, mirrored(k, kubeVIPImage))
		}
	}
	list = append(list,
		kubernetesImage(k, "kube-proxy", "v"+k.Version.String()),
		pauseImage(k),
		// Where the cluster's name servers run is not known beforehand.
		kubernetesImage(k, "coredns", componentsOf(k.Version).CoreDNS))
	switch k.CNI.Kind {
	case nodes.Flannel:
		list = append(list, mirrored(k, flannelImage), mirrored(k, flannelPluginImage))
	case nodes.ManifestCNI:
		list = append(list, manifestImages(k.CNI.Manifest)...)
	}
	return list
}

// pauseImage is what holds the namespaces of every pod.
func pauseImage(k *nodes.Kubernetes) string {
	return kubernetesImage(k, "pause", componentsOf(k.Version).Pause)
}

// kubernetesImage returns the reference by which kubeadm calls one of Kubernetes'
// own images.
func kubernetesImage(k *nodes.Kubernetes, name, tag string) string {
	registry := k.Mirrors.Images
	if registry == "" {
		registry = kubernetesRegistry
		if name == "coredns" {
			registry += "/coredns" // there it has a folder of its own, and only there
		}
	}
	return registry + "/" + name + ":" + tag
}

// mirrored returns the reference of an image in the user's registry: there it has
// the last part of its name, as Kubernetes' own images have.
func mirrored(k *nodes.Kubernetes, ref string) string {
	if k.Mirrors.Images == "" {
		return ref
	}
	return k.Mirrors.Images + ref[strings.LastIndexByte(ref, '/'):]
}
