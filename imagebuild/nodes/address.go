package nodes

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
)

// macPattern is a MAC address of 48 bits, as Linux, Windows and Cisco write it.
const macPattern = `^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$|^[0-9A-Fa-f]{2}(-[0-9A-Fa-f]{2}){5}$|^[0-9A-Fa-f]{4}(\.[0-9A-Fa-f]{4}){2}$`

var macRE = regexp.MustCompile(macPattern)

// Ranges that no host can have (RFC 6890) and that netip has no test for.
var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	reserved    = netip.MustParsePrefix("240.0.0.0/4")
)

// unusable says why an IPv4 address cannot be a host's; "" if it can.
func unusable(a netip.Addr) string {
	switch {
	case a.IsLoopback():
		return "is a loopback address"
	case a.IsMulticast():
		return "is a multicast address"
	case a.IsLinkLocalUnicast():
		return "is a link-local address"
	case thisNetwork.Contains(a):
		return "belongs to 0.0.0.0/8, which no host can use"
	case reserved.Contains(a):
		return "belongs to 240.0.0.0/4, which no host can use"
	}
	return ""
}

// ipv4 checks the address of a host.
func (c *checker) ipv4(v text, what string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(v.V)
	switch {
	case c.noPattern(v, what):
	case err == nil && (a.Is6() || a.Is4In6()):
		c.fail(at(v), "use an IPv4 address", "%s %q is an IPv6 address, which piimg does not set yet", what, v.V)
	case err == nil && unusable(a) != "":
		c.fail(at(v), "", "%s %s %s", what, a, unusable(a))
	case err == nil:
		return a, true
	default:
		hint := "write four numbers from 0 to 255, such as 10.0.0.50"
		if p, err := netip.ParsePrefix(v.V); err == nil && p.Addr().Is4() {
			hint = "write " + p.Addr().String() + "; the length comes from cluster.network"
		} else if fixed := withoutZeros(v.V); fixed != "" {
			hint = "write " + fixed + ", without leading zeros"
		}
		c.fail(at(v), hint, "%s %q is not an IPv4 address", what, v.V)
	}
	return netip.Addr{}, false
}

// withoutZeros returns the address that s is with leading zeros, or "".
func withoutZeros(s string) string {
	parts := strings.Split(s, ".")
	for i, p := range parts {
		if t := strings.TrimLeft(p, "0"); t != "" || p == "" {
			parts[i] = t
		} else {
			parts[i] = "0"
		}
	}
	if a, err := netip.ParseAddr(strings.Join(parts, ".")); err == nil && a.Is4() {
		return a.String()
	}
	return ""
}

func (c *checker) network(v text) netip.Prefix {
	p, err := netip.ParsePrefix(v.V)
	switch {
	case err != nil:
		hint := "write an address and a length, such as 10.0.0.0/24"
		if a, err := netip.ParseAddr(v.V); err == nil && a.Is4() {
			hint = "add the length: " + netip.PrefixFrom(a, 24).Masked().String()
		}
		c.fail(at(v), hint, "%q is not an IPv4 network", v.V)
	case p.Addr().Is6():
		c.fail(at(v), "use an IPv4 network", "%q is an IPv6 network, which piimg does not set yet", v.V)
	case p != p.Masked():
		c.fail(at(v), fmt.Sprintf("write %s", p.Masked()), "%q is an address within a network, not the network", v.V)
	case p.Bits() == 32:
		c.fail(at(v), "use a shorter length, such as /24", "the network %s is a single address", p)
	case p.Bits() < 8:
		c.fail(at(v), "use a longer length, such as /24", "the network %s is larger than any that hosts can share", p)
	case unusable(p.Addr()) != "":
		c.fail(at(v), "use a private network, such as 10.0.0.0/24", "the network %s %s", p, strings.Replace(unusable(p.Addr()), "address", "network", 1))
	default:
		return p
	}
	return netip.Prefix{}
}

// last is the last address of an IPv4 network: its broadcast address.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// hosts returns the first and the last address that a host can have: all of
// them in a /31 (RFC 3021).
func hosts(p netip.Prefix) (netip.Addr, netip.Addr) {
	if p.Bits() >= 31 {
		return p.Addr(), last(p)
	}
	return p.Addr().Next(), last(p).Prev()
}

// inside checks that an address is a host's within the cluster's network.
func (c *checker) inside(p place, what string, a netip.Addr, network netip.Prefix) bool {
	first, end := hosts(network)
	hint := fmt.Sprintf("use an address from %s to %s", first, end)
	switch {
	case !network.Contains(a):
		c.fail(p, hint, "%s %s is not in cluster.network %s", what, a, network)
	case a.Less(first):
		c.fail(p, hint, "%s %s is the address of the network itself", what, a)
	case end.Less(a):
		c.fail(p, hint, "%s %s is the broadcast address of %s", what, a, network)
	default:
		return true
	}
	return false
}

// static checks a node's ip; the zero Addr is DHCP.
func (c *checker) static(v text) netip.Addr {
	if v.V == "dhcp" {
		return netip.Addr{}
	}
	if strings.EqualFold(v.V, "dhcp") || strings.EqualFold(v.V, "auto") {
		c.fail(at(v), "write dhcp", "%q is not an address", v.V)
		return netip.Addr{}
	}
	a, _ := c.ipv4(v, "address")
	return a
}

// mac checks a hardware address of 48 bits (EUI-48).
func (c *checker) mac(v text) net.HardwareAddr {
	m, err := net.ParseMAC(v.V)
	switch {
	case err != nil || !macRE.MatchString(v.V):
		c.fail(at(v), "write six bytes in hex, such as b8:27:eb:00:00:01", "%q is not a MAC address", v.V)
	case m[0]&1 != 0:
		c.fail(at(v), "look at ip link on the node, or at the label", "%q is a multicast address, which no interface has", v.V)
	case [6]byte(m) == [6]byte{}:
		c.fail(at(v), "look at ip link on the node, or at the label", "%q is no interface's address", v.V)
	default:
		return m
	}
	return nil
}

// nameServers checks cluster.dns.
func (c *checker) nameServers(v value[list]) []netip.Addr {
	all := each(c, v, func(t text) (netip.Addr, bool) { return c.ipv4(t, "name server") })
	if len(all) > 3 {
		c.notice(at(v), "the nodes' C library asks the first 3 of %d name servers only", len(all))
	}
	return all
}

// timeServers checks ntp.
func (c *checker) timeServers(v value[list]) []string {
	return each(c, v, func(t text) (string, bool) {
		if _, err := netip.ParseAddr(t.V); err == nil || digitsOnly(t.V) {
			a, ok := c.ipv4(t, "time server")
			return a.String(), ok
		}
		if !dotted(t.V) {
			hint := "write one host name or IPv4 address in each entry"
			if l := strings.ToLower(t.V); dotted(l) {
				hint = "write " + l
			}
			c.fail(at(t), hint, "%q is not a host name", t.V)
			return "", false
		}
		return t.V, true
	})
}

// digitsOnly says whether s looks like a numeric address.
func digitsOnly(s string) bool { return s != "" && strings.Trim(s, "0123456789./") == "" }
