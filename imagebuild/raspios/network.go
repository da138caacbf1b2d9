package raspios

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

const (
	whyNetwork  = "network"
	connections = "etc/NetworkManager/system-connections"
	dhcpcdConf  = "etc/dhcpcd.conf"
)

const (
	// podInterfaces are those of pods, by the patterns that both dhcpcd and
	// NetworkManager know: the network must not be configured on them.
	podInterfaces = "veth* cni* flannel* cali* vxlan.calico tunl* cilium* lxc* kube-*"
	podsUnmanaged = "etc/NetworkManager/conf.d/90-piimg-kubernetes.conf"
)

// kubernetes reports whether the node takes part in a cluster.
func (b *builder) kubernetes() bool { return b.Config.Kubernetes != nil && b.node.InCluster() }

// defaultInterface is the wired interface of every Raspberry Pi.
const defaultInterface = "eth0"

// address is a fixed IPv4 or IPv6 address with what belongs to it.
type address struct {
	prefix  netip.Prefix // the address with the network's length
	gateway netip.Addr   // zero if there is none
	dns     []netip.Addr
	search  string // "" if there is none
}

// static returns the node's fixed address; ok is false for DHCP.
func (b *builder) static() (a address, ok bool) {
	if !b.node.IP.IsValid() {
		return address{}, false
	}
	c := b.Config.Cluster
	bits := b.node.IP.BitLen()
	if c.Network.IsValid() {
		bits = c.Network.Bits()
	} else {
		b.fail("ip: %s needs cluster.network, which says how long the network's part of it is", b.node.IP)
	}
	return address{
		prefix: netip.PrefixFrom(b.node.IP, bits), gateway: c.Gateway, dns: c.DNS, search: b.node.Domain,
	}, true
}

func (b *builder) iface() string {
	if b.node.Interface == "" {
		return defaultInterface
	}
	return b.node.Interface
}

// wireless reports whether the node's own interface is the wireless one, so that
// a fixed address belongs to the Wi-Fi connection.
func (b *builder) wireless() bool { return strings.HasPrefix(b.iface(), "wlan") }

// planNetwork gives the node its fixed address by what configures the network of
// the image. DHCP is what every release does by itself.
func (b *builder) planNetwork() {
	a, static := b.static()
	switch b.facts.Network.By {
	case Dhcpcd:
		var lines []string
		if b.kubernetes() {
			lines = append(lines, "denyinterfaces "+podInterfaces) // before "interface", to which what follows belongs
		}
		if static {
			lines = append(lines, dhcpcdLines(b.iface(), a)...)
		}
		if text := b.text(dhcpcdConf); text != "" || len(lines) > 0 {
			b.edit(dhcpcdConf, withBlock(text, lines), whyNetwork)
		}
	case NetworkManager:
		b.dropConnections()
		b.remove(podsUnmanaged, whyNetwork)
		if b.kubernetes() {
			b.write(podsUnmanaged, "# Made by piimg.\n[keyfile]\nunmanaged-devices+=interface-name:"+
				strings.ReplaceAll(podInterfaces, " ", ";interface-name:")+"\n", 0o644, whyNetwork)
		}
		if static && !b.wireless() {
			b.connection("piimg-"+b.iface(), b.ethernetKeyfile(a), false)
		}
	default:
		if static {
			b.fail("ip: the image enables neither dhcpcd nor NetworkManager, so there is no way to set an address; use an image as published, or ip: dhcp with files of your own")
		}
	}
	if static && b.wireless() && b.node.Wifi == nil {
		b.fail("interface: %s is wireless, but there is no wifi: to connect it; add wifi, or take %s", b.iface(), defaultInterface)
	}
}

// dhcpcdLines returns a block for the end of dhcpcd.conf: what follows an
// "interface" line belongs to it.
func dhcpcdLines(iface string, a address) []string {
	key := "ip_address"
	if a.prefix.Addr().Is6() {
		key = "ip6_address"
	}
	out := []string{"interface " + iface, fmt.Sprintf("static %s=%s", key, a.prefix)}
	if a.gateway.IsValid() {
		out = append(out, "static routers="+a.gateway.String())
	}
	if len(a.dns) > 0 {
		out = append(out, "static domain_name_servers="+joinAddrs(a.dns, " "))
	}
	if a.search != "" {
		out = append(out, "static domain_search="+a.search)
	}
	return out
}

// dropConnections removes the connections of an earlier build, which may have had
// another interface.
func (b *builder) dropConnections() {
	names, _ := b.d.readDir(plan.Root, connections)
	for _, n := range names {
		if strings.HasPrefix(n, "piimg-") {
			b.remove(connections+"/"+n, whyNetwork)
		}
	}
}

// connection writes a NetworkManager keyfile, which must be readable by root only.
func (b *builder) connection(id, content string, secret bool) {
	b.try(b.d.put(plan.Edit{
		Partition: plan.Root, Path: connections + "/" + id + ".nmconnection", Op: plan.Write, Mode: 0o600,
		Content: []byte(content), Secret: secret, Why: whyNetwork,
	}))
}

func (b *builder) ethernetKeyfile(a address) string {
	return keyfile("piimg-"+b.iface(), b.uuid("ethernet"), "ethernet", b.iface(),
		"[ethernet]\n", ipSections(&a))
}

func (b *builder) uuid(what string) string {
	return b.Secrets.UUID("networkmanager", b.node.Hostname, what)
}

// keyfile puts the parts of a NetworkManager connection together.
func keyfile(id, uuid, kind, iface string, sections ...string) string {
	return fmt.Sprintf("[connection]\nid=%s\nuuid=%s\ntype=%s\ninterface-name=%s\n\n", id, uuid, kind, iface) +
		strings.Join(sections, "\n")
}

// ipSections returns the sections ipv4 and ipv6 of a keyfile; nil is DHCP.
func ipSections(a *address) string {
	const auto = "method=auto\n"
	if a == nil {
		return "[ipv4]\n" + auto + "\n[ipv6]\n" + auto
	}
	is6 := a.prefix.Addr().Is6()
	var s strings.Builder
	fmt.Fprintf(&s, "method=manual\naddress1=%s", a.prefix)
	if a.gateway.IsValid() && a.gateway.Is6() == is6 {
		fmt.Fprintf(&s, ",%s", a.gateway)
	}
	s.WriteByte('\n')
	var dns4, dns6 []netip.Addr
	for _, d := range a.dns {
		if d.Is6() {
			dns6 = append(dns6, d)
		} else {
			dns4 = append(dns4, d)
		}
	}
	manual, other := s.String(), auto
	v4, v6 := manual, other
	if is6 {
		v4, v6 = other, manual
	}
	if len(dns4) > 0 {
		v4 += "dns=" + joinAddrs(dns4, ";") + ";\n"
	}
	if len(dns6) > 0 {
		v6 += "dns=" + joinAddrs(dns6, ";") + ";\n"
	}
	if a.search != "" {
		search := "dns-search=" + a.search + ";\n"
		if is6 {
			v6 += search
		} else {
			v4 += search
		}
	}
	return "[ipv4]\n" + v4 + "\n[ipv6]\n" + v6
}

func joinAddrs(list []netip.Addr, sep string) string {
	var out []string
	for _, a := range list {
		out = append(out, a.String())
	}
	return strings.Join(out, sep)
}
