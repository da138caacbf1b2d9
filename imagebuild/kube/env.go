package kube

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes"
)

const (
	// packagesURL has a repository for each minor version.
	packagesURL = "https://pkgs.k8s.io"
	// packagesKey is the fingerprint of the OpenPGP key that signs all of them.
	packagesKey = "DE15B14486CD377B9E876E1A234654DA9A296436"
)

// planEnv writes node.env: what the scripts of the first boot have to know, as
// assignments that a shell reads, and without a secret.
func (p *planner) planEnv() error {
	k := p.k
	action := "join"
	switch {
	case p.controlPlane() && p.first():
		action = "init"
	case p.controlPlane():
		action = "join-control-plane"
	}
	env := map[string]string{
		"PIIMG_NODE":          p.Node.Hostname,
		"PIIMG_CLUSTER":       p.Config.Cluster.Name,
		"PIIMG_ROLE":          string(p.Node.Role),
		"PIIMG_DISTRIBUTION":  string(k.Distribution),
		"PIIMG_VERSION":       k.Version.String(),
		"PIIMG_ACTION":        action,
		"PIIMG_INTERFACE":     p.Node.Interface,
		"PIIMG_NODE_IP":       "",
		"PIIMG_ENDPOINT_HOST": k.Endpoint.Host,
		"PIIMG_ENDPOINT_PORT": strconv.Itoa(int(k.Endpoint.Port)),
		"PIIMG_API_PORT":      strconv.Itoa(int(apiPort(p.Config))),
		"PIIMG_BOOT_MOUNT":    p.Facts.BootMount,
		"PIIMG_OFFLINE":       bit(p.Artifacts != nil),
		"PIIMG_PACKAGES_URL":  packages(k),
		"PIIMG_PACKAGES_KEY":  packagesKey,
		"PIIMG_BINARIES_URL":  k.Mirrors.Binaries,
		"PIIMG_PAUSE_IMAGE":   "",
		"PIIMG_CNI":           string(k.CNI.Kind),
		"PIIMG_POD_SUBNET":    k.PodSubnet.String(),
		"PIIMG_IGNORE_MEM":    bit(p.waiveMemory()),
	}
	if p.Node.IP.IsValid() {
		env["PIIMG_NODE_IP"] = p.Node.IP.String()
	}
	if k.Distribution == nodes.Kubeadm {
		env["PIIMG_PAUSE_IMAGE"] = pauseImage(k)
	}
	if p.controlPlane() {
		var names []string
		for _, n := range joining(p.Config) {
			names = append(names, n.Hostname)
		}
		env["PIIMG_WORKERS"] = strings.Join(names, " ")
	}
	maps.Copy(env, p.env)
	var b strings.Builder
	b.WriteString("# What this node is, made by piimg.\n")
	for _, key := range slices.Sorted(maps.Keys(env)) {
		if strings.ContainsAny(env[key], "\n\r\x00") {
			return fmt.Errorf("%s cannot be written to /%s/node.env: it has a line break", key, etc)
		}
		fmt.Fprintf(&b, "%s=%s\n", key, quote(env[key]))
	}
	p.file(etc+"/node.env", b.String())
	return nil
}

// packages returns the repository of a minor version.
func packages(k *nodes.Kubernetes) string {
	url := packagesURL
	if k.Mirrors.Packages != "" {
		url = k.Mirrors.Packages
	}
	return fmt.Sprintf("%s/core:/stable:/v%d.%d/deb/", url, k.Version.Major, k.Version.Minor)
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// quote returns a word of the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
