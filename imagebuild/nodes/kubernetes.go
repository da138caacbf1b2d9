package nodes

import (
	"fmt"
	"net/netip"
)

// Kubernetes is what the kubernetes block of nodes.yaml says, with its defaults
// filled in.
type Kubernetes struct {
	Version       Version
	Distribution  Distribution
	PodSubnet     netip.Prefix
	ServiceSubnet netip.Prefix
	Endpoint      Endpoint
	CertSANs      []string // further names and addresses of the API server
	DNSDomain     string   // of services, cluster.local unless given
	CNI           CNI
	Artifacts     string         // absolute folder; "" if the nodes download what they need
	Patches       []KubeadmPatch // sorted by name
	Mirrors       Mirrors
	// Untainted says that there is no worker, so that the control planes run
	// workloads: they do not get the taint that keeps workloads away.
	Untainted bool
	// Place and VersionPlace say where the block and its version stand, as
	// "nodes.yaml:12:3", for what is only found wrong later.
	Place        string
	VersionPlace string
}

// Version is an exact version of Kubernetes.
type Version struct {
	Major, Minor, Patch int
	Suffix              string // of k3s: "+k3s1"; otherwise ""
}

// String returns the version without a v: "1.34.1", "1.34.1+k3s1".
func (v Version) String() string {
	return fmt.Sprintf("%d.%d.%d%s", v.Major, v.Minor, v.Patch, v.Suffix)
}

// AtLeast reports whether v is of the minor version, or of a later one.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// MarshalText is String.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Distribution is what installs and runs Kubernetes.
type Distribution string

// The distributions.
const (
	Kubeadm Distribution = "kubeadm"
	K3s     Distribution = "k3s"
)

// Endpoint is where the nodes, and people, reach the API server.
type Endpoint struct {
	Host string // as given: a node's name, an IPv4 address or a DNS name
	// Addr is the host's IPv4 address: the static one of the node that is named,
	// or the one that is given. It is the zero Addr for other names.
	Addr netip.Addr
	Port uint16
	VIP  bool // kube-vip on the control planes holds the address
}

// String returns host:port.
func (e Endpoint) String() string { return fmt.Sprintf("%s:%d", e.Host, e.Port) }

// CNI is what connects pods.
type CNI struct {
	Kind     CNIKind
	Manifest []byte // of ManifestCNI
	Path     string // where the manifest was read, absolute
}

// CNIKind names a way of connecting pods.
type CNIKind string

// The kinds of CNI.
const (
	Flannel     CNIKind = "flannel"
	NoCNI       CNIKind = "none"     // the user installs one
	ManifestCNI CNIKind = "manifest" // the user gave a manifest
)

// KubeadmPatch is a file of the folder that kubeadm's patches.directory names.
type KubeadmPatch struct {
	Name    string // "kube-apiserver0+merge.yaml"
	Content []byte
}

// Mirrors replace the places that nodes download from; "" is upstream's.
type Mirrors struct {
	Packages string // https URL in the place of https://pkgs.k8s.io, no slash at the end
	Images   string // registry, with a path or without one, in the place of registry.k8s.io
	Binaries string // https URL of programs, no slash at the end
}

// InCluster reports whether the node takes part in Kubernetes.
func (n Node) InCluster() bool { return n.Role == ControlPlane || n.Role == Worker }

// ControlPlanes returns the control planes in the order of the file: the first
// one starts the cluster, the others join it.
func (c *Config) ControlPlanes() []Node {
	if c.planes != nil {
		return c.planes
	}
	return c.withRole(ControlPlane)
}

// Workers returns the workers in the order of the file.
func (c *Config) Workers() []Node { return c.withRole(Worker) }

func (c *Config) withRole(r Role) []Node {
	var found []Node
	for _, n := range c.Nodes {
		if n.Role == r {
			found = append(found, n)
		}
	}
	return found
}
