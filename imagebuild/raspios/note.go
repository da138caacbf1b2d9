package raspios

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
)

// noteName is the file on the FAT partition that says which node a card is, so
// that it can be read on any computer.
const noteName = "piimg-node.txt"

// planNote writes the note: no secrets, and nothing that changes from one build
// to the next without the node changing.
func (b *builder) planNote() {
	b.try(b.d.put(plan.Edit{
		Partition: plan.Boot, Path: noteName, Op: plan.Write, Content: []byte(b.note()), Why: "note",
	}))
}

func (b *builder) note() string {
	n, c := b.node, b.Config
	var s strings.Builder
	role := n.Role
	if role == "" {
		role = nodes.Plain
	}
	fmt.Fprintf(&s, "This card is the node %q", n.Hostname)
	if c.Cluster.Name != "" {
		fmt.Fprintf(&s, " of the cluster %q", c.Cluster.Name)
	}
	s.WriteString(".\nIt was made by piimg. Changing this file changes nothing.\n\n")
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&s, "%-12s %s\n", name+":", value)
		}
	}
	field("hostname", n.Hostname)
	field("domain", n.Domain)
	field("role", string(role))
	field("cluster", c.Cluster.Name)
	addr := "by DHCP"
	if n.IP.IsValid() {
		addr = n.IP.String()
		if c.Cluster.Network.IsValid() {
			addr = fmt.Sprintf("%s/%d", addr, c.Cluster.Network.Bits())
		}
	}
	field("address", addr+" on "+b.iface())
	field("mac", n.MAC.String())
	field("user", b.user.name)
	if n.SSH {
		field("ssh", "on")
	} else {
		field("ssh", "off")
	}
	s.WriteByte('\n')
	field("base image", b.Base.Name)
	field("sha256", b.Base.SHA256)
	release := string(b.facts.Release)
	if b.facts.Architecture != "" {
		release += " " + b.facts.Architecture
	}
	if b.facts.Date != "" {
		release += " of " + b.facts.Date
	}
	field("release", release)
	field("nodes.yaml", c.SHA256)
	field("time", b.Time.UTC().Format(time.RFC3339))
	field("piimg", b.Version)
	return s.String()
}

// ReadNode reads which node an image's boot partition says that piimg made it for;
// nil, if it says none.
func ReadNode(boot fs.FS) (*NodeFacts, error) {
	r := &reader{d: newDraft(boot, nil)}
	n := r.node()
	if err := errors.Join(r.errs...); err != nil {
		return nil, fmt.Errorf("failed to read the image: %w", err)
	}
	return n, nil
}

func (r *reader) node() *NodeFacts {
	text := r.boot(noteName)
	if text == "" {
		return nil
	}
	fields := map[string]string{}
	for _, line := range lines(text) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			fields[k] = strings.TrimSpace(v)
		}
	}
	if fields["hostname"] == "" {
		return nil
	}
	return &NodeFacts{
		Hostname: fields["hostname"], Role: fields["role"], Address: fields["address"], Cluster: fields["cluster"],
		Base: fields["base image"], SHA256: fields["sha256"], Version: fields["piimg"],
	}
}
