package secrets

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

// text is a string with its place in the file.
type text = strictyaml.Value[string]

// document is secrets.yaml as it stands in the file. Keys that came later are
// optional in it: a file of any piimg stays readable, and one that a user began
// with an authority of their own can be completed.
type document struct {
	Version strictyaml.Value[int] `json:"version" jsonschema:"example=1"`
	Cluster text                  `json:"cluster" jsonschema:"example=villagers"`
	Seed    text                  `json:"seed" jsonschema:"example=what openssl rand -base64 32 prints"`

	TokenSeed  text                            `json:"tokenSeed,omitempty"`
	Recipients strictyaml.Value[[]text]        `json:"recipients,omitempty"`
	Kubernetes strictyaml.Value[kubernetesDoc] `json:"kubernetes,omitempty"`
}

type kubernetesDoc struct {
	Created        text                           `json:"created,omitempty"`
	CA             strictyaml.Value[authorityDoc] `json:"ca,omitempty"`
	EtcdCA         strictyaml.Value[authorityDoc] `json:"etcdCA,omitempty"`
	FrontProxyCA   strictyaml.Value[authorityDoc] `json:"frontProxyCA,omitempty"`
	ClientCA       strictyaml.Value[authorityDoc] `json:"clientCA,omitempty"`
	ServiceAccount strictyaml.Value[keyDoc]       `json:"serviceAccount,omitempty"`
}

type authorityDoc struct {
	Cert text `json:"cert"`
	Key  text `json:"key"`
}

type keyDoc struct {
	Key text `json:"key"`
}

// parse reads the content of a file that is not encrypted. Name is what problems
// call the file.
func parse(name string, data []byte) (*Secrets, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, fmt.Errorf("%s: the file is empty: restore it from a backup; or, if it never held anything, remove it, and run piimg secrets init", name)
	}
	root, report := strictyaml.Parse(name, data)
	if root == nil {
		shieldText(report, data)
		return nil, report.Err()
	}
	if root.Kind != strictyaml.Map {
		shieldValue(report, root) // a passphrase, say, or an identity
	}
	shield(report, root)
	var d document
	strictyaml.Decode(report, root, &d)
	if d.Version.Set() && d.Version.V != version {
		report.Add(d.Version.Span(), d.Version.Path, fmt.Sprintf("version %d is not known to this piimg, which reads version %d", d.Version.V, version),
			"use the piimg that made the file, or a newer one")
	}
	if d.Cluster.Set() {
		const hint = "write the name that nodes.yaml has as cluster.name"
		switch {
		case d.Cluster.V == "":
			report.Add(d.Cluster.Span(), d.Cluster.Path, "the name is empty", hint)
		case len(d.Cluster.V) > longest:
			report.Add(d.Cluster.Span(), d.Cluster.Path, "the name is too long", hint)
		}
	}
	var seed, tokenSeed [SeedSize]byte
	if d.Seed.Set() {
		decodeSeed(report, d.Seed, &seed, "with other host keys")
	}
	if d.TokenSeed.Set() {
		decodeSeed(report, d.TokenSeed, &tokenSeed, "with other tokens, when you run piimg secrets init")
	}
	var k *Kubernetes
	var notices []string
	if d.Kubernetes.Set() {
		k, notices = decodeKubernetes(report, d.Kubernetes.V)
	}
	var recipients []string
	for _, r := range d.Recipients.V {
		if _, err := parseRecipient(r.V); r.Set() && err != nil {
			report.Add(r.Span(), r.Path, err.Error(), "remove it, and encrypt the file anew with piimg secrets rotate --recipient")
		}
		recipients = append(recipients, r.V)
	}
	if err := report.Err(); err != nil {
		return nil, err
	}
	s := newSecrets(name, d.Cluster.V, seed)
	if d.TokenSeed.Set() {
		s.setTokenSeed(tokenSeed[:])
	}
	s.kubernetes, s.recipients = k, recipients
	for _, n := range notices {
		s.notices = append(s.notices, name+": "+n)
	}
	return s, nil
}

