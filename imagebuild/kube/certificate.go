package kube

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"

	"github.com/piimg/piimg/imagebuild/secrets"
)

// pair is a certificate and its private key, both PEM.
type pair struct {
	cert []byte
	key  secrets.PrivateKey
}

// clientCertificate returns a certificate by which its holder is the user, and in
// the group, to the API server. It is good for as long as the authority is.
//
// The key is derived, and the signature is deterministic: ECDSA by RFC 6979, RSA
// by PKCS #1 v1.5. So the same secrets give the same bytes.
func clientCertificate(s *secrets.Secrets, ca secrets.Authority, user, group string) (pair, error) {
	parent, signer, err := ca.Parse()
	if err != nil {
		return pair{}, err
	}
	key := s.ECDSAKey("client certificate", user, group)
	serial := s.Derive(16, "client certificate serial", user, group, string(parent.RawSubjectPublicKeyInfo))
	serial[0] &= 0x7f // RFC 5280, section 4.1.2.2: positive, at most 20 bytes
	serial[15] |= 1   // and not zero
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: user, Organization: []string{group}},
		NotBefore:    parent.NotBefore,
		NotAfter:     parent.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		// as kubeadm's own, whose certificates say that they are no authorities
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(nil, template, parent, key.Public(), signer)
	if err != nil {
		return pair{}, fmt.Errorf("failed to sign the certificate of %s: %w", user, err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return pair{}, fmt.Errorf("failed to encode the key of %s: %w", user, err)
	}
	return pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
	}, nil
}

// caHash returns what nodes pin of the cluster's authority: the hash of its
// public key, as kubeadm's --discovery-token-ca-cert-hash has it (RFC 7469).
func caHash(ca secrets.Authority) (string, error) {
	cert, _, err := ca.Parse()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// publicKey returns the public half of a private key, PEM in the form PKIX.
func publicKey(private secrets.PrivateKey) ([]byte, error) {
	signer, err := secrets.ParseKey(private)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
