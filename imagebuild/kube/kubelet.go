package kube

import "net/netip"

// kubeletConfiguration is the part of kubelet.config.k8s.io/v1beta1 that differs
// from what the kubelet and kubeadm choose by themselves.
type kubeletConfiguration struct {
	typeMeta           `yaml:",inline"`
	CgroupDriver       string       `yaml:"cgroupDriver"`
	ClusterDomain      string       `yaml:"clusterDomain"`
	ClusterDNS         []string     `yaml:"clusterDNS"`
	SerializeImagePull bool         `yaml:"serializeImagePulls"`
	RuntimeTimeout     string       `yaml:"runtimeRequestTimeout"`
	ImageGCHigh        int          `yaml:"imageGCHighThresholdPercent"`
	ImageGCLow         int          `yaml:"imageGCLowThresholdPercent"`
	LogMaxSize         string       `yaml:"containerLogMaxSize"`
	LogMaxFiles        int          `yaml:"containerLogMaxFiles"`
	EvictionHard       evictionHard `yaml:"evictionHard"`
}

type evictionHard struct {
	Memory      string `yaml:"memory.available"`
	NodeFS      string `yaml:"nodefs.available"`
	NodeFSInode string `yaml:"nodefs.inodesFree"`
	ImageFS     string `yaml:"imagefs.available"`
}

// kubelet returns what all kubelets of the cluster have in common: kubeadm init
// keeps it in the cluster, and kubeadm join fetches it from there.
func (p *planner) kubelet() kubeletConfiguration {
	return kubeletConfiguration{
		typeMeta:      typeMeta{APIVersion: "kubelet.config.k8s.io/v1beta1", Kind: "KubeletConfiguration"},
		CgroupDriver:  "systemd",
		ClusterDomain: p.k.DNSDomain,
		ClusterDNS:    []string{serviceIP(p.k.ServiceSubnet, 10).String()},
		// A card reads and writes one thing at a time, and slowly: images one by one,
		// and patience with containerd.
		SerializeImagePull: true,
		RuntimeTimeout:     "10m0s",
		// A card is small: what is not used goes earlier than at 85 %, and logs of
		// 10 MiB a container are too much.
		ImageGCHigh: 80, ImageGCLow: 70,
		LogMaxSize: "5Mi", LogMaxFiles: 3,
		// The kubelet's own thresholds but for the image file system's, which is the
		// same card: 15 % of it would be gone for nothing. To set one is to set all.
		EvictionHard: evictionHard{Memory: "100Mi", NodeFS: "10%", NodeFSInode: "5%", ImageFS: "10%"},
	}
}

// serviceIP returns the nth address of the services' subnet: the 10th is by
// convention that of the cluster's name server.
func serviceIP(subnet netip.Prefix, n int) netip.Addr {
	a := subnet.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// kubeProxyConfiguration is of kubeproxy.config.k8s.io/v1alpha1.
type kubeProxyConfiguration struct {
	typeMeta    `yaml:",inline"`
	ClusterCIDR string `yaml:"clusterCIDR"`
}

func (p *planner) kubeProxy() kubeProxyConfiguration {
	return kubeProxyConfiguration{
		typeMeta:    typeMeta{APIVersion: "kubeproxy.config.k8s.io/v1alpha1", Kind: "KubeProxyConfiguration"},
		ClusterCIDR: p.k.PodSubnet.String(),
	}
}