// decodeKubernetes reads authorities and keys, piimg's own or the user's.
func decodeKubernetes(report *strictyaml.Report, d kubernetesDoc) (k *Kubernetes, notices []string) {
	k = &Kubernetes{}
	if d.Created.Set() {
		var err error
		if k.Created, err = time.Parse(time.DateOnly, d.Created.V); err != nil {
			report.Add(d.Created.Span(), d.Created.Path, "this is no date", "write the day on which the authorities were made, such as 2026-11-23")
		}
	}
	docs := [...]strictyaml.Value[authorityDoc]{d.CA, d.EtcdCA, d.FrontProxyCA, d.ClientCA}
	seen := map[string]string{} // public key: whose
	for i, a := range k.authorities() {
		doc := docs[i]
		if !doc.Set() {
			continue
		}
		cert := decodeAuthority(report, doc.V, a.Authority)
		if cert == nil {
			continue
		}
		if other := seen[string(cert.RawSubjectPublicKeyInfo)]; other != "" {
			report.Add(doc.V.Cert.Span(), doc.V.Cert.Path, "this authority has the same key as "+other+": whom one of them trusts, both would",
				"give each authority a key of its own, or remove "+a.key+" and run piimg secrets init, which makes one")
		}
		seen[string(cert.RawSubjectPublicKeyInfo)] = a.key
		if k.Created.IsZero() {
			continue
		}
		problem, notice := checkValidity(cert, k.Created)
		if problem != "" {
			report.Add(doc.V.Cert.Span(), doc.V.Cert.Path, problem, "give a certificate that is valid on that day, or write the right day as kubernetes.created")
		}
		if notice != "" {
			notices = append(notices, "kubernetes."+a.key+": "+notice)
		}
	}
	if key := d.ServiceAccount.V.Key; key.Set() {
		signer, err := ParseKey([]byte(key.V))
		if err != nil {
			report.Add(key.Span(), key.Path, err.Error(), keyHint)
		} else {
			k.ServiceAccount = encodeKey(signer)
		}
	}
	return k, notices
}

const (
	keyHint  = "restore the file from a backup, or give a private key of EC or RSA in PEM, without a passphrase"
	certHint = "restore the file from a backup, or give the certificate of an authority in PEM"
)

func decodeSeed(report *strictyaml.Report, v text, seed *[SeedSize]byte, loss string) {
	hint := "restore the file from a backup; or remove it, and piimg makes a new one, " + loss
	b, err := base64.StdEncoding.Strict().DecodeString(v.V)
	switch {
	case err != nil || strings.ContainsAny(v.V, "\r\n"):
		report.Add(v.Span(), v.Path, "the seed is not base64", hint)
	case len(b) != SeedSize:
		report.Add(v.Span(), v.Path, fmt.Sprintf("the seed has %d bytes; it must have %d", len(b), SeedSize), hint)
	case bytes.Equal(b, make([]byte, SeedSize)):
		report.Add(v.Span(), v.Path, "the seed is all zeros, which is no secret", hint)
	default:
		copy(seed[:], b)
	}
}

// encode returns the content of the file, not encrypted.
func (s *Secrets) encode() []byte {
	b := fmt.Appendf(nil, `# The secrets of the cluster %[2]s, made by piimg.
#
# The SSH host keys of the nodes, the salts of their passwords and other values
# that must be unique are derived from the seed, the tokens by which nodes join
# from the tokenSeed. Keep this file, and a backup of it: without it the same
# nodes.yaml gives other images, SSH warns of changed host keys, and no node can be
# added to a running cluster. Keep it to yourself: whoever reads it owns the
# cluster. Do not commit it.
version: %[1]d
cluster: %[2]q
seed: %[3]s
`, version, s.cluster, base64.StdEncoding.EncodeToString(s.seed[:]))
	if s.tokenSeed != nil {
		b = fmt.Appendf(b, "tokenSeed: %s\n", base64.StdEncoding.EncodeToString(s.tokenSeed))
	}
	if len(s.recipients) > 0 {
		b = append(b, "recipients: # who can decrypt this file\n"...)
		for _, r := range s.recipients {
			b = fmt.Appendf(b, "  - %q\n", r)
		}
	}
	if k := s.kubernetes; k != nil {
		b = append(b, "kubernetes:"...)
		if k.empty() {
			return append(b, " {}\n"...)
		}
		b = append(b, '\n')
		if !k.Created.IsZero() {
			b = fmt.Appendf(b, "  created: %q\n", k.Created.Format(time.DateOnly))
		}
		for _, a := range k.authorities() {
			if len(a.Cert) > 0 {
				b = fmt.Appendf(b, "  %s: # %s\n", a.key, a.name)
				b = appendBlock(b, "cert", a.Cert)
				b = appendBlock(b, "key", a.Key)
			}
		}
		if len(k.ServiceAccount) > 0 {
			b = append(b, "  serviceAccount:\n"...)
			b = appendBlock(b, "key", k.ServiceAccount)
		}
	}
	return b
}

// appendBlock appends PEM as YAML's literal block, of the third level.
func appendBlock(b []byte, key string, text []byte) []byte {
	b = fmt.Appendf(b, "    %s: |\n", key)
	for line := range strings.Lines(string(text)) {
		b = append(b, "      "...)
		b = append(b, line...)
	}
	return b
}
