package nodes

import (
	"net"
	"net/netip"
	"strings"
)

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
			all = append(all, c.node(v, defaults))
		}
	}
	c.unique(all)
	c.addresses(all, cluster)
	config.Kubernetes = c.kubernetes(d.Kubernetes, all, cluster)
	for _, n := range all {
		c.access(n)
		config.Nodes = append(config.Nodes, n.config())
	}
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

// node is the checked form of nodeDoc, with the defaults in place.
type node struct {
	place
	hostname opt[string]
	ip       opt[netip.Addr]
	mac      opt[net.HardwareAddr]
	dhcp     bool // no static address was asked for
	settings settings
}

func (c *checker) node(v value[nodeDoc], defaults settings) node {
	d := v.V
	n := node{
		place:    at(v),
		hostname: checked(d.Hostname, c.hostname),
		ip:       checked(d.IP, c.static),
		mac:      checked(d.MAC, c.mac),
		dhcp:     !d.IP.Given() || d.IP.V == "dhcp",
		settings: c.settings(d.settingsDoc).over(defaults),
	}
	if full := n.hostname.v + "." + n.settings.domain.v; len(full) > 254 {
		c.fail(n.hostname.place, "", "the name and its domain have %d characters together; at most 253 are possible", len(full)-1)
	}
	return n
}

func (n node) config() Node {
	out := Node{Hostname: n.hostname.v, IP: n.ip.v, MAC: n.mac.v}
	n.settings.fill(&out)
	return out
}

// unique refuses what only one node can have. Hostnames are in lower case, so
// that the image files of two nodes differ on every file system.
func (c *checker) unique(all []node) {
	names, ips, macs := map[string]place{}, map[netip.Addr]place{}, map[string]place{}
	for _, n := range all {
		once(c, names, n.hostname.v, n.hostname.place, "hostname", n.hostname.v)
		once(c, ips, n.ip.v, n.ip.place, "address", n.ip.v.String())
		once(c, macs, string(n.mac.v), n.mac.place, "MAC address", n.mac.v.String())
	}
	var router *node
	for i, n := range all {
		if n.settings.role.v != Router {
			continue
		}
		if router != nil {
			c.fail(n.of(n.settings.role.place), "give one of them another role", "there can be one router, and %s in line %d is it already", router.path, router.span.Line)
			continue
		}
		router = &all[i]
	}
}

// of returns where a setting of the node stands, or the node itself if the
// setting comes from defaults.
func (n node) of(setting place) place {
	if strings.HasPrefix(setting.path, n.path+".") {
		return setting
	}
	return n.place
}

// once refuses a value that an earlier node has.
func once[K comparable](c *checker, seen map[K]place, key K, p place, what, shown string) {
	var none K
	if key == none {
		return
	}
	if earlier, dup := seen[key]; dup {
		c.fail(p, "give one of them another", "the %s %s is taken by %s in line %d", what, shown, parent(earlier.path), earlier.span.Line)
		return
	}
	seen[key] = p
}

// parent is the path of the mapping that holds a key.
func parent(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '.' {
			return path[:i]
		}
	}
	return path
}

// addresses checks the static addresses against the cluster's network.
func (c *checker) addresses(all []node, k cluster) {
	static := false
	for _, n := range all {
		if !n.ip.v.IsValid() {
			continue
		}
		static = true
		switch {
		case !k.network.given:
			c.fail(n.ip.place, "add cluster.network: for example "+netip.PrefixFrom(n.ip.v, 24).Masked().String(),
				"a static address needs the network it is in")
		case !k.network.v.IsValid():
		case !c.inside(n.ip.place, "address", n.ip.v, k.network.v):
		case n.ip.v == k.gateway.v && n.settings.role.v != Router:
			c.fail(n.ip.place, "choose another address, or give the node the role router", "the address %s is the gateway's", n.ip.v)
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
