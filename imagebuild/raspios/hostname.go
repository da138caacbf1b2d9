package raspios

import (
	"strings"
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
	var others []string
	for _, n := range b.Config.Nodes {
		if n.Hostname != b.node.Hostname && n.IP.IsValid() {
			others = append(others, n.IP.String()+"\t"+names(n.Hostname, n.Domain))
		}
	}
	return withBlock(strings.Join(out, "\n")+"\n", others)
}
