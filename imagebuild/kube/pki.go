package kube

import (
	"fmt"

	"github.com/piimg/piimg/imagebuild/secrets"
)

// planPKI adds the certificates. kubeadm keeps authorities that it finds, and
// makes everything else from them; it wants the names that they have here.
func (p *planner) planPKI() error {
	p.file(dir+"/ca.crt", string(p.keys.CA.Cert))
	if !p.controlPlane() {
		return nil
	}
	pki := dir + "/pki"
	p.folder(pki)
	p.folder(pki + "/etcd")
	p.authority(pki+"/ca", p.keys.CA)
	p.authority(pki+"/front-proxy-ca", p.keys.FrontProxyCA)
	p.authority(pki+"/etcd/ca", p.keys.EtcdCA)
	public, err := publicKey(p.keys.ServiceAccount)
	if err != nil {
		return fmt.Errorf("the key of service accounts among the secrets: %w", err)
	}
	p.secret(pki+"/sa.key", p.keys.ServiceAccount)
	p.file(pki+"/sa.pub", string(public))
	return nil
}

// authority adds an authority's certificate and its key.
func (p *planner) authority(name string, a secrets.Authority) {
	p.file(name+".crt", string(a.Cert))
	p.secret(name+".key", a.Key)
}
