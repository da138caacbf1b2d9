package nodes

import "net/netip"

// document checks the whole file: first each value for itself, then what they
// say of each other.
func (c *checker) document(d document) *Config {
	config := &Config{Image: c.optionalImage(d.Image)}
	cluster := c.cluster(d.Cluster)
	config.Cluster = cluster.config()
	defaults := c.settings(d.Defaults.V)
	if d.Nodes.Set() && len(d.Nodes.V) == 0 {
		c.fail(at(d.Nodes), "add one: - hostname: isabelle", "there are no nodes")
	}
	var all []node
	for _, v := range d.Nodes.V {
		if v.Set() {
			all = append(all, c.entry(v, defaults, maxNodes-len(all))...)
		}
	}
	c.unique(all)
	c.addresses(all, cluster)
	config.Kubernetes = c.kubernetes(d.Kubernetes, all, cluster)
	for _, n := range all {
		c.access(n)
		config.Nodes = append(config.Nodes, n.config())
	}
	config.planes = config.withRole(ControlPlane)
	return config
}

func (c *checker) optionalImage(v value[imageDoc]) Image {
	if !v.Set() {
		return Image{} // it is missing, which was reported
	}
	return c.image(v)
}

// cluster is the checked form of clusterDoc.
type cluster struct {
	place
	name    opt[string]
	network opt[netip.Prefix]
	gateway opt[netip.Addr]
	dns     opt[[]netip.Addr]
}

func (c *checker) cluster(v value[clusterDoc]) cluster {
	d := v.V
	k := cluster{
		place: at(v),
		name: checked(d.Name, func(t text) string {
			s, _ := c.label(t, "name")
			return s
		}),
		network: checked(d.Network, c.network),
		gateway: checked(d.Gateway, func(t text) netip.Addr {
			a, _ := c.ipv4(t, "gateway")
			return a
		}),
		dns: checked(d.DNS, c.nameServers),
	}
	switch {
	case !k.gateway.v.IsValid():
	case !k.network.given:
		c.fail(k.gateway.place, "add cluster.network: for example 10.0.0.0/24", "a gateway needs the network it is in")
	case k.network.v.IsValid():
		c.inside(k.gateway.place, "gateway", k.gateway.v, k.network.v)
	}
	return k
}

func (k cluster) config() Cluster {
	return Cluster{Name: k.name.v, Network: k.network.v, Gateway: k.gateway.v, DNS: k.dns.v}
}

// addresses checks the static addresses against the cluster's network; of a range
// that is wrong it tells the first one.
func (c *checker) addresses(all []node, k cluster) {
	static, wrong := false, map[string]bool{}
	for _, n := range all {
		if !n.ip.v.IsValid() {
			continue
		}
		static = true
		if !wrong[n.path] {
			wrong[n.path] = !c.address(n, k)
		}
	}
	if !static || c.r.Failed() {
		return
	}
	if !k.gateway.given {
		c.notice(k.network.place, "there is no cluster.gateway: nodes with a static address reach this network only")
	}
	if len(k.dns.v) == 0 {
		c.notice(k.network.place, "there is no cluster.dns: nodes with a static address cannot look names up")
	}
}

// address checks a node's static address against the cluster's network.
func (c *checker) address(n node, k cluster) bool {
	a := n.ip.v
	switch {
	case !k.network.given:
		c.fail(n.ip.place, "add cluster.network: for example "+netip.PrefixFrom(a, 24).Masked().String(),
			"a static address needs the network it is in")
		return false
	case !k.network.v.IsValid():
		return false // which was reported
	case !c.inside(n.ip.place, n.shown("address"), a, k.network.v):
		return false
	case a == k.gateway.v && n.many:
		c.fail(n.ip.place, "begin above it, or write two ranges around it", "%s %s is the gateway's", n.shown("address"), a)
		return false
	case a == k.gateway.v && n.settings.role.v != Router:
		c.fail(n.ip.place, "choose another address, or give the node the role router", "the address %s is the gateway's", a)
		return false
	}
	return true
}

// access refuses a node that nobody could use.
func (c *checker) access(n node) {
	if c.misread {
		return
	}
	s := n.settings
	noPassword := s.password.absent()
	noKeys := s.keys.absent() || len(s.keys.v) == 0
	if given := !s.keys.absent(); given && noKeys && c.r.Failed() {
		noKeys = false // the keys are there, and wrong
	}
	switch {
	case noPassword && noKeys && otherwise(s.ssh, true):
		c.fail(n.place, "give user.authorizedKeys or user.password, in defaults or here; or turn ssh off",
			"nobody could log in: the user has neither a key nor a password")
	case noPassword && otherwise(s.sudo, SudoNoPassword) == SudoPassword:
		c.fail(s.sudo.place, "give user.password, or set sudo to nopasswd or none", "sudo asks for a password, and the user has none")
	case noPassword && !otherwise(s.ssh, true):
		c.notice(n.place, "nobody can log in: ssh is off, and the user has no password")
	}
}
