package kube

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes"
)

const (
	criSocket = "unix:///run/containerd/containerd.sock"
	etcdData  = "/var/lib/etcd"

	// tokenTTL is how long a token is good from when kubeadm init makes it. The
	// control plane makes it anew for nodes that have not joined by then.
	tokenTTL = "24h0m0s"

	// slow is how long kubeadm waits for a control plane, or for a node's own
	// certificate, before it gives up: an SD card takes minutes to start what a
	// disk starts in seconds, and starting over takes longer than waiting.
	slow = "20m0s"
	// slowCall is how long it repeats a single request.
	slowCall = "5m0s"

	// minMemory is what kubeadm wants a control plane to have, by its preflight
	// check Mem. It measures what the kernel has, which is less than is soldered.
	minMemory = 1700 << 20
)

// planKubeadm adds what kubeadm needs.
func (p *planner) planKubeadm() error {
	if p.waiveMemory() { // package nodes has said that it is little
		p.notice("kubeadm asks for 1700 MiB of memory on a control plane, and is told to go on with the %d MiB of this one (ignorePreflightErrors: Mem).", p.Node.Memory>>20)
	}
	p.folder(dir)
	if err := p.planPKI(); err != nil {
		return err
	}
	p.planContainerd()
	p.planPatches()
	p.private(dir+"/images", strings.Join(images(p.Config, p.Node), "\n")+"\n")
	config, err := p.kubeadmYAML()
	if err != nil {
		return err
	}
	p.secret(dir+"/kubeadm.yaml", config)
	if p.first() {
		p.planTokens()
		if err := p.planCNI(); err != nil {
			return err
		}
	}
	if p.vip() {
		return p.planVIP()
	}
	return nil
}

func (p *planner) planPatches() {
	if len(p.k.Patches) == 0 {
		return
	}
	p.folder(dir + "/patches")
	for _, patch := range p.k.Patches {
		p.private(dir+"/patches/"+patch.Name, string(patch.Content))
	}
}

// planTokens tells the first control plane whom it is to expect: a node, its token,
// and its role in each line.
func (p *planner) planTokens() {
	var b strings.Builder
	for _, n := range joining(p.Config) {
		fmt.Fprintf(&b, "%s %s %s\n", n.Hostname, p.Secrets.BootstrapToken(n.Hostname).Reveal(), n.Role)
	}
	p.secret(dir+"/tokens", []byte(b.String()))
}

// joining returns the nodes that join the cluster which the first one starts.
func joining(c *nodes.Config) []nodes.Node {
	return append(c.ControlPlanes()[1:], c.Workers()...)
}

// kubeadmYAML returns kubeadm's configuration for the node.
func (p *planner) kubeadmYAML() ([]byte, error) {
	api := kubeadmAPI(componentsOf(p.k.Version).API)
	if p.first() {
		return documents(p.initConfiguration(api), p.clusterConfiguration(api), p.kubelet(), p.kubeProxy())
	}
	join, err := p.joinConfiguration(api)
	if err != nil {
		return nil, err
	}
	return documents(join)
}

func (p *planner) initConfiguration(api kubeadmAPI) initConfiguration {
	c := initConfiguration{
		typeMeta:         api.kind("InitConfiguration"),
		NodeRegistration: p.registration(api),
		LocalAPIEndpoint: p.localEndpoint(),
		Patches:          p.patches(),
		Timeouts:         api.timeouts(),
	}
	for _, n := range joining(p.Config) {
		c.BootstrapTokens = append(c.BootstrapTokens, bootstrapToken{
			Token:       p.Secrets.BootstrapToken(n.Hostname).Reveal(),
			Description: "piimg: for " + n.Hostname + " to join",
			TTL:         tokenTTL,
			Usages:      []string{"signing", "authentication"},
			Groups:      []string{"system:bootstrappers:kubeadm:default-node-token"},
		})
	}
	return c
}

