package kube

import "fmt"

// planContainerd adds the configuration of containerd: one for each of its major
// versions, which want the same in different places. The runtime that a node gets
// decides which one it uses.
//
// Runc is told to leave cgroups to systemd, as the kubelet is; the pause image is
// the one that kubeadm has as well; CNI plugins are where they are expected by
// everyone but Debian's package; and mirrors of registries can be added in
// /etc/containerd/certs.d.
func (p *planner) planContainerd() {
	pause := pauseImage(p.k)
	p.private(dir+"/containerd-1.toml", fmt.Sprintf(containerd1, pause))
	p.private(dir+"/containerd-2.toml", fmt.Sprintf(containerd2, pause))
	p.file("etc/crictl.yaml", header+crictl)
}

const containerd1 = `# Made by piimg, for containerd 1.x.
version = 2

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
`

const containerd2 = `# Made by piimg, for containerd 2.x.
version = 3

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = %q

[plugins."io.containerd.cri.v1.images".registry]
  config_path = "/etc/containerd/certs.d"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
    SystemdCgroup = true
`

const crictl = `runtime-endpoint: ` + criSocket + `
image-endpoint: ` + criSocket + `
timeout: 30
`
