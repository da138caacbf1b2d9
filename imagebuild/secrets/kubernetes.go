package secrets

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"time"
)

// Kubernetes is what a Kubernetes cluster's trust rests on. Everything that it
// signs is valid from [Kubernetes.NotBefore] to [Kubernetes.NotAfter].
type Kubernetes struct {
	// Created is the day, in UTC, on which the authorities were made.
	Created time.Time
	// CA signs the certificates of API servers and, by kubeadm, of clients.
	CA Authority
	// EtcdCA and FrontProxyCA are those of etcd and of the aggregation layer.
	EtcdCA, FrontProxyCA Authority
	// ClientCA signs the certificates of k3s's clients; kubeadm has CA for both.
	ClientCA Authority
	// ServiceAccount is the key that signs the tokens of service accounts, in PEM:
	// RSA of 2048 bits in PKCS #1 where piimg made it.
	ServiceAccount PrivateKey
}

// Authority is a certificate authority.
type Authority struct {
	Cert []byte     // PEM, one certificate
	Key  PrivateKey // PEM: SEC 1, PKCS #1 or PKCS #8; of EC or RSA
}

const (
	// backdate is how far before its making an authority becomes valid: a Pi has
	// no clock of its own, and may start days in the past.
	backdate = 7 * 24 * time.Hour
	// validYears is for how long the authorities are valid, as kubeadm's own are.
	validYears = 10
)

// NotBefore is when the authorities, and what they sign, become valid.
func (k *Kubernetes) NotBefore() time.Time { return k.Created.Add(-backdate) }

// NotAfter is when they cease to be.
func (k *Kubernetes) NotAfter() time.Time { return k.Created.AddDate(validYears, 0, 0) }

// namedAuthority is an authority with its key in the file, and its subject.
type namedAuthority struct {
	key, name string
	*Authority
}

// authorities lists them in the order of the file. The subjects are those of
// kubeadm's own.
func (k *Kubernetes) authorities() [4]namedAuthority {
	return [...]namedAuthority{
		{"ca", caName, &k.CA},
		{"etcdCA", etcdCAName, &k.EtcdCA},
		{"frontProxyCA", frontProxyName, &k.FrontProxyCA},
		{"clientCA", clientCAName, &k.ClientCA},
	}
}

// empty says whether nothing of it is there.
func (k *Kubernetes) empty() bool {
	for _, a := range k.authorities() {
		if len(a.Cert) > 0 {
			return false
		}
	}
	return k.Created.IsZero() && len(k.ServiceAccount) == 0
}

// Kubernetes returns the cluster's authorities and keys. The error, for a file
// that an older piimg made or a user began, is an *[IncompleteError].
func (s *Secrets) Kubernetes() (*Kubernetes, error) {
	if missing := s.Missing(); len(missing) > 0 {
		return nil, &IncompleteError{Path: s.path, Missing: missing}
	}
	return s.kubernetes, nil
}

// Missing lists the keys that the file lacks of what a Kubernetes cluster needs,
// such as kubernetes.ca; none for a complete one.
func (s *Secrets) Missing() []string {
	var keys []string
	if s.tokenSeed == nil {
		keys = append(keys, "tokenSeed")
	}
	if s.kubernetes == nil || s.kubernetes.empty() {
		return append(keys, "kubernetes")
	}
	if s.kubernetes.Created.IsZero() {
		keys = append(keys, "kubernetes.created")
	}
	for _, a := range s.kubernetes.authorities() {
		if len(a.Cert) == 0 {
			keys = append(keys, "kubernetes."+a.key)
		}
	}
	if len(s.kubernetes.ServiceAccount) == 0 {
		keys = append(keys, "kubernetes.serviceAccount")
	}
	return keys
}

// IncompleteError says that a secrets file lacks what a Kubernetes cluster needs.
type IncompleteError struct {
	Path    string
	Missing []string // keys of the file
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("%s lacks what a Kubernetes cluster needs (%s): piimg secrets init --secrets FILE adds it and keeps the rest",
		e.Path, strings.Join(e.Missing, ", "))
}

// Token is a bootstrap token (kubernetes.io, "Authenticating with Bootstrap
// Tokens"). It prints as <secret>.
type Token struct{ id, secret string }

// ID returns the token's public half, 6 characters.
func (t Token) ID() string { return t.id }

// Reveal returns the token itself: "abcdef.0123456789abcdef"; "" of the zero Token.
func (t Token) Reveal() string {
	if t == (Token{}) {
		return ""
	}
	return t.id + "." + t.secret
}

// Format prints a placeholder for every verb.
func (Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "<secret>") }

// MarshalText keeps the token out of JSON and YAML.
func (Token) MarshalText() ([]byte, error) { return []byte("<secret>"), nil }

const (
	tokenAlphabet  = "abcdefghijklmnopqrstuvwxyz0123456789"
	tokenIDLen     = 6
	tokenSecretLen = 16
)

// BootstrapToken derives the token by which a node joins its cluster: every node
// has one of its own, and a node that is added later needs no change of the file.
// It is the zero Token if there is no token seed: [Secrets.Kubernetes] is an error
// then.
func (s *Secrets) BootstrapToken(node string) Token {
	if s.tokens == nil {
		return Token{}
	}
	// Bytes from the last multiple of the alphabet's length on would make its first
	// letters likelier: they are passed over.
	const fair = 256 / len(tokenAlphabet) * len(tokenAlphabet)
	var out []byte
	for _, b := range expand(s.tokens, 8*(tokenIDLen+tokenSecretLen), "bootstrap token", node) {
		if len(out) < tokenIDLen+tokenSecretLen && int(b) < fair {
			out = append(out, tokenAlphabet[int(b)%len(tokenAlphabet)])
		}
	}
	return Token{id: string(out[:tokenIDLen]), secret: string(out[tokenIDLen:])}
}

// extractTokens makes the key that tokens are derived from. It is one of its own,
// so that tokens can be replaced without the rest.
func extractTokens(seed []byte) []byte {
	prk, err := hkdf.Extract(sha256.New, seed, []byte(extractSalt+" tokens"))
	if err != nil {
		panic("secrets: " + err.Error()) // as in newSecrets
	}
	return prk
}
