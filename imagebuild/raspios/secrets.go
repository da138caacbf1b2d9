package raspios

// Secrets is what plans need of the cluster's secrets.
type Secrets interface {
	// Salt returns 16 characters of the crypt alphabet.
	Salt(labels ...string) string
	// UUID returns a UUID in its usual form.
	UUID(labels ...string) string
	// HostKeys returns the node's SSH host keys.
	HostKeys(hostname string) ([]HostKey, error)
}

// HostKey is one SSH host key.
type HostKey struct {
	Name    string // of the private file: "ssh_host_ed25519_key"
	Private []byte
	Public  string
}

type hostKeyFile struct {
	name    string
	private []byte
	public  string
}

func hostKeyFiles(keys []HostKey) []hostKeyFile {
	var out []hostKeyFile
	for _, k := range keys {
		out = append(out, hostKeyFile{k.Name, k.Private, k.Public})
	}
	return out
}
