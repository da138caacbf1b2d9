package raspios

import (
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes"
)

// planHostname sets the name of the node, and lets it find the other nodes of the
// cluster that have fixed addresses, without a name server.
func (b *builder) planHostname() {
	b.edit("etc/hostname", b.node.Hostname+"\n", "hostname")
	b.edit("etc/hosts", b.hosts(b.text("etc/hosts")), "hosts")
}

// names returns the names of a node, the full one first.
func names(hostname, domain string) string {
	if domain == "" {
		return hostname
	}
	return hostname + "." + domain + " " + hostname
}

func (b *builder) hosts(text string) string {
	own := "127.0.1.1\t" + strings.ReplaceAll(names(b.node.Hostname, b.node.Domain), " ", "\t")
	if b.node.Domain == "" {
		own = "127.0.1.1\t\t" + b.node.Hostname
	}
	var out []string
	done := false
	for _, line := range lines(withBlock(text, nil)) {
		if w := strings.Fields(line); len(w) > 0 && w[0] == "127.0.1.1" {
			if done {
				continue
			}
			line, done = own, true
		}
		out = append(out, line)
	}
	if !done {
		out = append(out, own)
	}
	return withText(strings.Join(out, "\n")+"\n", b.Shared.hosts.without(b.node.Hostname))
}

// hostsBlock has, for the hosts files of all nodes, a line for each node with a
// fixed address.
type hostsBlock struct {
	text string
	line map[string][2]int // where the line of a node is in it, with its end
}

func newHostsBlock(c *nodes.Config) hostsBlock {
	var text strings.Builder
	h := hostsBlock{line: map[string][2]int{}}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if n.IP.IsValid() {
			from := text.Len()
			text.WriteString(n.IP.String() + "\t" + names(n.Hostname, n.Domain) + "\n")
			h.line[n.Hostname] = [2]int{from, text.Len()}
		}
	}
	h.text = text.String()
	return h
}

// without returns the lines of all nodes but one.
func (h hostsBlock) without(hostname string) string {
	at := h.line[hostname] // nothing of a node without a line
	return h.text[:at[0]] + h.text[at[1]:]
}
