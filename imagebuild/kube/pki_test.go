package kube

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/secrets"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// TestKubeadmKeepsThePKI lets kubeadm make all certificates on top of what a
// control plane brings, and openssl verify the result.
func TestKubeadmKeepsThePKI(t *testing.T) {
	openssl := tooltest.Path(t, "openssl")
	for _, k := range kubeadms(t) {
		t.Run(k.version.String(), func(t *testing.T) {
			a := planAll(t, asVersion(t, available, k.version), secrets.Placeholder("villagers"))["isabelle"]
			root := t.TempDir()
			place(t, a, root)
			pki := filepath.Join(root, dir, "pki")
			before := tree(t, pki)
			if len(before) != 8 {
				t.Fatalf("the control plane brings %d files", len(before))
			}
			config := filepath.Join(root, "kubeadm.yaml")
			text := strings.Replace(content(a, kubeadmYAML), "kind: ClusterConfiguration\n", "kind: ClusterConfiguration\ncertificatesDir: "+pki+"\n", 1)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out := k.run(t, "init", "phase", "certs", "all", "--config", config)
			for _, want := range []string{"existing ca certificate authority", "existing etcd/ca certificate", "existing front-proxy-ca certificate", `existing "sa" key`} {
				if !strings.Contains(out, want) {
					t.Errorf("kubeadm does not say that it uses the %s:\n%s", want, out)
				}
			}
			after := tree(t, pki)
			for name, was := range before {
				if !bytes.Equal(after[name], was) {
					t.Errorf("kubeadm changed %s", name)
				}
			}
			for ca, leaves := range map[string][]string{
				"ca":             {"apiserver", "apiserver-kubelet-client"},
				"front-proxy-ca": {"front-proxy-client"},
				"etcd/ca":        {"etcd/server", "etcd/peer", "etcd/healthcheck-client", "apiserver-etcd-client"},
			} {
				for _, leaf := range leaves {
					run(t, openssl, "verify", "-x509_strict", "-CAfile", filepath.Join(pki, ca+".crt"), filepath.Join(pki, leaf+".crt"))
				}
			}
			server := filepath.Join(pki, "apiserver.crt")
			for _, name := range []string{"isabelle", "isabelle.example.net", "isabelle.local", "digby", "kk.local", "kubernetes", "localhost", "k8s.example.net", "any.example.net"} {
				run(t, openssl, "verify", "-CAfile", filepath.Join(pki, "ca.crt"), "-verify_hostname", name, server)
			}
			for _, ip := range []string{"10.0.0.200", "10.0.0.50", "10.0.0.51", "10.0.0.52", "127.0.0.1", "10.112.0.1", "192.0.2.7"} {
				run(t, openssl, "verify", "-CAfile", filepath.Join(pki, "ca.crt"), "-verify_ip", ip, server)
			}
		})
	}
}

// tree returns the files of a folder.
func tree(t *testing.T, root string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(root, name)
			files[filepath.ToSlash(rel)], err = os.ReadFile(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestCAHash computes the hash as kubeadm's documentation tells people to.
func TestCAHash(t *testing.T) {
	openssl := tooltest.Path(t, "openssl")
	for name, ca := range testAuthorities(t) {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "ca.crt")
			if err := os.WriteFile(file, ca.Cert, 0o600); err != nil {
				t.Fatal(err)
			}
			public := run(t, openssl, "x509", "-pubkey", "-noout", "-in", file)
			block, _ := pem.Decode([]byte(public))
			sum := sha256.Sum256(block.Bytes) // openssl pkey -pubin -outform der | openssl dgst -sha256
			hash, err := caHash(ca)
			if want := "sha256:" + hex.EncodeToString(sum[:]); err != nil || hash != want {
				t.Errorf("%s instead of %s, %v", hash, want, err)
			}
		})
	}
}

// testAuthorities has an authority of ours, and one with RSA as people bring it.
func testAuthorities(t *testing.T) map[string]secrets.Authority {
	t.Helper()
	keys, err := secrets.Placeholder("villagers").Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "theirs"}, NotBefore: buildTime, NotAfter: buildTime.Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]secrets.Authority{"EC": keys.CA, "RSA": {
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}}
}

// TestClientCertificate has openssl verify certificates of either kind of
// authority, and wants the same bytes each time.
func TestClientCertificate(t *testing.T) {
	openssl := tooltest.Path(t, "openssl")
	s := secrets.Placeholder("villagers")
	for name, ca := range testAuthorities(t) {
		t.Run(name, func(t *testing.T) {
			client, err := clientCertificate(s, ca, "kubernetes-admin", admins)
			if err != nil {
				t.Fatal(err)
			}
			again, err := clientCertificate(s, ca, "kubernetes-admin", admins)
			if err != nil || !bytes.Equal(client.cert, again.cert) || !bytes.Equal(client.key, again.key) {
				t.Errorf("another certificate the second time, %v", err)
			}
			other, err := clientCertificate(s, ca, "somebody", admins)
			if err != nil || bytes.Equal(client.cert, other.cert) || bytes.Equal(client.key, other.key) {
				t.Errorf("the same certificate for somebody else, %v", err)
			}
			parent, _, err := ca.Parse()
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for file, data := range map[string][]byte{"ca.crt": ca.Cert, "client.crt": client.cert, "client.key": client.key} {
				if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cert := filepath.Join(dir, "client.crt")
			run(t, openssl, "verify", "-x509_strict", "-purpose", "sslclient", "-attime", fmt.Sprint(parent.NotBefore.Unix()+60),
				"-CAfile", filepath.Join(dir, "ca.crt"), cert)
			subject := run(t, openssl, "x509", "-in", cert, "-noout", "-subject", "-nameopt", "RFC2253")
			if want := "subject=CN=kubernetes-admin,O=system:masters\n"; subject != want {
				t.Errorf("%q instead of %q", subject, want)
			}
			if a, b := run(t, openssl, "x509", "-in", cert, "-noout", "-pubkey"), run(t, openssl, "pkey", "-in", filepath.Join(dir, "client.key"), "-pubout"); a != b {
				t.Error("the key is not the certificate's")
			}
			if out := run(t, openssl, "x509", "-in", cert, "-noout", "-ext", "basicConstraints,extendedKeyUsage"); !strings.Contains(out, "CA:FALSE") || strings.Contains(out, "Server") {
				t.Errorf("the certificate is good for too much:\n%s", out)
			}
		})
	}
}

// TestServiceAccountKey has openssl derive the public half.
func TestServiceAccountKey(t *testing.T) {
	openssl := tooltest.Path(t, "openssl")
	a := planAll(t, asVersion(t, threeNodes, nodes.Version{Major: 1, Minor: 34, Patch: 4}), secrets.Placeholder("villagers"))["isabelle"]
	root := t.TempDir()
	place(t, a, root)
	if got := run(t, openssl, "pkey", "-in", filepath.Join(root, dir, "pki/sa.key"), "-pubout"); got != content(a, dir+"/pki/sa.pub") {
		t.Errorf("openssl derives\n%s", got)
	}
}
