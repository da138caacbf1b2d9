package nodes

import (
	"net"
	"net/netip"
	"strings"
)

// node is one node of an entry of nodes, checked, with the defaults in place. An
// entry whose hostname is a pattern makes many, which share its place and its
// settings.
type node struct {
	place
	hostname opt[string]
	ip       opt[netip.Addr]
	mac      opt[net.HardwareAddr]
	dhcp     bool // no static address was asked for
	many     bool // the entry stands for several nodes
	settings *settings
}

// entry checks an entry of nodes, and returns the nodes that it stands for; free
// is how many there may be yet. What is wrong with a range is reported once.
func (c *checker) entry(v value[nodeDoc], defaults settings, free int) []node {
	d := v.V
	s := c.settings(d.settingsDoc).over(defaults)
	many := d.Hostname.Set() && isPattern(d.Hostname.V)
	proto := node{
		place: at(v), many: many, settings: &s,
		hostname: opt[string]{given: d.Hostname.Given(), place: at(d.Hostname)},
		ip:       opt[netip.Addr]{given: d.IP.Given(), place: at(d.IP)},
		mac:      opt[net.HardwareAddr]{given: d.MAC.Given(), place: at(d.MAC)},
		dhcp:     !d.IP.Given() || d.IP.V == "dhcp",
	}
	names := []string{""}
	if many {
		if names = c.hostnames(d.Hostname); names == nil {
			return []node{proto} // how many nodes there are is not known
		}
	} else if d.Hostname.Set() {
		names[0] = c.hostname(d.Hostname)
	}
	if len(names) > free {
		c.fail(proto.hostname.or(opt[string]{}).place, "split the fleet over several files", "there are more than %d nodes, which is what piimg takes at most", maxNodes)
		return nil
	}
	ips, macs := c.ips(d.IP, len(names), many), c.macs(d, len(names), many)
	all := make([]node, len(names))
	for i, name := range names {
		n := proto
		n.hostname.v = name
		if ips != nil {
			n.ip.v = ips[i]
		}
		if macs != nil {
			n.mac = macs[i]
		}
		all[i] = n
	}
	for _, n := range all {
		if full := n.hostname.v + "." + s.domain.v; len(full) > 254 {
			c.fail(n.hostname.place, "", "the name and its domain have %d characters together; at most 253 are possible", len(full)-1)
			break
		}
	}
	return all
}

func (n node) config() Node {
	out := Node{Hostname: n.hostname.v, IP: n.ip.v, MAC: n.mac.v}
	n.settings.fill(&out)
	return out
}

// hostnames returns the names that a pattern stands for; nil if something is wrong
// with it.
func (c *checker) hostnames(v text) []string {
	if lower := strings.ToLower(v.V); lower != v.V {
		c.fail(at(v), "write "+lower, "hostname %q has capital letters", v.V)
		return nil
	}
	p, ok := c.pattern(v)
	if !ok {
		return nil
	}
	names := p.all()
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		one := v
		one.V = name
		if c.hostname(one) == "" {
			return nil
		}
		if seen[name] {
			c.fail(at(v), "put a letter or a hyphen between the numbers", "%q gives the hostname %s to two nodes", v.V, name)
			return nil
		}
		seen[name] = true
	}
	return names
}

// ips returns the addresses of an entry's n nodes; nil for DHCP, and if something
// is wrong with them. An address without brackets is that of the first node, from
// which the others count up. many says that the hostname is a pattern.
func (c *checker) ips(v text, n int, many bool) []netip.Addr {
	switch {
	case !v.Set() || v.V == "dhcp":
		return nil
	case isPattern(v.V):
		return c.listedIPs(v, n, many)
	}
	first := c.static(v)
	if !first.IsValid() {
		return nil
	}
	out := make([]netip.Addr, n)
	for i, a := 0, first; i < n; i, a = i+1, a.Next() {
		if !a.IsValid() {
			c.fail(at(v), "begin with a lower address", "there are not %d addresses from %s on", n, first)
			return nil
		}
		out[i] = a
	}
	return out
}

