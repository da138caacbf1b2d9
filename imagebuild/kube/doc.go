// Package kube decides what the nodes of a cluster carry so that Kubernetes forms
// itself when they are first powered on: certificates, tokens, the configuration
// of kubeadm, k3s, the kubelet and containerd, and the manifests that connect the
// pods. It knows what each of these wants to read, and no image: [Plan] returns
// additions to a node's plan.
//
// # How a cluster forms
//
// All certificate authorities are made before the nodes: they are kept among the
// cluster's secrets. So every node is told in advance whom it can trust, and
// [Kubeconfig] gives a person access to a cluster that has not booted yet.
//
// The first control plane of nodes.yaml runs kubeadm init with those authorities,
// the other control planes join it with the same ones, and workers join with the
// hash of the authority's key pinned and a bootstrap token of their own. A control
// plane with a virtual address has kube-vip as a static pod. Nodes may be powered
// on in any order: what a node waits for, and how often it tries, is the matter of
// the scripts in overlays/kubernetes, which run at the first boot and read what
// this package writes:
//
//	/etc/piimg/node.env              what the scripts have to know, as shell variables
//	/etc/piimg/kubernetes/           0700
//	    kubeadm.yaml                 kubeadm's configuration for this node
//	    pki/                         the authorities with their keys; control planes only
//	    ca.crt                       the cluster's certificate authority
//	    tokens                       the tokens that init makes: "node id.secret"
//	    cni.yaml                     connects the pods; the first control plane only
//	    kube-vip.yaml, kube-vip.conf the static pod, and its access to the API server
//	    containerd-1.toml            for containerd 1.x, containerd-2.toml for 2.x
//	    images                       the container images of the node, one a line
//	    patches/                     the user's patches for kubeadm
//	    k3s/                         instead of kubeadm's files, if k3s is wanted
//
// In kubeadm.yaml and k3s's files, @NODE_IP@ stands where the address of a node is
// known only once it has one; the scripts fill it in.
//
// # Secrets
//
// A node gets what it needs and nothing else: authorities' keys go to control
// planes, a worker gets its own token. Every edit with a secret in it says so, and
// is readable by root only.
//
// # Sources
//
// The configurations follow kubeadm.k8s.io/v1beta3 and v1beta4,
// kubelet.config.k8s.io/v1beta1 and kubeproxy.config.k8s.io/v1alpha1 of
// kubernetes/kubernetes; the tests give every one that they make to kubeadm itself.
package kube
