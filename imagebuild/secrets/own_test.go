package secrets

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// maker makes authorities as users do, with openssl.
type maker struct {
	t   *testing.T
	dir string
	n   int
}

func newMaker(t *testing.T) *maker {
	tooltest.Path(t, "openssl")
	return &maker{t: t, dir: t.TempDir()}
}

// run runs openssl, and returns what it writes to the file OUT.
func (m *maker) run(args ...string) string {
	m.t.Helper()
	m.n++
	out := filepath.Join(m.dir, fmt.Sprint(m.n))
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "OUT", out)
	}
	if text, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
		m.t.Fatalf("openssl %q: %v\n%s", args, err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b)
}

func (m *maker) file(content string) string {
	m.t.Helper()
	m.n++
	name := filepath.Join(m.dir, fmt.Sprint(m.n))
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return name
}

// ca signs a certificate for a key by itself.
func (m *maker) ca(key string, args ...string) string {
	m.t.Helper()
	return m.run(append([]string{"req", "-x509", "-new", "-key", m.file(key), "-subj", "/CN=our own", "-days", "3650", "-out", "OUT"}, args...)...)
}

// began is a file with an authority of the user's own, and a day, "" for none.
func began(day, cert, key string) []byte {
	text := "version: 1\ncluster: villagers\nseed: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nkubernetes:\n"
	if day != "" {
		text += "  created: " + day + "\n"
	}
	b := []byte(text + "  ca:\n")
	return appendBlock(appendBlock(b, "cert", []byte(cert)), "key", []byte(key))
}

// An authority of the user's own, in each form that openssl gives it, is kept when
// the rest is added.
func TestOwnAuthority(t *testing.T) {
	m := newMaker(t)
	ec := m.run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "OUT")
	p384 := m.run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", "OUT")
	rsa := m.run("genrsa", "-out", "OUT", "3072")
	cert := m.ca(ec)
	for name, c := range map[string]struct{ cert, key string }{
		"SEC 1":           {cert, ec},
		"with parameters": {cert, m.run("ec", "-in", m.file(ec), "-out", "OUT") + "\n"},
		"EC PARAMETERS":   {m.ca(p384), m.run("ecparam", "-name", "secp384r1", "-out", "OUT") + m.run("pkey", "-in", m.file(p384), "-out", "OUT", "-traditional")},
		"PKCS #8":         {m.ca(p384), p384},
		"RSA":             {m.ca(rsa), rsa},
		"PKCS #1":         {m.ca(rsa), m.run("rsa", "-in", m.file(rsa), "-traditional", "-out", "OUT")},
		"with its text":   {m.run("x509", "-in", m.file(cert), "-text", "-out", "OUT"), ec},
		"no SKI":          {m.ca(ec, "-addext", "subjectKeyIdentifier=none"), ec},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secrets.yaml")
			if err := os.WriteFile(path, began("", c.cert, c.key), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Load(path, Unlock{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Kubernetes(); err == nil || !strings.Contains(err.Error(), "kubernetes.etcdCA") || strings.Contains(err.Error(), "kubernetes.ca,") {
				t.Errorf("what is missing: %v", err)
			}
			if _, err = s.Complete(Encryption{}); err != nil {
				t.Fatal(err)
			}
			if s, err = Load(path, Unlock{}); err != nil {
				t.Fatal(err)
			}
			k, err := s.Kubernetes()
			if err != nil {
				t.Fatal(err)
			}
			if s.encode()[0] != '#' || s.seed != testSecrets("").seed {
				t.Error("the seed is another")
			}
			if out := m.run("x509", "-in", m.file(string(k.CA.Cert)), "-fingerprint", "-noout", "-out", "OUT"); out != m.run("x509", "-in", m.file(c.cert), "-fingerprint", "-noout", "-out", "OUT") {
				t.Error("the certificate is another")
			}
			if m.run("pkey", "-in", m.file(string(k.CA.Key)), "-outform", "DER", "-out", "OUT") != m.run("pkey", "-in", m.file(c.key), "-outform", "DER", "-out", "OUT") {
				t.Error("the key is another")
			}
			if head := string(k.CA.Key[:30]); !strings.HasPrefix(head, "-----BEGIN EC PRIVATE KEY") && !strings.HasPrefix(head, "-----BEGIN RSA PRIVATE KEY") {
				t.Errorf("the key is given as %s", head)
			}
		})
	}
}