func (c *checker) listedIPs(v text, n int, many bool) []netip.Addr {
	p, ok := c.pattern(v)
	if !ok {
		return nil
	}
	names := p.all()
	switch {
	case !many:
		c.fail(at(v), "write the hostname as a range, too, such as worker-[001-100], or one address", "the address %q is a range, and the hostname is none", v.V)
		return nil
	case len(names) != n:
		c.fail(at(v), "make them equally many, or give the first address alone: the others count up from it",
			"%q are %d addresses, and there are %d hostnames", v.V, len(names), n)
		return nil
	}
	out := make([]netip.Addr, n)
	for i, name := range names {
		one := v
		one.V = name
		if out[i], ok = c.ipv4(one, "address"); !ok {
			return nil
		}
	}
	return out
}

// macs returns the hardware addresses of an entry's n nodes, nil if it has none:
// mac is that of one node, macs lists those of a range in its order.
func (c *checker) macs(d nodeDoc, n int, many bool) []opt[net.HardwareAddr] {
	switch {
	case d.MAC.Given() && many:
		c.fail(at(d.MAC), "list the addresses of the range's nodes in macs", "a MAC address is that of one node, and the hostname stands for several")
	case d.MACs.Given() && !many:
		c.fail(at(d.MACs), "write mac: and the address", "macs are those of a range, and the hostname is none")
	case d.MAC.Given():
		return []opt[net.HardwareAddr]{checked(d.MAC, c.mac)}
	case !d.MACs.Set():
	case len(d.MACs.V) != n:
		c.fail(at(d.MACs), "list one for each, in the order of the range", "there are %d MAC addresses for %d nodes", len(d.MACs.V), n)
	default:
		all := make([]opt[net.HardwareAddr], n)
		for i, v := range d.MACs.V {
			all[i] = checked(v, c.mac)
		}
		return all
	}
	return nil
}

// shown is what messages call the node's value of a kind, such as its address.
func (n node) shown(what string) string {
	if n.many {
		return n.hostname.v + "'s " + what
	}
	return what
}

// unique refuses what only one node can have. Hostnames are in lower case, so
// that the image files of two nodes differ on every file system.
func (c *checker) unique(all []node) {
	names, ips, macs := taken[string]{}, taken[netip.Addr]{}, taken[string]{}
	for _, n := range all {
		names.once(c, n.hostname.v, n.hostname.place, "hostname", n.hostname.v)
		ips.once(c, n.ip.v, n.ip.place, "address", n.ip.v)
		macs.once(c, string(n.mac.v), n.mac.place, "MAC address", n.mac.v)
	}
	var router *node
	for i, n := range all {
		if n.settings.role.v != Router {
			continue
		}
		switch {
		case router == nil:
			router = &all[i]
		case router.path == n.path:
			c.fail(n.of(n.settings.role.place), "give it one hostname, or another role", "there can be one router, and this is a range of nodes")
		default:
			c.fail(n.of(n.settings.role.place), "give one of them another role", "there can be one router, and %s in line %d is it already", router.path, router.span.Line)
		}
	}
}

// taken says which place of the file has a value that only one node can have.
type taken[K comparable] map[K]place

// once refuses a value that an earlier node has. Of two ranges that overlap, the
// first value is told.
func (t taken[K]) once(c *checker, key K, p place, what string, shown any) {
	var none K
	if key == none {
		return
	}
	earlier, dup := t[key]
	if !dup {
		t[key] = p
		return
	}
	overlap := [3]string{p.path, earlier.path, what}
	if !c.told[overlap] {
		c.told[overlap] = true
		c.fail(p, "give one of them another", "the %s %v is taken by %s in line %d", what, shown, parent(earlier.path), earlier.span.Line)
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

// parent is the path of the mapping that holds a key.
func parent(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '.' {
			return path[:i]
		}
	}
	return path
}
