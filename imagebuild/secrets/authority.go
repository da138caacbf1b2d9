package secrets

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"time"
)

// ECDSAKey derives a key on P-256: the same in every build.
func (s *Secrets) ECDSAKey(labels ...string) *ecdsa.PrivateKey {
	// A P-256 key is a number below the curve's order. About one in 2³² draws of
	// 32 bytes is not, and is drawn again.
	for try := range 16 {
		scalar := s.Derive(32, append([]string{"ecdsa-p256", strconv.Itoa(try)}, labels...)...)
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err == nil {
			return key
		}
	}
	panic("secrets: no draw of 16 is a key") // one seed in 2⁵¹² gives that
}

// authorityNames are the subjects of the authorities, which are those of kubeadm's.
const (
	caName         = "kubernetes"
	etcdCAName     = "etcd-ca"
	frontProxyName = "front-proxy-ca"
	clientCAName   = "kubernetes-client-ca"
)

// newKubernetes makes all authorities, with keys that draw gives for a name.
func newKubernetes(created time.Time, draw func(name string) (*ecdsa.PrivateKey, error), serviceAccount PrivateKey) (*Kubernetes, error) {
	k := &Kubernetes{Created: created, ServiceAccount: serviceAccount}
	for _, a := range []struct {
		name string
		into *Authority
	}{{caName, &k.CA}, {etcdCAName, &k.EtcdCA}, {frontProxyName, &k.FrontProxyCA}, {clientCAName, &k.ClientCA}} {
		key, err := draw(a.name)
		if err != nil {
			return nil, err
		}
		if *a.into, err = selfSigned(a.name, key, k.NotBefore(), k.NotAfter()); err != nil {
			return nil, fmt.Errorf("failed to make the authority %s: %w", a.name, err)
		}
	}
	return k, nil
}

// drawKubernetes makes authorities with new random keys.
func drawKubernetes(now time.Time) (*Kubernetes, error) {
	sa, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("failed to draw a service account key: %w", err)
	}
	return newKubernetes(day(now),
		func(string) (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(sa)}))
}

// placeholderKubernetes makes authorities that everybody can make.
func placeholderKubernetes(s *Secrets) (*Kubernetes, error) {
	derive := func(name string) (*ecdsa.PrivateKey, error) { return s.ECDSAKey("placeholder", name), nil }
	der, err := x509.MarshalECPrivateKey(s.ECDSAKey("placeholder", "service account"))
	if err != nil {
		return nil, err
	}
	return newKubernetes(time.Date(2018, 1, 1, 0, 0, 0, 0, time.UTC), derive,
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// day returns the beginning of a day in UTC.
func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// selfSigned makes an authority as kubeadm does: the name is also in the
// alternative names, and the key may sign certificates, sign and encipher. The
// signature is deterministic (RFC 6979).
func selfSigned(name string, key *ecdsa.PrivateKey, from, to time.Time) (Authority, error) {
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return Authority{}, err
	}
	id := sha256.Sum256(public)
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(id[:8]),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    from, NotAfter: to,
		KeyUsage:              x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		BasicConstraintsValid: true, IsCA: true,
		SubjectKeyId: id[:20],
	}
	cert, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		return Authority{}, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Authority{}, err
	}
	return Authority{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}),
	}, nil
}

// Parse returns the authority's certificate and key. Those of a file that was
// loaded are good.
func (a Authority) Parse() (*x509.Certificate, crypto.Signer, error) {
	cert, err := parseCA(a.Cert)
	if err != nil {
		return nil, nil, err
	}
	key, err := ParseKey(a.Key)
	if err != nil {
		return nil, nil, err
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(cert.PublicKey) {
		return nil, nil, errors.New("the key is not the certificate's")
	}
	return cert, key, nil
}

// parseCA reads the PEM of one certificate that may sign others.
func parseCA(text []byte) (*x509.Certificate, error) {
	der, err := onePEM(text, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	switch {
	case err != nil:
		return nil, errors.New("the certificate cannot be read")
	case !cert.IsCA || !cert.BasicConstraintsValid:
		return nil, errors.New("the certificate is not an authority's (CA:TRUE)")
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, errors.New("the certificate may not sign others (its key usage lacks keyCertSign)")
	case !cert.NotAfter.After(cert.NotBefore):
		return nil, errors.New("the certificate is never valid")
	}
	return cert, nil
}

// ParseKey reads a private key of EC or RSA, as kubeadm takes them: in PEM, of
// SEC 1, PKCS #1 or PKCS #8, without a passphrase. Errors say nothing of the key.
func ParseKey(text PrivateKey) (crypto.Signer, error) {
	der, err := onePEM(text, "EC PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return checkRSA(key)
	}
	switch key, _ := x509.ParsePKCS8PrivateKey(der); key := key.(type) {
	case *ecdsa.PrivateKey:
		return key, nil
	case *rsa.PrivateKey:
		return checkRSA(key)
	}
	return nil, errors.New("this is no private key of EC or RSA without a passphrase")
}

func checkRSA(key *rsa.PrivateKey) (crypto.Signer, error) {
	if n := key.N.BitLen(); n < 2048 {
		return nil, fmt.Errorf("the RSA key has %d bits; Kubernetes wants 2048 at least", n)
	}
	return key, nil
}

// onePEM returns the content of a text that is one PEM block of one of the types.
// An EC key may have its parameters before it, as openssl writes them.
func onePEM(text []byte, types ...string) ([]byte, error) {
	block, rest := pem.Decode(text)
	if block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	switch {
	case block == nil:
		return nil, fmt.Errorf("there is no PEM block (-----BEGIN %s-----)", types[0])
	case block.Headers["DEK-Info"] != "" || block.Type == "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("the key has a passphrase, which nobody could type on the first boot")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("there is more than one PEM block")
	}
	for _, t := range types {
		if block.Type == t {
			return block.Bytes, nil
		}
	}
	return nil, fmt.Errorf("this is PEM of another kind than %s", types[0])
}
