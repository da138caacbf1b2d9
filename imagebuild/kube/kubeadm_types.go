package kube

import "github.com/goccy/go-yaml"

// The types of kubeadm's configuration, as far as it is written here. Where
// v1beta3 and v1beta4 differ, a field holds what the version wants.

type initConfiguration struct {
	typeMeta         `yaml:",inline"`
	BootstrapTokens  []bootstrapToken `yaml:"bootstrapTokens,omitempty"`
	NodeRegistration nodeRegistration `yaml:"nodeRegistration"`
	LocalAPIEndpoint apiEndpoint      `yaml:"localAPIEndpoint"`
	Patches          *patches         `yaml:"patches,omitempty"`
	Timeouts         *timeouts        `yaml:"timeouts,omitempty"` // v1beta4
}

type bootstrapToken struct {
	Token       string   `yaml:"token"`
	Description string   `yaml:"description"`
	TTL         string   `yaml:"ttl"`
	Usages      []string `yaml:"usages"`
	Groups      []string `yaml:"groups"`
}

type nodeRegistration struct {
	Name      string `yaml:"name"`
	CRISocket string `yaml:"criSocket"`
	// Taints is nil for kubeadm's own choice, and empty for none.
	Taints                *[]string `yaml:"taints,omitempty"`
	KubeletExtraArgs      extraArgs `yaml:"kubeletExtraArgs,omitempty"`
	IgnorePreflightErrors []string  `yaml:"ignorePreflightErrors,omitempty"`
	ImagePullPolicy       string    `yaml:"imagePullPolicy"`
}

// extraArgs is a []argument in v1beta4, and a yaml.MapSlice in v1beta3.
type extraArgs any

type argument struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

type apiEndpoint struct {
	AdvertiseAddress string `yaml:"advertiseAddress"`
	BindPort         uint16 `yaml:"bindPort"`
}

type patches struct {
	Directory string `yaml:"directory"`
}

type timeouts struct {
	ControlPlaneComponentHealthCheck string `yaml:"controlPlaneComponentHealthCheck"`
	KubeletHealthCheck               string `yaml:"kubeletHealthCheck"`
	KubernetesAPICall                string `yaml:"kubernetesAPICall"`
	EtcdAPICall                      string `yaml:"etcdAPICall"`
	TLSBootstrap                     string `yaml:"tlsBootstrap"`
	Discovery                        string `yaml:"discovery"`
}

type clusterConfiguration struct {
	typeMeta             `yaml:",inline"`
	ClusterName          string     `yaml:"clusterName"`
	KubernetesVersion    string     `yaml:"kubernetesVersion"`
	ControlPlaneEndpoint string     `yaml:"controlPlaneEndpoint"`
	ImageRepository      string     `yaml:"imageRepository,omitempty"`
	EncryptionAlgorithm  string     `yaml:"encryptionAlgorithm,omitempty"` // v1beta4
	Networking           networking `yaml:"networking"`
	APIServer            apiServer  `yaml:"apiServer"`
	ControllerManager    component  `yaml:"controllerManager"`
	Scheduler            component  `yaml:"scheduler"`
	Etcd                 etcd       `yaml:"etcd"`
	DNS                  dns        `yaml:"dns"`
}

type networking struct {
	PodSubnet     string `yaml:"podSubnet"`
	ServiceSubnet string `yaml:"serviceSubnet"`
	DNSDomain     string `yaml:"dnsDomain"`
}

type apiServer struct {
	CertSANs               []string `yaml:"certSANs"`
	TimeoutForControlPlane string   `yaml:"timeoutForControlPlane,omitempty"` // v1beta3
}

type etcd struct {
	Local localEtcd `yaml:"local"`
}

type localEtcd struct {
	imageTag  `yaml:",inline"`
	DataDir   string    `yaml:"dataDir"`
	ExtraArgs extraArgs `yaml:"extraArgs"`
}

// component is a part of the control plane of which there is one leader.
type component struct {
	ExtraArgs extraArgs `yaml:"extraArgs"`
}

type dns struct {
	ImageRepository string `yaml:"imageRepository,omitempty"`
	imageTag        `yaml:",inline"`
}

type imageTag struct {
	ImageTag string `yaml:"imageTag"`
}

type joinConfiguration struct {
	typeMeta         `yaml:",inline"`
	NodeRegistration nodeRegistration  `yaml:"nodeRegistration"`
	Discovery        discovery         `yaml:"discovery"`
	ControlPlane     *joinControlPlane `yaml:"controlPlane,omitempty"`
	Patches          *patches          `yaml:"patches,omitempty"`
	Timeouts         *timeouts         `yaml:"timeouts,omitempty"` // v1beta4
}

type discovery struct {
	BootstrapToken tokenDiscovery `yaml:"bootstrapToken"`
	Timeout        string         `yaml:"timeout,omitempty"` // v1beta3
}

type tokenDiscovery struct {
	Token             string   `yaml:"token"`
	APIServerEndpoint string   `yaml:"apiServerEndpoint"`
	CACertHashes      []string `yaml:"caCertHashes"`
}

type joinControlPlane struct {
	LocalAPIEndpoint apiEndpoint `yaml:"localAPIEndpoint"`
}

// kubeadmAPI is a version of kubeadm's configuration.
type kubeadmAPI string

const (
	v1beta3 kubeadmAPI = "v1beta3"
	v1beta4 kubeadmAPI = "v1beta4" // since Kubernetes 1.31
)

func (a kubeadmAPI) kind(k string) typeMeta {
	return typeMeta{APIVersion: "kubeadm.k8s.io/" + string(a), Kind: k}
}

// args returns extra arguments in the form of the version.
func (a kubeadmAPI) args(list ...argument) extraArgs {
	if a == v1beta4 {
		return list
	}
	var m yaml.MapSlice
	for _, arg := range list {
		m = append(m, yaml.MapItem{Key: arg.Name, Value: arg.Value})
	}
	return m
}
