package nodes

import "github.com/piimg/piimg/imagebuild/nodes/strictyaml"

// The types in this file are nodes.yaml as it stands in the file. The decoder
// reads by them and the JSON Schema is generated from them, so that the two
// cannot disagree: json tags name the keys, omitempty marks those that may be
// left out, alias lists what people write instead (for hints), and the tag
// strictyaml:"nullable" marks what a node may set to null to take a default back.

// value is a value with its place in the file.
type value[T any] = strictyaml.Value[T]

// text is a string with its place in the file.
type text = value[string]

// list is a list of strings.
type list = []text

type document struct {
	Image      value[imageDoc]         `json:"image" alias:"base,baseimage,base_image" jsonschema_description:"The base image: an untouched Raspberry Pi OS Lite image, as a file or a download."`
	Cluster    value[clusterDoc]       `json:"cluster" jsonschema_description:"What the nodes have in common."`
	Kubernetes value[kubernetesDoc]    `json:"kubernetes,omitempty" alias:"k8s,kube,kubeadm,k3s" jsonschema_description:"The Kubernetes that the control planes and workers form. Without it roles configure hosts only. A cluster without workers runs its workloads on the control planes, which then have no taint."`
	Defaults   value[settingsDoc]      `json:"defaults,omitempty" alias:"default,common,global" jsonschema_description:"Settings of all nodes. A node's own value replaces the default as a whole, lists included; only the keys of user are merged one by one. A node takes a default back with null."`
	Nodes      value[[]value[nodeDoc]] `json:"nodes" alias:"node,hosts,machines" jsonschema:"minItems=1" jsonschema_description:"The nodes, one Raspberry Pi each."`
}

type imageDoc struct {
	Path     text `json:"path,omitempty" alias:"file,source" jsonschema_description:"The image file: .img, or packed as .img.xz, .zip, .img.gz or .img.zst. Relative to the folder of this file; ~ is the home folder."`
	URL      text `json:"url,omitempty" alias:"uri,link" jsonschema_description:"Where to download the image from; https only. Needs sha256."`
	SHA256   text `json:"sha256,omitempty" alias:"sha,hash,checksum,sha256sum,digest" jsonschema_description:"The SHA-256 of the file as it is downloaded, in hex. Optional for a path."`
	RootSize text `json:"rootSize,omitempty" alias:"size,root_size,disksize,imagesize" jsonschema:"example=4GiB" jsonschema_description:"What the root partition is enlarged to, such as 4GiB or 4096MiB, for nodes that get more than the image has room for. Without it nothing is enlarged: the system itself takes all of its card when it boots first."`
}

type clusterDoc struct {
	Name    text        `json:"name" jsonschema:"example=villagers" jsonschema_description:"The cluster's name: lower-case letters, digits and hyphens. The secrets belong to it."`
	Network text        `json:"network,omitempty" alias:"subnet,cidr,net" jsonschema:"example=10.0.0.0/24" jsonschema_description:"The IPv4 network of the static addresses, such as 10.0.0.0/24."`
	Gateway text        `json:"gateway,omitempty" alias:"router,gw" jsonschema:"example=10.0.0.1" jsonschema_description:"The IPv4 address of the network's gateway. Without it, nodes with a static address reach their own network only, and Kubernetes does not work."`
	DNS     value[list] `json:"dns,omitempty" alias:"nameserver,nameservers,resolvers" jsonschema_description:"The IPv4 addresses of the name servers of nodes with a static address."`
}

