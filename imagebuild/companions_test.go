package imagebuild

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/secrets"
)

func village() *nodes.Config {
	node := func(name string, role nodes.Role, ip, domain string) nodes.Node {
		n := nodes.Node{Hostname: name, Role: role, Domain: domain, User: nodes.User{Name: "pi"}}
		if ip != "" {
			n.IP = netip.MustParseAddr(ip)
		}
		return n
	}
	return &nodes.Config{
		Cluster: nodes.Cluster{Name: "villagers"},
		Nodes: []nodes.Node{
			node("tom-nook", nodes.Router, "10.0.0.1", ""),
			node("isabelle", nodes.ControlPlane, "10.0.0.50", "island.example"),
			node("blathers", nodes.Worker, "", ""),
		},
	}
}

// The files for the operator are what they are for: ssh finds a node's address and
// its key by its name, and reads every line of known_hosts.
func TestCompanions(t *testing.T) {
	c, s, dir := village(), secrets.Placeholder("villagers"), t.TempDir()
	for _, f := range companions(c) {
		if _, err := f.write(filepath.Join(dir, f.name), c, s); err != nil {
			t.Fatal(err)
		}
		content := read(t, filepath.Join(dir, f.name))
		if err := f.check(content); err != nil {
			t.Errorf("%s: its own content is refused: %v", f.name, err)
		}
		if f.check([]byte("mine\n")) == nil {
			t.Errorf("%s: another's content is taken for piimg's", f.name)
		}
		if info, err := os.Stat(filepath.Join(dir, f.name)); err != nil || info.Mode().Perm() != f.mode {
			t.Errorf("%s: %v, %v", f.name, info, err)
		}
	}
	run(t, "ssh-keygen", "-l", "-f", filepath.Join(dir, "known_hosts"))
	for _, want := range []struct{ name, hostname, alias string }{
		{"isabelle", "10.0.0.50", "isabelle"},
		{"10.0.0.50", "10.0.0.50", "isabelle"},
		{"isabelle.island.example", "10.0.0.50", "isabelle"},
		{"blathers", "blathers.local", "blathers"},
	} {
		got := run(t, "ssh", "-G", "-F", filepath.Join(dir, "ssh_config"), want.name)
		for _, line := range []string{"hostname " + want.hostname, "hostkeyalias " + want.alias, "user pi", "userknownhostsfile known_hosts", "stricthostkeychecking true"} {
			if !strings.Contains(got, "\n"+line+"\n") {
				t.Errorf("ssh -G %s has no line %q:\n%s", want.name, line, got)
			}
		}
		if found := run(t, "ssh-keygen", "-F", want.alias, "-f", filepath.Join(dir, "known_hosts")); !strings.Contains(found, "ssh-ed25519") {
			t.Errorf("known_hosts has no key of %s: %s", want.alias, found)
		}
	}
	golden := map[string]string{
		"hosts": "10.0.0.1\ttom-nook\n10.0.0.50\tisabelle.island.example isabelle\n# blathers gets its address by DHCP\n",
		"inventory.ini": `tom-nook ansible_host=10.0.0.1 ansible_user=pi
isabelle ansible_host=10.0.0.50 ansible_user=pi
blathers ansible_host=blathers.local ansible_user=pi

[prod]
isabelle
blathers

[master]
isabelle

[workers]
blathers

[router]
tom-nook

[all:vars]
ansible_ssh_common_args='-o UserKnownHostsFile="{{ inventory_dir }}/known_hosts"'
`,
	}
	for name, want := range golden {
		_, got, _ := strings.Cut(string(read(t, filepath.Join(dir, name))), "\n")
		if got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
		}
	}
}
