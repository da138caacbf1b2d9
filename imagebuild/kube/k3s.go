package kube

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/overlays"
)

// Where k3s looks, and where the nodes find what overlays/k3s puts there.
const (
	k3sDir = dir + "/k3s"
	// k3sEtc is k3s's own folder of configuration.
	k3sEtc = "/etc/rancher/k3s"
)

// k3sManifests is the folder of manifests that the first server deploys.
const k3sManifests = k3sDir + "/manifests"

// planK3s adds what k3s needs. The files are laid out as k3s wants them, below
// [k3sDir]; usr/lib/piimg/k3s-install of overlays/k3s copies them to their places
// when the node's address is known.
func (p *planner) planK3s() error {
	switch {
	case p.first():
		p.env["PIIMG_ACTION"] = "server-init"
	case p.controlPlane():
		p.env["PIIMG_ACTION"] = "server"
	default:
		p.env["PIIMG_ACTION"] = "agent"
	}
	p.folder(dir)
	p.folder(k3sDir)
	p.file(dir+"/ca.crt", string(p.keys.CA.Cert))
	if err := p.planK3sTokens(); err != nil {
		return err
	}
	config, err := documents(p.k3sConfig())
	if err != nil {
		return err
	}
	p.private(k3sDir+"/config.yaml", string(config))
	if p.k.Mirrors.Images != "" {
		registries, err := documents(k3sRegistries(p.k.Mirrors.Images))
		if err != nil {
			return err
		}
		p.private(k3sDir+"/registries.yaml", string(registries))
	}
	if p.first() {
		p.planK3sAuthorities()
		switch p.k.CNI.Kind {
		case nodes.ManifestCNI:
			p.folder(k3sManifests)
			p.private(k3sManifests+"/piimg-cni.yaml", string(p.k.CNI.Manifest))
		case nodes.NoCNI:
			p.notice("No CNI is set up (cni: none): nodes stay NotReady until you install one.")
		}
	}
	p.out.Overlays = append(p.out.Overlays, overlays.K3s())
	if p.vip() {
		return p.planVIP()
	}
	return nil
}

// k3sConfiguration is /etc/rancher/k3s/config.yaml: k3s's flags without their dashes.
type k3sConfiguration struct {
	Server              string   `yaml:"server,omitempty"`
	ClusterInit         bool     `yaml:"cluster-init,omitempty"`
	TokenFile           string   `yaml:"token-file"`
	AgentTokenFile      string   `yaml:"agent-token-file,omitempty"`
	NodeName            string   `yaml:"node-name"`
	NodeIP              string   `yaml:"node-ip"`
	NodeTaint           []string `yaml:"node-taint,omitempty"`
	AdvertiseAddress    string   `yaml:"advertise-address,omitempty"`
	HTTPSListenPort     uint16   `yaml:"https-listen-port,omitempty"`
	TLSSAN              []string `yaml:"tls-san,omitempty"`
	WriteKubeconfigMode string   `yaml:"write-kubeconfig-mode,omitempty"`
	ClusterCIDR         string   `yaml:"cluster-cidr,omitempty"`
	ServiceCIDR         string   `yaml:"service-cidr,omitempty"`
	ClusterDomain       string   `yaml:"cluster-domain,omitempty"`
	FlannelBackend      string   `yaml:"flannel-backend,omitempty"`
	NoNetworkPolicy     bool     `yaml:"disable-network-policy,omitempty"`
	FlannelIface        string   `yaml:"flannel-iface,omitempty"`
}

// k3sConfig returns the node's configuration. What servers say of the cluster is
// the same for all of them, as k3s demands. A single server keeps its state in
// SQLite, which an SD card can bear; only several of them have etcd.
func (p *planner) k3sConfig() k3sConfiguration {
	c := k3sConfiguration{
		TokenFile: k3sEtc + "/token",
		NodeName:  p.Node.Hostname,
		NodeIP:    p.address(),
	}
	if p.k.CNI.Kind == nodes.Flannel {
		c.FlannelIface = p.Node.Interface
	}
	if !p.first() {
		c.Server = serverURL(p.k.Endpoint)
	}
	if !p.controlPlane() {
		return c
	}
	c.ClusterInit = p.first() && len(p.Config.ControlPlanes()) > 1
	c.AgentTokenFile = k3sEtc + "/agent-token"
	c.AdvertiseAddress = p.address()
	c.HTTPSListenPort = apiPort(p.Config)
	c.TLSSAN = certSANs(p.Config)
	c.WriteKubeconfigMode = "0600"
	c.ClusterCIDR, c.ServiceCIDR, c.ClusterDomain = p.k.PodSubnet.String(), p.k.ServiceSubnet.String(), p.k.DNSDomain
	if !p.k.Untainted {
		c.NodeTaint = []string{"node-role.kubernetes.io/control-plane=:NoSchedule"} // servers of k3s have none by themselves
	}
	if p.k.CNI.Kind != nodes.Flannel {
		c.FlannelBackend, c.NoNetworkPolicy = "none", true
	}
	return c
}

