package nodes

import (
	"fmt"
	"net/netip"
)

// What kubeadm and the API server allow (cmd/kubeadm/app/constants): services
// have at most 20 bits, and the tenth address is that of DNS; each node gets a
// /24 of the pods' network, which may have at most 16 bits more.
const (
	minServiceBits = 12
	maxServiceBits = 28
	minPodBits     = 8
	nodePodBits    = 24
)

// subnet is a network of the cluster's own, which exists on no wire.
type subnet struct {
	key string // of the block
	p   netip.Prefix
	place
	given bool
}

// name is what messages call the subnet.
func (s subnet) name() string {
	if s.given {
		return fmt.Sprintf("%s %s", s.key, s.p)
	}
	return fmt.Sprintf("the default %s %s", s.key, s.p)
}

// subnet reads a subnet of the block, which stands at block, or its default.
func (c *checker) subnet(v text, block place, key, def string) subnet {
	if !v.Given() {
		return subnet{key: key, p: netip.MustParsePrefix(def), place: block}
	}
	s := subnet{key: key, place: at(v), given: true}
	if v.Set() {
		s.p = c.network(v)
	}
	return s
}

// subnets checks the sizes of the two subnets, and that they overlap nothing.
func (c *checker) subnets(pods, services *subnet, all []node, k cluster) {
	if pods.p.IsValid() {
		c.podSize(pods, all, []netip.Prefix{k.network.v, services.p})
	}
	if services.p.IsValid() {
		c.serviceSize(services)
	}
	taken := []netip.Prefix{k.network.v, pods.p, services.p}
	if pods.p.IsValid() && services.p.IsValid() && pods.p.Overlaps(services.p) {
		at := services
		if !services.given && pods.given {
			at = pods
		}
		c.fail(at.place, at.instead(taken), "%s and %s overlap; an address would be a pod's and a service's", pods.name(), services.name())
	}
	for _, s := range []*subnet{pods, services} {
		if s.p.IsValid() {
			c.disjoint(s, taken, all, k)
		}
	}
}

// podSize wants a /24 for each node that takes part.
func (c *checker) podSize(s *subnet, all []node, taken []netip.Prefix) {
	members := 0
	for _, n := range all {
		if n.member() {
			members++
		}
	}
	switch bits := s.p.Bits(); {
	case bits > nodePodBits:
		c.fail(s.place, "use a /16, such as "+s.wider(16), "%s is too small: each node gets a /24 of it", s.name())
	case bits < minPodBits:
		c.fail(s.place, "use a /16, such as "+s.wider(16), "%s is too large: kubeadm allows a /8 at most", s.name())
	case 1<<(nodePodBits-bits) < members:
		c.fail(s.place, s.room(members, taken), "%s is too small: it has %d networks of 256 addresses, and %d nodes need one each", s.name(), 1<<(nodePodBits-bits), members)
	}
}

// room proposes a subnet of pods for a number of nodes, which overlaps none that
// is taken.
func (s *subnet) room(nodes int, taken []netip.Prefix) string {
	bits := 16
	for 1<<(nodePodBits-bits) < nodes {
		bits--
	}
	if p := netip.PrefixFrom(s.p.Addr(), bits).Masked(); free(p, taken) {
		return fmt.Sprintf("use a /%d, such as %s", bits, p)
	}
	return "write " + s.key + ": " + vacant(bits, taken)
}

// free reports whether p overlaps none of those that are taken.
func free(p netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if t.IsValid() && t.Overlaps(p) {
			return false
		}
	}
	return true
}

// vacant returns a private network of a length that overlaps none that is taken.
func vacant(bits int, taken []netip.Prefix) string {
	for _, a := range []string{"10.244.0.0", "10.128.0.0", "10.64.0.0", "172.16.0.0", "100.64.0.0", "10.0.0.0"} {
		if p := netip.PrefixFrom(netip.MustParseAddr(a), bits).Masked(); free(p, taken) {
			return p.String()
		}
	}
	return fmt.Sprintf("and a /%d that is used nowhere else", bits)
}

func (c *checker) serviceSize(s *subnet) {
	switch bits := s.p.Bits(); {
	case bits > maxServiceBits:
		c.fail(s.place, "use a /16, such as "+s.wider(16), "%s is too small: the cluster's DNS has the tenth address of it", s.name())
	case bits < minServiceBits:
		c.fail(s.place, "use "+netip.PrefixFrom(s.p.Addr(), 16).String(), "%s is too large: the API server allows a /12 at most", s.name())
	}
}

// wider is the network of a length around the subnet's first address.
func (s *subnet) wider(bits int) string {
	return netip.PrefixFrom(s.p.Addr(), bits).Masked().String()
}

// disjoint refuses a subnet that hides something that the nodes must reach.
func (c *checker) disjoint(s *subnet, taken []netip.Prefix, all []node, k cluster) {
	hidden := func(what string, a netip.Addr) bool {
		if a.IsValid() && s.p.Contains(a) {
			c.fail(s.place, s.instead(taken), "%s holds %s %s, which the nodes could not reach any more", s.name(), what, a)
			return true
		}
		return false
	}
	if k.network.v.IsValid() && s.p.Overlaps(k.network.v) {
		c.fail(s.place, s.instead(taken), "%s overlaps cluster.network %s: the nodes could not reach each other any more", s.name(), k.network.v)
		return
	}
	hidden("the gateway", k.gateway.v)
	for _, a := range k.dns.v {
		hidden("the name server", a)
	}
	said := map[string]bool{} // of a range, one address is enough
	for _, n := range all {
		if !said[n.path] {
			said[n.path] = hidden(n.hostname.v+"'s address", n.ip.v)
		}
	}
}

// instead proposes a subnet that overlaps none that is taken.
func (s *subnet) instead(taken []netip.Prefix) string {
	for _, p := range []string{"10.244.0.0/16", "10.96.0.0/16", "172.20.0.0/16", "172.21.0.0/16", "192.168.0.0/16", "198.18.0.0/16"} {
		if free(netip.MustParsePrefix(p), taken) {
			return "write " + s.key + ": " + p
		}
	}
	return "choose a network that is used nowhere else"
}
