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

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
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

// complete makes what is missing of k, with keys that draw gives for a name.
func (k *Kubernetes) complete(draw func(name string) (*ecdsa.PrivateKey, error)) error {
	for _, a := range k.authorities() {
		if len(a.Cert) > 0 {
			continue
		}
		key, err := draw(a.name)
		if err == nil {
			*a.Authority, err = selfSigned(a.name, key, k.NotBefore(), k.NotAfter())
		}
		if err != nil {
			return fmt.Errorf("failed to make the authority %s: %w", a.name, err)
		}
	}
	return nil
}

// drawKey makes a new random key.
func drawKey(string) (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// drawServiceAccount makes a new random key, of the kind that kubeadm makes.
func drawServiceAccount() (PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("failed to draw a service account key: %w", err)
	}
	return encodeKey(key), nil
}

// placeholderKubernetes makes authorities and keys that everybody can make. Only
// the service account's key is of another kind than a real one: RSA keys cannot
// be derived in a line.
func placeholderKubernetes(s *Secrets) (*Kubernetes, error) {
	k := &Kubernetes{
		Created:        time.Date(2018, 1, 1, 0, 0, 0, 0, time.UTC),
		ServiceAccount: encodeKey(s.ECDSAKey("placeholder", "service account")),
	}
	return k, k.complete(func(name string) (*ecdsa.PrivateKey, error) { return s.ECDSAKey("placeholder", name), nil })
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
	return Authority{Cert: encodeCert(cert), Key: encodeKey(key)}, nil
}

// encodeCert returns a certificate as PEM, without what may have stood around it.
func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// encodeKey returns a key of ParseKey as PEM: SEC 1 or PKCS #1.
func encodeKey(key crypto.Signer) PrivateKey {
	block := &pem.Block{}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		block.Type, block.Bytes = "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			panic("secrets: " + err.Error()) // only curves that nothing here reads are unknown to it
		}
		block.Type, block.Bytes = "EC PRIVATE KEY", der
	}
	return pem.EncodeToMemory(block)
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
	if err := checkPublicKey(cert.PublicKey); err != nil {
		return nil, err
	}
	if bytes.Equal(cert.RawSubject, cert.RawIssuer) {
		if err := cert.CheckSignatureFrom(cert); err != nil {
			return nil, fmt.Errorf("the certificate's own signature (%v) cannot be trusted: it is of a weak kind, or not by its key", cert.SignatureAlgorithm)
		}
	}
	return cert, nil
}

// checkPublicKey refuses keys that kubeadm, or the clients of the cluster, would.
func checkPublicKey(key any) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < 2048 {
			return fmt.Errorf("the RSA key has %d bits; Kubernetes wants 2048 at least", n)
		}
		return nil
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P224() {
			return errors.New("the key is on the curve P-224, which TLS does not have: P-256 is the usual one")
		}
		return nil
	}
	return errors.New("the key is neither EC nor RSA, which are those that kubeadm can use")
}

// checkValidity compares a certificate's time with the day from which a cluster
// uses it. What is wrong comes first, and then what the user should know.
func checkValidity(cert *x509.Certificate, created time.Time) (problem, notice string) {
	const day = time.DateOnly
	switch {
	case cert.NotBefore.After(created.Add(24 * time.Hour)):
		return fmt.Sprintf("the certificate is valid from %s on, which is after the day of kubernetes.created, %s", cert.NotBefore.Format(day), created.Format(day)), ""
	case !cert.NotAfter.After(created):
		return fmt.Sprintf("the certificate was valid until %s, which is before the day of kubernetes.created, %s", cert.NotAfter.Format(day), created.Format(day)), ""
	case cert.NotAfter.Before(created.AddDate(1, 0, 0)):
		return "", fmt.Sprintf("the authority ends on %s, and the cluster with it", cert.NotAfter.Format(day))
	}
	return "", ""
}

// validOn returns an error if an authority is there and not valid on a day.
func (a Authority) validOn(created time.Time) error {
	if len(a.Cert) == 0 {
		return nil
	}
	cert, err := parseCA(a.Cert)
	if err != nil {
		return err
	}
	if problem, _ := checkValidity(cert, created); problem != "" {
		return errors.New(problem + ": give a certificate that is valid, or remove it and its key")
	}
	return nil
}

// decodeAuthority reads an authority of the file. It returns the certificate, or
// nil if something is wrong.
func decodeAuthority(report *strictyaml.Report, d authorityDoc, into *Authority) *x509.Certificate {
	if !d.Cert.Set() || !d.Key.Set() {
		return nil
	}
	cert, err := parseCA([]byte(d.Cert.V))
	if err != nil {
		report.Add(d.Cert.Span(), d.Cert.Path, err.Error(), certHint)
	}
	key, keyErr := ParseKey([]byte(d.Key.V))
	if keyErr != nil {
		report.Add(d.Key.Span(), d.Key.Path, keyErr.Error(), keyHint)
	}
	if err != nil || keyErr != nil {
		return nil
	}
	*into = Authority{Cert: encodeCert(cert.Raw), Key: encodeKey(key)}
	if _, _, err := into.Parse(); err != nil {
		report.Add(d.Key.Span(), d.Key.Path, err.Error(), "give the key and the certificate of the same authority")
		return nil
	}
	return cert
}

// ParseKey reads a private key of EC or RSA, as kubeadm takes them: in PEM, of
// SEC 1, PKCS #1 or PKCS #8, without a passphrase. Errors say nothing of the key.
func ParseKey(text PrivateKey) (crypto.Signer, error) {
	der, err := onePEM(text, "EC PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := parsePrivate(der)
	if err != nil {
		return nil, err
	}
	return key, checkPublicKey(key.Public())
}

// parsePrivate reads DER of any of the three forms: files whose label says another
// are not rare.
func parsePrivate(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	key, _ := x509.ParsePKCS8PrivateKey(der)
	if signer, ok := key.(crypto.Signer); ok {
		return signer, nil
	}
	return nil, errors.New("this is no private key of EC or RSA without a passphrase")
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
