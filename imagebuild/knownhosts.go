package imagebuild

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/secrets"
)

// knownHostsHead is the first line of a known_hosts that piimg wrote.
const knownHostsHead = "# The host keys of the nodes, made by piimg.\n"

// checkKnownHosts returns an error unless piimg wrote the file.
func checkKnownHosts(content []byte) error {
	if !bytes.HasPrefix(content, []byte(knownHostsHead)) {
		return errors.New("it does not begin with piimg's comment")
	}
	return nil
}

// knownHosts returns the nodes' host keys in the form of ssh's known_hosts
// (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"), under every name that a node
// answers to: its host name, that name in its domain and in mDNS's, its address.
func knownHosts(all []nodes.Node, s *secrets.Secrets) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(knownHostsHead)
	for _, n := range all {
		keys, err := s.HostKeys(n.Hostname)
		if err != nil {
			return nil, fmt.Errorf("failed to derive the host keys of %s: %w", n.Hostname, err)
		}
		names := []string{n.Hostname, n.Hostname + ".local"}
		if n.Domain != "" && n.Domain != "local" {
			names = append(names, n.Hostname+"."+n.Domain)
		}
		if n.IP.IsValid() {
			names = append(names, n.IP.String())
		}
		for _, key := range keys.Public() {
			fmt.Fprintf(&b, "%s %s\n", strings.Join(names, ","), key)
		}
	}
	return b.Bytes(), nil
}