type nodeDoc struct {
	Hostname text        `json:"hostname" alias:"name,host" jsonschema:"example=isabelle" jsonschema_description:"The node's name: lower-case letters, digits and hyphens, at most 63. With numbers in brackets the entry stands for many nodes: worker-[001-100], rack[1-4]-[01-20], w[1-4,7]. What else the entry says holds for all of them."`
	IP       text        `json:"ip,omitempty" alias:"address,ipaddress,ip_address,addr,ipv4,static,static_ip,staticip" jsonschema_description:"A static IPv4 address inside cluster.network, or dhcp, which is the default. Of a range, the address of the first node, from which the others count up; or a range as long as the hostname's: 10.0.0.[11-110]."`
	MAC      text        `json:"mac,omitempty" alias:"macaddress,mac_address,hwaddr" jsonschema:"example=b8:27:eb:00:00:01" jsonschema_description:"The MAC address of the node's network interface."`
	MACs     value[list] `json:"macs,omitempty" alias:"macaddresses,mac_addresses,hwaddrs" jsonschema_description:"The MAC addresses of a range's nodes, one for each, in its order."`
	settingsDoc
}

// settingsDoc holds the keys that defaults may give for all nodes.
type settingsDoc struct {
	Role      text                    `json:"role,omitempty" strictyaml:"nullable" alias:"type,kind" jsonschema:"enum=control-plane,enum=worker,enum=router,enum=plain" jsonschema_description:"What the node is for: control-plane and worker take part in Kubernetes, the first control plane of the file starts it; router leads the cluster's network out; plain, the default, is a configured host and nothing more."`
	Interface text                    `json:"interface,omitempty" strictyaml:"nullable" alias:"iface,device,nic" jsonschema_description:"The network interface of the node's address; eth0 is the default."`
	Memory    text                    `json:"memory,omitempty" strictyaml:"nullable" alias:"ram,mem" jsonschema:"example=4GiB" jsonschema_description:"How much memory the board has, such as 512MiB or 4GiB; GB and GiB mean the same here. What Kubernetes needs is checked against it."`
	Domain    text                    `json:"domain,omitempty" strictyaml:"nullable" alias:"search" jsonschema_description:"The domain that the hostname is in."`
	User      value[userDoc]          `json:"user,omitempty" alias:"users,login,account" jsonschema_description:"The login user. A node's keys are merged with the default's, one by one."`
	Timezone  text                    `json:"timezone,omitempty" strictyaml:"nullable" alias:"tz" jsonschema:"example=Europe/Berlin" jsonschema_description:"A name of the tz database."`
	Locale    text                    `json:"locale,omitempty" strictyaml:"nullable" alias:"lang,language" jsonschema:"example=en_GB.UTF-8" jsonschema_description:"The language and character set, such as en_GB.UTF-8."`
	Keymap    text                    `json:"keymap,omitempty" strictyaml:"nullable" alias:"keyboard,layout,kbd" jsonschema:"example=gb" jsonschema_description:"The keyboard layout by its XKB name: gb, us, de."`
	NTP       value[list]             `json:"ntp,omitempty" strictyaml:"nullable" alias:"timeservers,ntpservers" jsonschema_description:"Time servers, by name or IPv4 address. The image's own are the default."`
	Swap      value[bool]             `json:"swap,omitempty" strictyaml:"nullable" jsonschema_description:"Whether the image's own swap stays on; false is the default."`
	SSH       value[bool]             `json:"ssh,omitempty" strictyaml:"nullable" alias:"sshd,enable_ssh" jsonschema_description:"Whether the SSH server runs; true is the default."`
	Sudo      text                    `json:"sudo,omitempty" strictyaml:"nullable" jsonschema:"enum=nopasswd,enum=password,enum=none" jsonschema_description:"How the user may become root: nopasswd, the default; password; or none."`
	Wifi      value[wifiDoc]          `json:"wifi,omitempty" strictyaml:"nullable" alias:"wlan,wireless,wi-fi" jsonschema_description:"A wireless network to join."`
	Cmdline   value[list]             `json:"cmdline,omitempty" strictyaml:"nullable" alias:"kernel_args,cmdline_txt,cmdline.txt" jsonschema_description:"Kernel arguments to append to cmdline.txt, one in each entry."`
	Config    value[list]             `json:"config,omitempty" strictyaml:"nullable" alias:"config_txt,config.txt" jsonschema_description:"Lines to append to config.txt, at most 98 characters each."`
	Files     value[[]value[fileDoc]] `json:"files,omitempty" strictyaml:"nullable" alias:"file,write_files" jsonschema_description:"Files to put into the image."`
	Overlays  value[list]             `json:"overlays,omitempty" strictyaml:"nullable" alias:"overlay" jsonschema_description:"Folders to lay over the image: what is in their root/ and boot/."`
}