// Authorities that kubeadm or the cluster's clients would refuse, or that are not
// what the user means, are refused, with the place and the remedy.
func TestBadOwnAuthority(t *testing.T) {
	m := newMaker(t)
	key := m.run("genrsa", "-out", "OUT", "2048")
	ec := m.run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "OUT")
	short := m.run("genrsa", "-out", "OUT", "1024")
	p224 := m.run("ecparam", "-name", "secp224r1", "-genkey", "-noout", "-out", "OUT")
	ed := m.run("genpkey", "-algorithm", "ed25519", "-out", "OUT")
	locked := m.run("rsa", "-in", m.file(key), "-aes128", "-passout", "pass:hunter2", "-out", "OUT")
	oldLocked := m.run("rsa", "-in", m.file(key), "-aes128", "-passout", "pass:hunter2", "-traditional", "-out", "OUT")
	cert := m.ca(key)
	leaf := m.ca(key, "-addext", "basicConstraints=critical,CA:FALSE")
	damaged := []byte(cert)
	block, _ := pem.Decode(damaged)
	block.Bytes[len(block.Bytes)-7] ^= 1
	other := m.ca(ec)
	for name, c := range map[string]struct{ day, cert, key, want string }{
		"no certificate":       {"", "hello\n", key, "kubernetes.ca.cert: there is no PEM block (-----BEGIN CERTIFICATE-----)"},
		"key as certificate":   {"", key, key, "kubernetes.ca.cert: this is PEM of another kind than CERTIFICATE"},
		"certificate as key":   {"", cert, cert, "kubernetes.ca.key: this is PEM of another kind"},
		"a chain":              {"", cert + other, key, "kubernetes.ca.cert: there is more than one PEM block"},
		"of no authority":      {"", leaf, key, "kubernetes.ca.cert: the certificate is not an authority's (CA:TRUE)"},
		"may not sign":         {"", m.ca(key, "-addext", "keyUsage=digitalSignature"), key, "its key usage lacks keyCertSign"},
		"another key":          {"", cert, ec, "kubernetes.ca.key: the key is not the certificate's"},
		"a short key":          {"", m.ca(short), short, "kubernetes.ca.cert: the RSA key has 1024 bits"},
		"P-224":                {"", m.ca(p224), p224, "kubernetes.ca.cert: the key is on the curve P-224"},
		"Ed25519":              {"", m.ca(ed), ed, "kubernetes.ca.cert: the key is neither EC nor RSA"},
		"SHA-1":                {"", m.ca(key, "-sha1"), key, "kubernetes.ca.cert: the certificate's own signature (SHA1-RSA) cannot be trusted"},
		"a damaged signature":  {"", string(pem.EncodeToMemory(block)), key, "kubernetes.ca.cert: the certificate's own signature"},
		"a locked key":         {"", cert, locked, "kubernetes.ca.key: the key has a passphrase"},
		"an older locked key":  {"", cert, oldLocked, "kubernetes.ca.key: the key has a passphrase"},
		"half a key":           {"", cert, key[:200] + "\n-----END PRIVATE KEY-----\n", "kubernetes.ca.key: "},
		"ended":                {"2046-01-01", cert, key, "kubernetes.ca.cert: the certificate was valid until 20"},
		"not begun":            {"2016-01-01", cert, key, "kubernetes.ca.cert: the certificate is valid from 20"},
		"no key":               {"", cert, "", "kubernetes.ca.key: there is no PEM block"},
		"an impossible day":    {"2026-02-30", cert, key, "kubernetes.created: this is no date"},
		"the same for another": {"", cert, key, "this authority has the same key as ca"},
	} {
		t.Run(name, func(t *testing.T) {
			data := began(c.day, c.cert, c.key)
			if strings.HasPrefix(name, "the same") {
				data = append(data, "  etcdCA:\n"...)
				data = appendBlock(appendBlock(data, "cert", []byte(c.cert)), "key", []byte(c.key))
			}
			_, err := parse("secrets.yaml", data)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "secrets.yaml:") || !strings.Contains(err.Error(), "fix: ") {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			for _, k := range []string{key, ec, short, p224, ed, locked, oldLocked} {
				for line := range strings.Lines(k) {
					if len(line) > 20 && line[0] != '-' && strings.Contains(err.Error(), line[:12]) {
						t.Fatalf("the error shows a key: %v", err)
					}
				}
			}
		})
	}
}

// An authority that ends soon is told of; one that has ended is not taken up.
func TestOwnAuthorityEnds(t *testing.T) {
	m := newMaker(t)
	key := m.run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "OUT")
	cert := m.ca(key, "-days", "90")
	block, _ := pem.Decode([]byte(cert))
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parse("secrets.yaml", began(parsed.NotBefore.Format(time.DateOnly), cert, key))
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Notices(); len(n) != 1 || !strings.Contains(n[0], "kubernetes.ca: the authority ends on "+parsed.NotAfter.Format(time.DateOnly)) {
		t.Errorf("notices %q", n)
	}
	if s, err = parse("secrets.yaml", began("", cert, key)); err != nil {
		t.Fatal(err)
	}
	if _, err = s.completed(parsed.NotAfter.AddDate(0, 0, 2)); err == nil || !strings.Contains(err.Error(), "secrets.yaml: kubernetes.ca: the certificate was valid until") {
		t.Errorf("got %v", err)
	}
}

// The pin of an authority is what kubeadm's documentation computes with openssl.
func TestPin(t *testing.T) {
	m := newMaker(t)
	s, k := created(t)
	d, err := s.Describe(false)
	if err != nil {
		t.Fatal(err)
	}
	cert := m.file(string(k.CA.Cert))
	out, err := exec.Command("sh", "-c", "openssl x509 -pubkey -noout -in "+cert+" | openssl pkey -pubin -outform der | openssl dgst -sha256 -hex -r").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "sha256:" + strings.Fields(string(out))[0]; d.Authorities[0].Pin != want {
		t.Errorf("%s, and openssl says %s", d.Authorities[0].Pin, want)
	}
	if d.Authorities[0].Kind != "EC P-256" || d.ServiceAccount.Kind != "RSA 2048" || d.Authorities[0].Key != "" || len(d.Authorities) != 4 {
		t.Errorf("%+v", d)
	}
}
