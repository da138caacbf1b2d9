package kube

import (
	"encoding/base64"
	"fmt"
	"net"
	"strconv"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/secrets"
)

// admins is the group that may do everything, whatever roles the cluster has.
const admins = "system:masters"

// Kubeconfig returns a kubeconfig for the cluster's administrator, 0600: the
// server's address, the authority that it is known by, and a client certificate
// with its key. It is good before anything has booted; the same nodes.yaml and
// secrets give the same bytes.
func Kubeconfig(c *nodes.Config, s *secrets.Secrets) ([]byte, error) {
	if c.Kubernetes == nil {
		return nil, fmt.Errorf("%s has no kubernetes block, so there is no cluster to have access to", c.Path)
	}
	keys, err := s.Kubernetes()
	if err != nil {
		return nil, err
	}
	user := "kubernetes-admin"
	if c.Kubernetes.Distribution == nodes.K3s {
		user = "system:admin"
	}
	client, err := clientCertificate(s, clientAuthority(c.Kubernetes, keys), user, admins)
	if err != nil {
		return nil, err
	}
	return kubeconfig(access{
		cluster: c.Cluster.Name, user: user, server: serverURL(c.Kubernetes.Endpoint), ca: keys.CA.Cert, client: client,
	})
}

// clientAuthority returns what signs the certificates of the API server's clients:
// k3s has an authority of its own for them.
func clientAuthority(k *nodes.Kubernetes, keys *secrets.Kubernetes) secrets.Authority {
	if k.Distribution == nodes.K3s {
		return keys.ClientCA
	}
	return keys.CA
}

// serverURL returns where a computer without the cluster's names finds the API.
func serverURL(e nodes.Endpoint) string {
	host := e.Host
	if e.Addr.IsValid() {
		host = e.Addr.String()
	}
	return "https://" + net.JoinHostPort(host, strconv.Itoa(int(e.Port)))
}

// access is what a kubeconfig says.
type access struct {
	cluster, user string
	server        string // URL
	ca            []byte // PEM
	client        pair
}

// kubeconfig returns a file of kind Config, v1, with everything in it.
func kubeconfig(a access) ([]byte, error) {
	var c config
	c.typeMeta = typeMeta{APIVersion: "v1", Kind: "Config"}
	c.Clusters = []namedCluster{{Name: a.cluster, Cluster: clusterAccess{
		Server: a.server, CA: base64.StdEncoding.EncodeToString(a.ca),
	}}}
	c.Users = []namedUser{{Name: a.user, User: userAccess{
		Cert: base64.StdEncoding.EncodeToString(a.client.cert), Key: base64.StdEncoding.EncodeToString(a.client.key),
	}}}
	name := a.user + "@" + a.cluster
	c.Contexts = []namedContext{{Name: name, Context: context{Cluster: a.cluster, User: a.user}}}
	c.CurrentContext = name
	return documents(c)
}

type config struct {
	typeMeta       `yaml:",inline"`
	Clusters       []namedCluster `yaml:"clusters"`
	Users          []namedUser    `yaml:"users"`
	Contexts       []namedContext `yaml:"contexts"`
	CurrentContext string         `yaml:"current-context"`
}

type namedCluster struct {
	Name    string        `yaml:"name"`
	Cluster clusterAccess `yaml:"cluster"`
}

type clusterAccess struct {
	Server string `yaml:"server"`
	CA     string `yaml:"certificate-authority-data"`
}

type namedUser struct {
	Name string     `yaml:"name"`
	User userAccess `yaml:"user"`
}

type userAccess struct {
	Cert string `yaml:"client-certificate-data"`
	Key  string `yaml:"client-key-data"`
}

type namedContext struct {
	Name    string  `yaml:"name"`
	Context context `yaml:"context"`
}

type context struct {
	Cluster string `yaml:"cluster"`
	User    string `yaml:"user"`
}