type userDoc struct {
	Name           text               `json:"name,omitempty" strictyaml:"nullable" alias:"user,username,login" jsonschema_description:"The login name; pi is the default."`
	Password       value[passwordDoc] `json:"password,omitempty" strictyaml:"nullable" alias:"pass,passwd" jsonschema_description:"Where the password is. Without it the password is locked, and SSH keys are the way in."`
	AuthorizedKeys value[list]        `json:"authorizedKeys,omitempty" strictyaml:"nullable" alias:"sshkeys,ssh_keys,keys,sshkey,ssh_authorized_keys,publickeys,pubkeys" jsonschema_description:"Public SSH keys that may log in: each entry a line of authorized_keys, or the path of a file that holds such lines."`
}

type passwordDoc struct {
	Hash text `json:"hash,omitempty" alias:"crypt,encrypted" jsonschema_description:"A crypt(5) hash, as openssl passwd -6 prints it: $6$, $5$ or $y$."`
	File text `json:"file,omitempty" alias:"path" jsonschema_description:"A file that holds the password, and nothing else but a newline."`
	Env  text `json:"env,omitempty" alias:"environment,var,variable" jsonschema_description:"An environment variable that holds the password."`
}

type passphraseDoc struct {
	File text `json:"file,omitempty" alias:"path" jsonschema_description:"A file that holds the passphrase, and nothing else but a newline."`
	Env  text `json:"env,omitempty" alias:"environment,var,variable" jsonschema_description:"An environment variable that holds the passphrase."`
}

type wifiDoc struct {
	SSID       text                 `json:"ssid" alias:"name,network,essid" jsonschema:"example=island" jsonschema_description:"The network's name, 1 to 32 bytes."`
	Passphrase value[passphraseDoc] `json:"passphrase,omitempty" alias:"password,psk,key,pass" jsonschema_description:"Where the WPA passphrase is: 8 to 63 characters, or a key of 64 hex digits. Without it the network is open."`
	Country    text                 `json:"country" alias:"regdom,country_code,countrycode" jsonschema:"example=DE" jsonschema_description:"The ISO 3166 code of the country whose radio rules apply. The radio stays blocked without it."`
	Hidden     value[bool]          `json:"hidden,omitempty" alias:"scan_ssid" jsonschema_description:"Whether the network does not announce its name; false is the default."`
}

type fileDoc struct {
	Path    text `json:"path" alias:"dest,destination,target,name" jsonschema:"example=/etc/motd" jsonschema_description:"Where the file goes in the image: an absolute path."`
	Content text `json:"content,omitempty" alias:"contents,data,text" jsonschema_description:"What is in the file."`
	Source  text `json:"source,omitempty" alias:"src,from" jsonschema_description:"The file to copy. Relative to the folder of this file; ~ is the home folder."`
	Mode    text `json:"mode,omitempty" alias:"permissions,perm,perms,chmod" jsonschema_description:"The permissions in octal, in quotes; \"0644\" is the default."`
	Owner   text `json:"owner,omitempty" alias:"user,chown" jsonschema_description:"user:group, by names or numbers; root:root is the default."`
}

