package kube

import "strings"

// planHost prepares the kernel, for kubeadm and k3s alike. That pods' interfaces
// are left alone by what configures the network is a matter of package raspios.
func (p *planner) planHost() {
	// The firmware tells the kernel cgroup_disable=memory; what comes later wins.
	// The kernels of Stretch and Buster want cgroup_memory=1 as well.
	p.out.Cmdline = append(p.out.Cmdline, "cgroup_enable=cpuset", "cgroup_memory=1", "cgroup_enable=memory")
	p.file(modulesConf, header+strings.Join(modules, "\n")+"\n")
	p.file(sysctlConf, header+strings.Join(sysctls, "\n")+"\n")
}

const (
	modulesConf = "etc/modules-load.d/piimg-kubernetes.conf"
	sysctlConf  = "etc/sysctl.d/99-piimg-kubernetes.conf"
)

const header = "# Made by piimg.\n"

// modules are what containerd, flannel and kube-proxy need of the kernel.
var modules = []string{"br_netfilter", "overlay", "vxlan"}

// sysctls let packets pass from pod to pod, and be seen by kube-proxy's rules.
var sysctls = []string{
	"net.bridge.bridge-nf-call-ip6tables = 1",
	"net.bridge.bridge-nf-call-iptables = 1",
	"net.ipv4.ip_forward = 1",
}
