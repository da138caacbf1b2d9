package nodes

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

// apiPort is where the API server listens.
const apiPort = 6443

// portsInUse are ports of a control plane that other parts of it listen on.
const portsInUse = ` 22 2379 2380 2381 10248 10249 10250 10256 10257 10259 `

// What may hold the endpoint's address.
const (
	kubeVIP  = "kube-vip"
	external = "external"
)

// endpoint works out where the API server is reached. The block stands at block.
func (c *checker) endpoint(v, lb text, block place, all []node, k cluster) Endpoint {
	var planes []node
	for _, n := range all {
		if n.settings.role.v == ControlPlane {
			planes = append(planes, n)
		}
	}
	by := ""
	if lb.Set() {
		by = c.choice(lb, "loadBalancer", kubeVIP, external)
	}
	if !v.Given() {
		return c.ownEndpoint(lb, block, planes, k, all)
	}
	e, ok := c.hostPort(v)
	if !ok {
		return Endpoint{}
	}
	switch a, err := netip.ParseAddr(e.Host); {
	case err == nil:
		e.Addr = a
		e.VIP = c.endpointAddress(v, lb, by, a, planes, all, k)
	default:
		e.Addr = c.endpointName(v, lb, by, e.Host, planes, all)
	}
	if !lb.Set() && !e.VIP && !ownedBy(planes, e) {
		c.notice(at(v), "the endpoint %s is no control plane's: it must lead to port %d of the control planes by the time the nodes boot", e.Host, apiPort)
	}
	if e.Port != apiPort && (e.VIP || ownedBy(planes, e)) && containsWord(portsInUse, strconv.Itoa(int(e.Port))) {
		c.fail(at(v), "leave the port out, which is then 6443", "port %d is in use on a control plane", e.Port)
	}
	return e
}

// ownedBy reports whether the endpoint is a control plane itself.
func ownedBy(planes []node, e Endpoint) bool {
	for _, n := range planes {
		if n.called(e.Host) || e.Addr.IsValid() && n.ip.v == e.Addr {
			return true
		}
	}
	return false
}

// called reports whether a name is the node's, with or without its domain.
func (n node) called(name string) bool {
	return n.hostname.v != "" && (name == n.hostname.v || n.settings.domain.v != "" && name == n.hostname.v+"."+n.settings.domain.v)
}

// ownEndpoint is the endpoint that nobody gave: the only control plane.
func (c *checker) ownEndpoint(lb text, block place, planes []node, k cluster, all []node) Endpoint {
	if len(planes) > 1 {
		c.fail(block, "add endpoint: with an address that no node has"+freeAddress(k, all)+", which kube-vip then holds; or with the address or name of a load balancer",
			"%s need an endpoint that stays when one of them fails", names(planes))
		return Endpoint{}
	}
	if lb.Set() {
		c.fail(at(lb), "add endpoint: with the address"+freeAddress(k, all)+", or leave loadBalancer out", "there is no endpoint for a load balancer to hold")
	}
	if len(planes) == 0 {
		return Endpoint{}
	}
	return Endpoint{Host: planes[0].hostname.v, Addr: planes[0].ip.v, Port: apiPort}
}

// names lists nodes by their hostnames.
func names(all []node) string {
	var s []string
	for _, n := range all {
		s = append(s, n.hostname.v)
	}
	switch {
	case len(s) < 2:
		return strings.Join(s, "")
	case len(s) > 8:
		return fmt.Sprintf("%s, %s and %d others", s[0], s[1], len(s)-2)
	}
	return strings.Join(s[:len(s)-1], ", ") + " and " + s[len(s)-1]
}

// freeAddress proposes the highest address of the network that nothing has.
func freeAddress(k cluster, all []node) string {
	if !k.network.v.IsValid() {
		return ""
	}
	first, a := hosts(k.network.v)
	taken := map[netip.Addr]bool{k.gateway.v: true}
	for _, d := range k.dns.v {
		taken[d] = true
	}
	for _, n := range all {
		taken[n.ip.v] = true
	}
	for ; first.Compare(a) <= 0; a = a.Prev() {
		if !taken[a] {
			return fmt.Sprintf(" (%s is free)", a)
		}
	}
	return ""
}

