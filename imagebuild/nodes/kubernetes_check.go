package nodes

import "fmt"

// What is known too small for a control plane that kubeadm makes.
const kubeadmMemory = 2 << 30

// member reports whether the node takes part in Kubernetes.
func (n node) member() bool {
	return n.settings.role.v == ControlPlane || n.settings.role.v == Worker
}

// kubernetes checks the kubernetes block: each value for itself, and then
// against the nodes and the network. Without a block it is nil.
func (c *checker) kubernetes(v value[kubernetesDoc], all []node, k cluster) *Kubernetes {
	if !v.Set() {
		return nil
	}
	d, block := v.V, at(v)
	out := &Kubernetes{
		Distribution: Kubeadm,
		DNSDomain:    "cluster.local",
		CNI:          CNI{Kind: Flannel},
		Place:        c.position(block),
		VersionPlace: c.position(at(d.Version)),
	}
	known := true
	if d.Distribution.Given() {
		out.Distribution = c.distribution(d.Distribution)
		known = out.Distribution != ""
	}
	if d.Version.Set() && known {
		out.Version = c.version(d.Version, out.Distribution)
	}
	podDefault, serviceDefault := "10.244.0.0/16", "10.96.0.0/12"
	if out.Distribution == K3s {
		podDefault, serviceDefault = "10.42.0.0/16", "10.43.0.0/16"
	}
	pods := c.subnet(d.PodSubnet, block, "podSubnet", podDefault)
	services := c.subnet(d.ServiceSubnet, block, "serviceSubnet", serviceDefault)
	out.PodSubnet, out.ServiceSubnet = pods.p, services.p
	out.CertSANs = checked(d.CertSANs, c.serverNames).v
	if d.DNSDomain.Set() {
		out.DNSDomain = c.domain(d.DNSDomain)
	}
	if d.CNI.Given() {
		out.CNI = checked(d.CNI, c.cni).v
	}
	if d.Artifacts.Set() {
		out.Artifacts = c.artifacts(d.Artifacts)
	}
	if d.Patches.Set() {
		out.Patches = c.patches(d.Patches)
		if out.Distribution == K3s {
			c.fail(at(d.Patches), "leave patches out", "patches are kubeadm's, and k3s has nothing that they apply to")
		}
	}
	out.Mirrors = c.mirrors(d.Mirrors)
	if known && len(all) > 0 && !c.nodesMisread && rolesKnown(all) {
		c.members(block, out, all)
		c.way(block, k)
		c.subnets(&pods, &services, all, k)
		out.Endpoint = c.endpoint(d.Endpoint, d.LoadBalancer, block, all, k)
		if a := out.Endpoint.Addr; a.IsValid() && d.Endpoint.Given() {
			for _, s := range []subnet{pods, services} {
				if s.p.IsValid() && s.p.Contains(a) {
					c.fail(at(d.Endpoint), "choose another address", "the endpoint %s is in %s", a, s.name())
				}
			}
		}
	}
	return out
}

// position is a place as it is named to people.
func (c *checker) position(p place) string {
	return fmt.Sprintf("%s:%d:%d", c.name, p.span.Line, p.span.Col)
}

// rolesKnown reports whether every role was understood, so that something can
// be said about what the nodes are together.
func rolesKnown(all []node) bool {
	for _, n := range all {
		if r := n.settings.role; r.given && !r.reset && r.v == "" {
			return false
		}
	}
	return true
}

func (c *checker) distribution(v text) Distribution {
	if !v.Set() {
		return ""
	}
	return Distribution(c.choice(v, "distribution", string(Kubeadm), string(K3s)))
}

// way refuses a network without a gateway: a node finds the way to a service's
// address by its default route, before kube-proxy turns it into a pod's. What the
// route leads to need not be there.
func (c *checker) way(block place, k cluster) {
	if k.network.v.IsValid() && !k.gateway.given {
		c.fail(block, "add cluster.gateway; if nothing leads out of the network, any free address of it will do",
			"there is no cluster.gateway, and nodes without a default route do not reach the cluster's services")
	}
}

// members checks the nodes that take part.
func (c *checker) members(block place, out *Kubernetes, all []node) {
	planes, workers := 0, 0
	said := map[string]bool{} // of a range, it is told once
	for _, n := range all {
		if !n.member() {
			continue
		}
		s := n.settings
		if s.role.v == Worker {
			workers++
		} else {
			planes++
		}
		if said[n.path] {
			continue
		}
		said[n.path] = true
		if s.role.v == ControlPlane {
			if n.dhcp {
				c.fail(n.of(s.role.place), "add ip: with an address of cluster.network", "a control plane needs a static address: the other nodes, and certificates, name it")
			}
			if s.memory.v > 0 && s.memory.v < kubeadmMemory && out.Distribution == Kubeadm {
				c.notice(n.of(s.memory.place), "%s has less than 2 GiB of memory, and kubeadm's control plane barely fits: distribution: k3s gets by with less, and is what boards of 1 GiB can run", n.hostname.v)
			}
		}
		if s.swap.v && out.Distribution == Kubeadm { // k3s lets the kubelet start with it
			c.fail(n.of(s.swap.place), "set swap to false on nodes that take part in Kubernetes", "%s has swap on, and the kubelet does not start with it", n.hostname.v)
		}
	}
	switch {
	case planes == 0:
		c.fail(block, "give one node role: control-plane", "there is a kubernetes block, and no control plane")
	case workers == 0:
		out.Untainted = true
		c.notice(block, "there is no worker: the control plane runs the workloads as well, and is not tainted")
	}
}