// k3sMirrors is /etc/rancher/k3s/registries.yaml, for the registries that k3s's
// own images come from.
type k3sMirrors struct {
	Mirrors struct {
		Docker     k3sMirror `yaml:"docker.io"`
		GitHub     k3sMirror `yaml:"ghcr.io"`
		Kubernetes k3sMirror `yaml:"registry.k8s.io"`
	} `yaml:"mirrors"`
}

type k3sMirror struct {
	Endpoint []string    `yaml:"endpoint"`
	Rewrite  *k3sRewrite `yaml:"rewrite,omitempty"`
}

// k3sRewrite is a mapping of regular expressions of repositories to repositories.
type k3sRewrite struct {
	All string `yaml:"^(.*)$"`
}

// k3sRegistries sends all registries to a mirror, which may have everything below
// a path.
func k3sRegistries(mirror string) k3sMirrors {
	host, path, below := strings.Cut(mirror, "/")
	m := k3sMirror{Endpoint: []string{"https://" + host}}
	if below {
		m.Rewrite = &k3sRewrite{path + "/$1"}
	}
	var all k3sMirrors
	all.Mirrors.Docker, all.Mirrors.GitHub, all.Mirrors.Kubernetes = m, m, m
	return all
}

// planK3sAuthorities lays the authorities out as k3s documents it for custom
// ones. The first server finds them when it starts, and gives them to the others
// when they join: no other card has the keys.
func (p *planner) planK3sAuthorities() {
	tls := k3sDir + "/tls"
	p.folder(tls)
	p.folder(tls + "/etcd")
	p.authority(tls+"/server-ca", p.keys.CA)
	p.authority(tls+"/client-ca", p.keys.ClientCA)
	p.authority(tls+"/request-header-ca", p.keys.FrontProxyCA)
	p.authority(tls+"/etcd/peer-ca", p.keys.EtcdCA)
	p.authority(tls+"/etcd/server-ca", p.keys.EtcdCA)
	p.secret(tls+"/service.key", p.keys.ServiceAccount)
}

// planK3sTokens gives servers the two secrets of the cluster, and every node that
// joins the one that it joins with, bound to the cluster's authority.
func (p *planner) planK3sTokens() error {
	hash, err := k3sHash(p.keys.CA.Cert)
	if err != nil {
		return err
	}
	server, agent := k3sSecret(p.Secrets, "server"), k3sSecret(p.Secrets, "agent")
	token := server // the first server has nobody to compare the hash with
	switch {
	case !p.controlPlane():
		token = "K10" + hash + "::node:" + agent
	case !p.first():
		token = "K10" + hash + "::server:" + server
	}
	p.secret(k3sDir+"/token", []byte(token+"\n"))
	if p.controlPlane() {
		p.secret(k3sDir+"/agent-token", []byte(agent+"\n"))
	}
	return nil
}

// k3sHash is the hash of a cluster's authority in k3s's tokens: SHA-256 of the
// file of PEM as it stands, if there is one certificate in it.
func k3sHash(cert []byte) (string, error) {
	block, rest := pem.Decode(cert)
	if block == nil || block.Type != "CERTIFICATE" {
		return "", errors.New("the cluster's authority among the secrets is no certificate in PEM")
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return "", fmt.Errorf("the cluster's authority among the secrets: %w", err)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return "", errors.New("the cluster's authority among the secrets is more than one certificate")
	}
	sum := sha256.Sum256(cert)
	return hex.EncodeToString(sum[:]), nil
}

// k3sSecret returns a secret that nodes of a kind join with: the secret halves of
// two tokens of names that no node can have. In the form of a token it would be
// taken for one that expires.
func k3sSecret(s *secrets.Secrets, kind string) string {
	var b strings.Builder
	for _, part := range []string{"1", "2"} {
		_, half, _ := strings.Cut(s.BootstrapToken("k3s "+kind+" "+part).Reveal(), ".")
		b.WriteString(half)
	}
	return b.String()
}

// k3sRequirements returns what a node with k3s needs: the program, and the images
// of all pods that it starts by itself.
func k3sRequirements(c *nodes.Config, arch string, n nodes.Node) []artifacts.Requirement {
	k := c.Kubernetes
	v := k.Version.String()
	list := []artifacts.Requirement{
		{Kind: artifacts.Binary, Name: "k3s", Version: v, Arch: arch, Why: "Kubernetes, with all that belongs to it"},
		{Kind: artifacts.Image, Name: artifacts.K3sImages, Version: v, Arch: arch, Why: "the images of k3s's own pods"},
	}
	var images []string
	if n.Role == nodes.ControlPlane && k.Endpoint.VIP {
		images = append(images, mirrored(k, kubeVIPImage))
	}
	if k.CNI.Kind == nodes.ManifestCNI {
		images = append(images, manifestImages(k.CNI.Manifest)...)
	}
	for _, image := range images {
		list = append(list, artifacts.Requirement{Kind: artifacts.Image, Name: image, Arch: arch})
	}
	return list
}