func (p *planner) clusterConfiguration(api kubeadmAPI) clusterConfiguration {
	with := componentsOf(p.k.Version)
	// A leader that cannot renew its lease in time ends itself: within the usual 10 s
	// a busy Pi with a slow card now and then does not, and starts from the beginning.
	leader := component{api.args(
		argument{"leader-elect-lease-duration", "60s"}, argument{"leader-elect-renew-deadline", "45s"}, argument{"leader-elect-retry-period", "10s"},
	)}
	c := clusterConfiguration{
		typeMeta:             api.kind("ClusterConfiguration"),
		ClusterName:          p.Config.Cluster.Name,
		KubernetesVersion:    "v" + p.k.Version.String(),
		ControlPlaneEndpoint: p.k.Endpoint.String(),
		ImageRepository:      p.k.Mirrors.Images,
		Networking: networking{
			PodSubnet: p.k.PodSubnet.String(), ServiceSubnet: p.k.ServiceSubnet.String(), DNSDomain: p.k.DNSDomain,
		},
		APIServer:         apiServer{CertSANs: certSANs(p.Config)},
		ControllerManager: leader,
		Scheduler:         leader,
		Etcd: etcd{localEtcd{
			imageTag: imageTag{with.Etcd},
			DataDir:  etcdData,
			// etcd's own 100 ms and 1 s are for disks that sync in less: with a slow
			// card they end in elections without end.
			ExtraArgs: api.args(argument{"election-timeout", "5000"}, argument{"heartbeat-interval", "500"}),
		}},
		DNS: dns{imageTag: imageTag{with.CoreDNS}},
	}
	if c.ImageRepository == "" && !p.k.Version.AtLeast(1, 25) {
		// The first releases of 1.24 would ask k8s.gcr.io, which is no more.
		c.ImageRepository, c.DNS.ImageRepository = kubernetesRegistry, kubernetesRegistry+"/coredns"
	}
	if api == v1beta4 {
		c.EncryptionAlgorithm = "ECDSA-P256" // made in a moment also by a slow processor
	} else {
		c.APIServer.TimeoutForControlPlane = slow
	}
	return c
}

func (p *planner) joinConfiguration(api kubeadmAPI) (joinConfiguration, error) {
	hash, err := caHash(p.keys.CA)
	if err != nil {
		return joinConfiguration{}, err
	}
	c := joinConfiguration{
		typeMeta:         api.kind("JoinConfiguration"),
		NodeRegistration: p.registration(api),
		Discovery: discovery{BootstrapToken: tokenDiscovery{
			Token:             p.Secrets.BootstrapToken(p.Node.Hostname).Reveal(),
			APIServerEndpoint: p.k.Endpoint.String(),
			CACertHashes:      []string{hash},
		}},
		Patches:  p.patches(),
		Timeouts: api.timeouts(),
	}
	if p.controlPlane() {
		c.ControlPlane = &joinControlPlane{p.localEndpoint()}
	}
	if api == v1beta3 {
		c.Discovery.Timeout = slow
	}
	return c, nil
}

func (p *planner) registration(api kubeadmAPI) nodeRegistration {
	r := nodeRegistration{
		Name:             p.Node.Hostname,
		CRISocket:        criSocket,
		KubeletExtraArgs: api.args(argument{"node-ip", p.address()}),
		ImagePullPolicy:  "IfNotPresent",
	}
	if p.controlPlane() && p.k.Untainted {
		r.Taints = &[]string{}
	}
	if p.waiveMemory() {
		r.IgnorePreflightErrors = []string{"Mem"}
	}
	return r
}

// waiveMemory reports whether kubeadm is to start a control plane on less memory
// than it wants.
func (p *planner) waiveMemory() bool {
	return p.controlPlane() && p.Node.Memory > 0 && p.Node.Memory < minMemory
}

func (p *planner) localEndpoint() apiEndpoint {
	return apiEndpoint{AdvertiseAddress: p.address(), BindPort: apiPort(p.Config)}
}

func (p *planner) patches() *patches {
	if len(p.k.Patches) == 0 {
		return nil
	}
	return &patches{"/" + dir + "/patches"}
}

func (a kubeadmAPI) timeouts() *timeouts {
	if a != v1beta4 {
		return nil
	}
	return &timeouts{
		ControlPlaneComponentHealthCheck: slow,
		KubeletHealthCheck:               slow,
		KubernetesAPICall:                slowCall,
		EtcdAPICall:                      slowCall,
		TLSBootstrap:                     slow,
		Discovery:                        slow,
	}
}

// certSANs returns the names and addresses, beside those that kubeadm adds by
// itself, under which the API servers may be called: the same for all of them, so
// that a certificate does not have to be made anew when a control plane is added.
func certSANs(c *nodes.Config) []string {
	k := c.Kubernetes
	sans := []string{k.Endpoint.Host}
	add := func(name string) {
		if name != "" && !slices.Contains(sans, name) {
			sans = append(sans, name)
		}
	}
	addIP := func(a netip.Addr) {
		if a.IsValid() {
			add(a.String())
		}
	}
	addIP(k.Endpoint.Addr)
	for _, n := range c.ControlPlanes() {
		add(n.Hostname)
		if n.Domain != "" {
			add(n.Hostname + "." + n.Domain)
		}
		add(n.Hostname + ".local") // as mDNS announces it
		addIP(n.IP)
	}
	add("localhost") // through a tunnel
	add("127.0.0.1")
	for _, name := range k.CertSANs {
		add(name)
	}
	return sans
}