// hostPort splits host[:port].
func (c *checker) hostPort(v text) (Endpoint, bool) {
	const hint = "write the name of a control plane, an IPv4 address or a DNS name, with :port unless it is 6443"
	if c.noPattern(v, "endpoint") {
		return Endpoint{}, false
	}
	host, port, hasPort := strings.Cut(v.V, ":")
	n := uint64(apiPort)
	if hasPort {
		var err error
		if n, err = strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			switch {
			case strings.Contains(v.V, "://"):
				c.fail(at(v), "leave "+host+":// out", "%q is a URL", v.V)
			case strings.Count(v.V, ":") > 1:
				c.fail(at(v), "use an IPv4 address", "%q is not an endpoint; piimg does not set IPv6 addresses yet", v.V)
			default:
				c.fail(at(v), "write a port from 1 to 65535", "%q is not a port", port)
			}
			return Endpoint{}, false
		}
	}
	if _, err := netip.ParseAddr(host); err == nil || digitsOnly(host) {
		inner := v
		inner.V = host
		if _, ok := c.ipv4(inner, "endpoint"); !ok {
			return Endpoint{}, false
		}
	} else if !dotted(host) {
		if l := strings.ToLower(host); dotted(l) {
			c.fail(at(v), "write "+l, "%q has capital letters", host)
		} else {
			c.fail(at(v), hint, "%q is neither a name nor an address", host)
		}
		return Endpoint{}, false
	}
	return Endpoint{Host: host, Port: uint16(n)}, true
}

// endpointAddress checks an endpoint that is an address, and says whether
// kube-vip holds it.
func (c *checker) endpointAddress(v, lb text, by string, a netip.Addr, planes, all []node, k cluster) bool {
	for _, n := range all {
		if n.ip.v == a {
			c.endpointNode(v, lb, by, n, planes)
			return false
		}
	}
	if k.network.given && !k.network.v.IsValid() {
		return by == kubeVIP // what is wrong with the network was reported
	}
	inNetwork := k.network.v.IsValid() && k.network.v.Contains(a)
	if inNetwork && !c.inside(at(v), "endpoint", a, k.network.v) {
		return false
	}
	other := ""
	if a == k.gateway.v {
		other = "gateway"
	}
	for _, d := range k.dns.v {
		if a == d {
			other = "name server"
		}
	}
	switch {
	case by == kubeVIP && !inNetwork:
		c.fail(at(v), "use a free address of cluster.network, or set loadBalancer to external",
			"kube-vip announces the endpoint %s in the nodes' own network, and it is not in cluster.network", a)
	case by == kubeVIP && other != "":
		c.fail(at(v), "choose an address that nobody has, or set loadBalancer to external", "the endpoint %s is the %s's address, which kube-vip cannot hold", a, other)
	case by == "":
		return inNetwork && other == ""
	}
	return by == kubeVIP
}

// endpointName checks an endpoint that is a name, and returns the address that
// is known of it.
func (c *checker) endpointName(v, lb text, by, host string, planes, all []node) netip.Addr {
	var hostnames []string
	for _, n := range all {
		if n.called(host) {
			c.endpointNode(v, lb, by, n, planes)
			return n.ip.v
		}
		hostnames = append(hostnames, n.hostname.v)
	}
	switch {
	case !strings.Contains(host, "."):
		hint := "write the hostname of a control plane, an address, or a DNS name with its domain"
		if near := strictyaml.Nearest(host, hostnames); near != "" {
			hint = "did you mean " + near + "?"
		}
		c.fail(at(v), hint, "there is no node %q", host)
	case by == kubeVIP:
		c.fail(at(v), "write the address itself, and the name in certSANs", "kube-vip needs an address, and %q is a name", host)
	}
	return netip.Addr{}
}

// endpointNode checks an endpoint that is a node.
func (c *checker) endpointNode(v, lb text, by string, n node, planes []node) {
	switch role := n.settings.role.v; {
	case by == kubeVIP:
		c.fail(at(lb), "give the endpoint an address that no node has, or leave loadBalancer out", "kube-vip cannot hold the address that %s has anyway", n.hostname.v)
	case role == ControlPlane && len(planes) > 1:
		c.fail(at(v), "use an address that no node has, which kube-vip then holds, or that of a load balancer",
			"%s is one of several control planes: without it the others could not be reached", n.hostname.v)
	case n.many && v.V != n.hostname.v:
		c.fail(at(v), "choose an address that no node has, or two ranges around it", "%s is in the range of %s, and is %s's", v.V, n.path, n.hostname.v)
	case role == Worker || role == Plain:
		c.fail(at(v), "name a control plane, or an address that no node has", "%s is no control plane", n.hostname.v)
	}
}
