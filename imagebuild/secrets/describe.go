package secrets

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"
)

// Description says what secrets there are, without being one. Its JSON form is
// stable.
type Description struct {
	Cluster   string `json:"cluster"`
	Encrypted bool   `json:"encrypted"`
	// Recipients are those of an encrypted file, if piimg encrypted it.
	Recipients []string `json:"recipients,omitempty"`
	// Created is the day on which the authorities were made, such as 2026-11-23.
	Created     string      `json:"created,omitempty"`
	Authorities []Described `json:"authorities,omitempty"`
	// ServiceAccount has no subject, and no end.
	ServiceAccount *Described `json:"serviceAccount,omitempty"`
	// Missing are keys of the file that a Kubernetes cluster needs.
	Missing []string `json:"missing,omitempty"`
}

// Described says what a key is, and the certificate that belongs to it.
type Described struct {
	Name      string     `json:"name"` // as in the file: ca, etcdCA, …
	Subject   string     `json:"subject,omitempty"`
	Kind      string     `json:"kind"` // such as EC P-256
	Pin       string     `json:"pin"`  // sha256: and the hash of the public key in hex, as kubeadm has it
	NotBefore *time.Time `json:"notBefore,omitempty"`
	NotAfter  *time.Time `json:"notAfter,omitempty"`
	// Key is the private key in PEM, if it was to be revealed.
	Key string `json:"key,omitempty"`
}

// Describe says what secrets there are. The private keys are in it only with
// reveal, which shows them on purpose; the seeds never.
func (s *Secrets) Describe(reveal bool) (*Description, error) {
	d := &Description{Cluster: s.cluster, Encrypted: s.encrypted, Missing: s.Missing()}
	if s.encrypted { // and not decrypted by age since
		d.Recipients = s.recipients
	}
	if s.kubernetes == nil {
		return d, nil
	}
	if !s.kubernetes.Created.IsZero() {
		d.Created = s.kubernetes.Created.Format(time.DateOnly)
	}
	for _, a := range s.kubernetes.authorities() {
		if len(a.Cert) == 0 {
			continue
		}
		cert, _, err := a.Parse()
		if err != nil {
			return nil, fmt.Errorf("kubernetes.%s: %w", a.key, err)
		}
		one, err := describe(a.key, cert.PublicKey, a.Key, reveal)
		if err != nil {
			return nil, err
		}
		one.Subject, one.NotBefore, one.NotAfter = cert.Subject.String(), &cert.NotBefore, &cert.NotAfter
		d.Authorities = append(d.Authorities, one)
	}
	if key := s.kubernetes.ServiceAccount; len(key) > 0 {
		signer, err := ParseKey(key)
		if err != nil {
			return nil, fmt.Errorf("kubernetes.serviceAccount: %w", err)
		}
		one, err := describe("serviceAccount", signer.Public(), key, reveal)
		if err != nil {
			return nil, err
		}
		d.ServiceAccount = &one
	}
	return d, nil
}

func describe(name string, public crypto.PublicKey, key PrivateKey, reveal bool) (Described, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Described{}, fmt.Errorf("kubernetes.%s: %w", name, err)
	}
	sum := sha256.Sum256(der)
	d := Described{Name: name, Pin: "sha256:" + hex.EncodeToString(sum[:])}
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		d.Kind = "EC " + public.Curve.Params().Name
	case *rsa.PublicKey:
		d.Kind = fmt.Sprintf("RSA %d", public.N.BitLen())
	}
	if reveal {
		d.Key = string(key)
	}
	return d, nil
}
