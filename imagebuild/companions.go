package imagebuild

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/piimg/piimg/imagebuild/kube"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/sink"
)

// companion is a file for the operator that stands beside the images.
type companion struct {
	name string
	mode fs.FileMode
	// head is how every such file of piimg's begins: a file that begins otherwise
	// is somebody else's, and not replaced.
	head string
	body func(*nodes.Config, *secrets.Secrets) ([]byte, error)
}

const knownHostsName = "known_hosts"

// companions returns the files beside the images, in the order of their names.
// They name all nodes, whichever are built, and depend on nothing but nodes.yaml
// and the secrets.
func companions(c *nodes.Config) []companion {
	all := []companion{
		{"hosts", 0o644, "# The addresses of the nodes, for /etc/hosts; made by piimg.\n", hosts},
		{"inventory.ini", 0o644, "# The nodes for Ansible, made by piimg.\n", inventory},
	}
	if c.Kubernetes != nil {
		all = append(all, companion{"kubeconfig", 0o600, "# Administrator of the cluster " + c.Cluster.Name + ", made by piimg.\n", kubeconfig})
	}
	return append(all,
		companion{knownHostsName, 0o644, "# The host keys of the nodes, made by piimg.\n", knownHosts},
		companion{"ssh_config", 0o644, "# The nodes for ssh, made by piimg.\n", sshConfig},
	)
}

// check returns an error unless piimg wrote the file.
func (c companion) check(content []byte) error {
	if !bytes.HasPrefix(content, []byte(c.head)) {
		return errors.New("it does not begin with " + strings.TrimSpace(c.head))
	}
	return nil
}

// write makes the file at path.
func (c companion) write(path string, config *nodes.Config, s *secrets.Secrets) (sink.Result, error) {
	body, err := c.body(config, s)
	if err != nil {
		return sink.Result{}, fmt.Errorf("failed to make %s: %w", c.name, err)
	}
	return publishFile(path, append([]byte(c.head), body...), c.mode)
}

// knownHosts returns the nodes' host keys in the form of ssh's known_hosts
// (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"), under every name that a node
// answers to: its host name, that name in its domain and in mDNS's, its address.
func knownHosts(c *nodes.Config, s *secrets.Secrets) ([]byte, error) {
	var b bytes.Buffer
	for _, n := range c.Nodes {
		keys, err := s.HostKeys(n.Hostname)
		if err != nil {
			return nil, fmt.Errorf("the host keys of %s: %w", n.Hostname, err)
		}
		names := append([]string{n.Hostname, n.Hostname + ".local"}, otherNames(n)...)
		for _, key := range keys.Public() {
			fmt.Fprintf(&b, "%s %s\n", strings.Join(names, ","), key)
		}
	}
	return b.Bytes(), nil
}

// otherNames returns what a node answers to but for its host name: that name in
// its domain, and its address.
func otherNames(n nodes.Node) (names []string) {
	if n.Domain != "" && n.Domain != "local" {
		names = append(names, n.Hostname+"."+n.Domain)
	}
	if n.IP.IsValid() {
		names = append(names, n.IP.String())
	}
	return names
}

// reach returns where a node answers from another computer of its network: its
// address, or else its name by mDNS, which Raspberry Pi OS has announced.
func reach(n nodes.Node) string {
	if n.IP.IsValid() {
		return n.IP.String()
	}
	return n.Hostname + ".local"
}

// hosts returns the nodes with fixed addresses in the form of hosts(5).
func hosts(c *nodes.Config, _ *secrets.Secrets) ([]byte, error) {
	var b bytes.Buffer
	for _, n := range c.Nodes {
		switch {
		case !n.IP.IsValid():
			fmt.Fprintf(&b, "# %s gets its address by DHCP\n", n.Hostname)
		case n.Domain != "":
			fmt.Fprintf(&b, "%s\t%s.%s %s\n", n.IP, n.Hostname, n.Domain, n.Hostname)
		default:
			fmt.Fprintf(&b, "%s\t%s\n", n.IP, n.Hostname)
		}
	}
	return b.Bytes(), nil
}

// sshConfig returns an ssh_config(5) by which every node is reached by its host
// name, and by no other key than the one that was put into its image. The path in
// it is relative, so that the file does not depend on where it is made.
func sshConfig(c *nodes.Config, _ *secrets.Secrets) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# In this folder: ssh -F ssh_config " + c.Nodes[0].Hostname + "\n")
	b.WriteString("# Elsewhere, give UserKnownHostsFile the full path of known_hosts.\n")
	for _, n := range c.Nodes {
		fmt.Fprintf(&b, "\nHost %s\n  HostName %s\n  HostKeyAlias %s\n  User %s\n",
			strings.Join(append([]string{n.Hostname}, otherNames(n)...), " "), reach(n), n.Hostname, n.User.Name)
	}
	b.WriteString("\nHost *\n  UserKnownHostsFile " + knownHostsName + "\n  StrictHostKeyChecking yes\n")
	return b.Bytes(), nil
}

// inventory returns an inventory for Ansible, in the groups that rak8s's playbooks
// have: prod is the cluster, master its control plane, and all but master workers.
func inventory(c *nodes.Config, _ *secrets.Secrets) ([]byte, error) {
	var b bytes.Buffer
	groups := map[nodes.Role][]string{}
	for _, n := range c.Nodes {
		groups[n.Role] = append(groups[n.Role], n.Hostname)
		fmt.Fprintf(&b, "%s ansible_host=%s ansible_user=%s\n", n.Hostname, reach(n), n.User.Name)
	}
	for _, g := range []struct {
		name  string
		roles []nodes.Role
	}{
		{"prod", []nodes.Role{nodes.ControlPlane, nodes.Worker}},
		{"master", []nodes.Role{nodes.ControlPlane}},
		{"workers", []nodes.Role{nodes.Worker}},
		{"router", []nodes.Role{nodes.Router}},
	} {
		fmt.Fprintf(&b, "\n[%s]\n", g.name)
		for _, role := range g.roles {
			for _, name := range groups[role] {
				fmt.Fprintln(&b, name)
			}
		}
	}
	b.WriteString("\n[all:vars]\nansible_ssh_common_args='-o UserKnownHostsFile=\"{{ inventory_dir }}/" + knownHostsName + "\"'\n")
	return b.Bytes(), nil
}

// kubeconfig returns an administrator's kubeconfig: whoever holds it owns the cluster.
func kubeconfig(c *nodes.Config, s *secrets.Secrets) ([]byte, error) { return kube.Kubeconfig(c, s) }
