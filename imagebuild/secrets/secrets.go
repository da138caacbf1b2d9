// Package secrets keeps what makes a cluster's images its own, in a file beside
// nodes.yaml: random seeds, from which everything that must be secret or unique,
// and still be the same in the next build, is derived; and the authorities that
// sign a Kubernetes cluster's certificates.
//
// Making such a file ([Create], [Secrets.Complete], [Secrets.Rotate]) is the only
// thing in piimg that draws random numbers and looks at the clock. Salts, UUIDs,
// keys and tokens come from the seeds by HKDF-SHA256 (RFC 5869), each under labels
// of its own, so that none tells anything about another. The derived values are
// part of the format: testdata/vectors.json pins them, since a version that
// derived other ones would change every image and every host key.
//
// The file may be encrypted by age (age-encryption.org/v1): see [Encryption] and
// [Unlock].
//
// Nothing in this package prints a secret: not the types, not the errors.
package secrets

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// SeedSize is the length of a seed in bytes.
	SeedSize = 32
	// MaxDerive is how many bytes Derive can give for one list of labels.
	MaxDerive = 255 * sha256.Size

	version = 1
	// extractSalt separates what piimg derives from any other use of a seed.
	extractSalt = "piimg secrets version 1"
	// cryptAlphabet is that of crypt(5), in the order of its values.
	cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Secrets are the secrets of one cluster. They do not change once they are made.
type Secrets struct {
	path    string
	cluster string
	seed    [SeedSize]byte
	prk     []byte // HKDF's pseudorandom key
	// tokenSeed, and the key made of it, are nil in a file of an older piimg; so is
	// kubernetes, of which parts may be missing in a file that a user began.
	tokenSeed  []byte
	tokens     []byte
	kubernetes *Kubernetes
	recipients []string   // that the file was last encrypted to, by piimg
	encrypted  bool       // whether the file was, when it was read
	encryption Encryption // of the file, as far as it is known
	notices    []string
}

func newSecrets(path, cluster string, seed [SeedSize]byte) *Secrets {
	prk, err := hkdf.Extract(sha256.New, seed[:], []byte(extractSalt))
	if err != nil {
		panic("secrets: " + err.Error()) // Go's FIPS mode refuses weak keys and hashes, and these are neither
	}
	return &Secrets{path: path, cluster: cluster, seed: seed, prk: prk}
}

// Placeholder returns secrets that everybody knows, for showing what a build
// would do before the cluster has secrets of its own. Nothing that is made with
// them may be used.
func Placeholder(cluster string) *Secrets {
	s := newSecrets("", cluster, [SeedSize]byte{})
	s.setTokenSeed(s.seed[:])
	k, err := placeholderKubernetes(s)
	if err != nil {
		panic("secrets: " + err.Error()) // the keys are always the same, and good
	}
	s.kubernetes = k
	return s
}

func (s *Secrets) setTokenSeed(seed []byte) {
	s.tokenSeed, s.tokens = bytes.Clone(seed), extractTokens(seed)
}

// Path is the file that the secrets are kept in.
func (s *Secrets) Path() string { return s.path }

// Cluster is the name of the cluster that the secrets belong to.
func (s *Secrets) Cluster() string { return s.cluster }

// Notices are things that the user should know about the file, one sentence each.
func (s *Secrets) Notices() []string { return s.notices }

// CheckCluster returns an error if the secrets belong to another cluster.
func (s *Secrets) CheckCluster(name string) error {
	if s.cluster == name {
		return nil
	}
	return &ClusterError{Path: s.path, Have: s.cluster, Want: name}
}

// ClusterError says that secrets belong to another cluster than they are used for.
type ClusterError struct {
	Path       string // of the secrets
	Have, Want string // names of clusters
}

func (e *ClusterError) Error() string {
	return fmt.Sprintf("%s holds the secrets of the cluster %q, and nodes.yaml names %q: name its own file with --secrets, "+
		"or, if the cluster was renamed, change cluster: in the secrets", e.Path, e.Have, e.Want)
}

// Format prints the cluster's name for every verb, and no secret.
func (s *Secrets) Format(f fmt.State, _ rune) {
	name := "none"
	if s != nil {
		name = s.cluster
	}
	_, _ = fmt.Fprintf(f, "secrets of %s", name)
}

// MarshalText keeps the secrets out of JSON and YAML.
func (s *Secrets) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v", s), nil }

// Derive returns n bytes, at most [MaxDerive], that depend on the seed and the
// labels alone. Lists of labels that differ in any way give unrelated bytes;
// for the same labels, fewer bytes are the beginning of more. Derive panics if n
// is out of range, which is a mistake in the calling code.
func (s *Secrets) Derive(n int, labels ...string) []byte {
	if n < 0 || n > MaxDerive {
		panic(fmt.Sprintf("secrets: cannot derive %d bytes", n))
	}
	if n == 0 {
		return nil
	}
	return expand(s.prk, n, labels...)
}

// expand is HKDF-Expand with labels.
func expand(prk []byte, n int, labels ...string) []byte {
	// Each label goes with its length before it, so that no two lists give the
	// same info.
	var info []byte
	for _, l := range labels {
		info = binary.BigEndian.AppendUint64(info, uint64(len(l)))
		info = append(info, l...)
	}
	out, err := hkdf.Expand(sha256.New, prk, string(info), n)
	if err != nil {
		panic("secrets: " + err.Error()) // see newSecrets; n is in range
	}
	return out
}

// Salt returns a salt of 16 characters, 96 bits, for crypt(5).
func (s *Secrets) Salt(labels ...string) string {
	b := s.Derive(12, append([]string{"salt"}, labels...)...)
	return base64.NewEncoding(cryptAlphabet).EncodeToString(b)
}

// UUID returns a UUID of RFC 9562's version 5 form, in lower case.
func (s *Secrets) UUID(labels ...string) string {
	b := s.Derive(16, append([]string{"uuid"}, labels...)...)
	b[6] = b[6]&0x0f | 0x50
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// PrivateKey is the content of a private key file. It prints as <secret>.
type PrivateKey []byte

// Format prints a placeholder for every verb.
func (PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "<secret>") }

// MarshalText keeps the key out of JSON and YAML.
func (PrivateKey) MarshalText() ([]byte, error) { return []byte("<secret>"), nil }
