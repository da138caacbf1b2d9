package kube

import (
	"net"
	"strconv"
)

// planVIP adds the static pod that holds the cluster's address, and its access to
// the API server.
//
// The access is a client certificate of its own, signed here: kubeadm's admin.conf
// has no rights until init is done, which itself waits for the address, and
// super-admin.conf is on the first control plane only (kube-vip/kube-vip#684). For
// the same reason it is in the group whose rights need no role. A control plane
// holds the key of the cluster's authority anyway.
func (p *planner) planVIP() error {
	port := strconv.Itoa(int(apiPort(p.Config)))
	server := "https://" + net.JoinHostPort(p.Node.IP.String(), port)
	pod, err := render("kube-vip.yaml", map[string]any{
		"Image":     mirrored(p.k, kubeVIPImage),
		"VIP":       p.k.Endpoint.Addr,
		"Port":      port,
		"Interface": p.Node.Interface,
		"Node":      p.Node.Hostname,
		"Server":    server,
	})
	if err != nil {
		return err
	}
	client, err := clientCertificate(p.Secrets, clientAuthority(p.k, p.keys), "piimg:kube-vip:"+p.Node.Hostname, admins)
	if err != nil {
		return err
	}
	conf, err := kubeconfig(access{
		cluster: p.Config.Cluster.Name, user: "kube-vip", server: server, ca: p.keys.CA.Cert, client: client,
	})
	if err != nil {
		return err
	}
	p.private(dir+"/kube-vip.yaml", pod)
	p.secret(dir+"/kube-vip.conf", conf)
	return nil
}