type kubernetesDoc struct {
	Version       value[exactVersion] `json:"version" alias:"kubernetesversion,release,tag" jsonschema:"example=1.34.1" jsonschema_description:"The exact version in quotes: \"1.34.1\"; of k3s \"1.34.1+k3s1\"."`
	Distribution  text                `json:"distribution,omitempty" alias:"distro,flavor,flavour,kind,type" jsonschema:"enum=kubeadm,enum=k3s" jsonschema_description:"What installs Kubernetes: kubeadm, the default, or k3s, which is one small program and what boards with 1 GiB of memory can run."`
	PodSubnet     text                `json:"podSubnet,omitempty" alias:"podcidr,pod_subnet,pod_cidr,podnetworkcidr,pod-network-cidr,clustercidr,cluster-cidr,pods" jsonschema_description:"The IPv4 network of the pods; each node gets a /24 of it. 10.244.0.0/16 is the default, of k3s 10.42.0.0/16."`
	ServiceSubnet text                `json:"serviceSubnet,omitempty" alias:"servicecidr,service_subnet,service_cidr,service-cidr,services" jsonschema_description:"The IPv4 network of the services. 10.96.0.0/12 is the default, of k3s 10.43.0.0/16."`
	Endpoint      text                `json:"endpoint,omitempty" alias:"controlplaneendpoint,control-plane-endpoint,server,vip,apiserver,host" jsonschema_description:"Where nodes and people reach the API server: the hostname of a node, an IPv4 address or a DNS name, with :port unless it is 6443. With one control plane its own name is the default; with several it must be an address that stays when one of them fails."`
	LoadBalancer  text                `json:"loadBalancer,omitempty" alias:"load_balancer,lb,loadbalancer" jsonschema:"enum=kube-vip,enum=external" jsonschema_description:"Who holds the endpoint's address: kube-vip on the control planes, the default for an address of cluster.network that no node has, or something external."`
	CertSANs      value[list]         `json:"certSANs,omitempty" alias:"cert_sans,apiservercertsans,sans,tls-san,tlssan" jsonschema_description:"Further names and addresses that the API server's certificate is good for."`
	DNSDomain     text                `json:"dnsDomain,omitempty" alias:"dns_domain,clusterdomain,cluster-domain,domain" jsonschema_description:"The domain of the services; cluster.local is the default."`
	CNI           value[cniDoc]       `json:"cni,omitempty" alias:"network,networkplugin,networking,plugin" jsonschema_description:"What connects the pods: flannel, the default; none, if you install something yourself; or {manifest: FILE}, which the first control plane applies."`
	Artifacts     text                `json:"artifacts,omitempty" alias:"artefacts,offline,airgap,cache" jsonschema_description:"A folder with all that the nodes need, so that their first boot needs no internet: packages or programs, and container images, with SHA256SUMS. Relative to the folder of this file."`
	Patches       text                `json:"patches,omitempty" alias:"patch,patchesdir" jsonschema_description:"A folder with patches for what kubeadm makes: TARGET[SUFFIX][+TYPE].yaml or .json, such as kube-apiserver0+merge.yaml."`
	Mirrors       value[mirrorsDoc]   `json:"mirrors,omitempty" alias:"mirror,registries" jsonschema_description:"Where nodes download from in the place of upstream."`
}

type cniDoc struct {
	Name     text `json:"-" strictyaml:"text"` // cni: flannel
	Manifest text `json:"manifest" alias:"path,file,url" jsonschema:"example=./calico.yaml" jsonschema_description:"A file with the manifest of a CNI. Relative to the folder of this file."`
}

type mirrorsDoc struct {
	Packages text `json:"packages,omitempty" alias:"apt,debs,package" jsonschema:"example=https://mirror.example.net/kubernetes" jsonschema_description:"The https URL that replaces https://pkgs.k8s.io."`
	Images   text `json:"images,omitempty" alias:"image,registry,imagerepository" jsonschema:"example=registry.example.net/k8s" jsonschema_description:"The registry, with a path or without one, that replaces registry.k8s.io."`
	Binaries text `json:"binaries,omitempty" alias:"binary,downloads,programs" jsonschema:"example=https://mirror.example.net/bin" jsonschema_description:"The https URL that programs are downloaded from."`
}
