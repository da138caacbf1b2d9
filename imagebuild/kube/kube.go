package kube

import (
	"fmt"
	"path"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/raspios"
	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/overlays"
)

const (
	// etc is where a node finds what is its own.
	etc = "etc/piimg"
	// dir holds what only root may read.
	dir = etc + "/kubernetes"
)

// nodeIP stands in configurations for an address that a node learns only when it
// boots.
const nodeIP = "@NODE_IP@"

const why = "kubernetes"

// Input is what the addition to a node's plan is made from.
type Input struct {
	Config  *nodes.Config
	Node    nodes.Node     // one of Config.Nodes
	Facts   *raspios.Facts // of the image
	Secrets *secrets.Secrets
	// Artifacts is what the node gets with its image; nil if it downloads
	// everything when it first boots.
	Artifacts *artifacts.Set
}

// Plan returns what a node needs to become a part of the cluster. For nodes that
// do not, and without a kubernetes block, it adds nothing, and only names what is
// to be removed if the base image is that of another node. [Check] has been asked
// before whether the image can run it at all.
func Plan(in Input) (raspios.Addition, error) {
	k := in.Config.Kubernetes
	if k == nil || !in.Node.InCluster() {
		return raspios.Addition{Why: why, Owns: owned(), Guarded: guarded()}, nil
	}
	keys, err := in.Secrets.Kubernetes()
	if err != nil {
		return raspios.Addition{}, err
	}
	p := &planner{Input: in, k: k, keys: keys, env: map[string]string{}}
	p.out.Why, p.out.Owns, p.out.Guarded = why, owned(), guarded()
	if p.first() { // once for the cluster
		p.out.Notices = append(p.out.Notices, versionNotices(k, in.Facts)...)
	}
	p.planFirstBoot()
	p.planHost()
	switch k.Distribution {
	case nodes.K3s:
		err = p.planK3s()
	default:
		err = p.planKubeadm()
	}
	if err == nil {
		err = p.planEnv() // last: what was planned says what is in it
	}
	if err != nil {
		return raspios.Addition{}, fmt.Errorf("node %s: %w", in.Node.Hostname, err)
	}
	if in.Artifacts != nil {
		p.out.Edits = append(p.out.Edits, in.Artifacts.Edits(Requirements(in.Config, in.Facts.Architecture, in.Node))...)
	}
	return p.out, nil
}

// planFirstBoot adds the programs that make the node what it is to be.
func (p *planner) planFirstBoot() {
	p.out.Overlays = append(p.out.Overlays, overlays.Kubernetes())
	p.out.Enable = append(p.out.Enable, "piimg-firstboot.service")
	if p.first() && p.k.Distribution == nodes.Kubeadm {
		p.out.Enable = append(p.out.Enable, "piimg-tokens.timer")
	}
}

// owned returns where a node has what Kubernetes needs.
func owned() []string {
	return []string{
		etc, "usr/lib/piimg", "usr/local/bin/piimg", "var/lib/piimg", modulesConf, sysctlConf,
		"etc/systemd/system/piimg-firstboot.service", "etc/systemd/system/multi-user.target.wants/piimg-firstboot.service",
		"etc/systemd/system/piimg-tokens.service", "etc/systemd/system/piimg-tokens.timer",
		"etc/systemd/system/timers.target.wants/piimg-tokens.timer",
	}
}

// guarded returns where a control plane has the keys of the authorities.
func guarded() []string { return []string{dir + "/pki", k3sDir + "/tls"} }

// planner collects what is added to one node.
type planner struct {
	Input
	k    *nodes.Kubernetes
	keys *secrets.Kubernetes
	env  map[string]string // of node.env
	out  raspios.Addition
}

// file adds a file that everybody may read.
func (p *planner) file(name, content string) {
	p.edit(plan.Edit{Path: name, Op: plan.Write, Mode: 0o644, Content: []byte(content)})
}

// private adds a file that only root may read, and that holds no secret.
func (p *planner) private(name, content string) {
	p.edit(plan.Edit{Path: name, Op: plan.Write, Mode: 0o600, Content: []byte(content)})
}

// secret adds a file that only root may read, and whose content is never printed.
func (p *planner) secret(name string, content []byte) {
	p.edit(plan.Edit{Path: name, Op: plan.Write, Mode: 0o600, Content: content, Secret: true})
}

// folder adds a folder that only root may enter.
func (p *planner) folder(name string) {
	p.edit(plan.Edit{Path: name, Op: plan.Mkdir, Mode: 0o700})
}

func (p *planner) edit(e plan.Edit) {
	e.Partition, e.Why = plan.Root, why
	e.Path = path.Clean(e.Path)
	p.out.Edits = append(p.out.Edits, e)
}

func (p *planner) notice(format string, args ...any) {
	p.out.Notices = append(p.out.Notices, fmt.Sprintf(format, args...))
}

// first reports whether the node is the one that starts the cluster.
func (p *planner) first() bool {
	return p.Node.Hostname == p.Config.ControlPlanes()[0].Hostname
}

// controlPlane reports whether the node is a control plane.
func (p *planner) controlPlane() bool { return p.Node.Role == nodes.ControlPlane }

// vip reports whether the node holds the cluster's virtual address, in turns with
// the other control planes.
func (p *planner) vip() bool { return p.controlPlane() && p.k.Endpoint.VIP }

// address returns the node's address, or what stands for it.
func (p *planner) address() string {
	if p.Node.IP.IsValid() {
		return p.Node.IP.String()
	}
	return nodeIP
}

// apiPort returns where the API servers listen: at the endpoint's port, unless
// something else answers there and passes on what it gets.
func apiPort(c *nodes.Config) uint16 {
	e := c.Kubernetes.Endpoint
	if e.VIP {
		return e.Port
	}
	for _, n := range c.ControlPlanes() {
		if e.Addr.IsValid() && e.Addr == n.IP {
			return e.Port
		}
	}
	return defaultPort
}

const defaultPort = 6443
