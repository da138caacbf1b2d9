package secrets

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

func created(t *testing.T) (*Secrets, *Kubernetes) {
	t.Helper()
	s, err := Create(filepath.Join(t.TempDir(), "secrets.yaml"), "villagers")
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	return s, k
}

// What is read back is what was made.
func TestKubernetesRoundTrip(t *testing.T) {
	s, k := created(t)
	again, err := Load(s.Path(), Unlock{})
	if err != nil {
		t.Fatal(err)
	}
	k2, err := again.Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.encode(), again.encode()) || !k.Created.Equal(k2.Created) {
		t.Error("the file reads back as another")
	}
	if a, b := s.BootstrapToken("blathers"), again.BootstrapToken("blathers"); a != b {
		t.Error("the token of a node is another one after reading")
	}
	if _, _, err := k2.CA.Parse(); err != nil {
		t.Error(err)
	}
}

func TestBootstrapToken(t *testing.T) {
	s := Placeholder("villagers")
	form := regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)
	seen := map[string]bool{}
	for _, node := range []string{"isabelle", "blathers", "tom-nook", ""} {
		token := s.BootstrapToken(node)
		if !form.MatchString(token.Reveal()) || seen[token.ID()] || !strings.HasPrefix(token.Reveal(), token.ID()+".") {
			t.Errorf("the token of %q is of the wrong form, or not its own", node)
		}
		seen[token.ID()] = true
	}
}

// The authorities are what OpenSSL takes for such, valid before the day on which
// they were made, and like kubeadm's own.
func TestAuthorities(t *testing.T) {
	tooltest.Need(t, "openssl")
	_, made := created(t)
	placeholder, err := Placeholder("villagers").Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*Kubernetes{made, placeholder} {
		for name, a := range map[string]Authority{caName: k.CA, etcdCAName: k.EtcdCA, frontProxyName: k.FrontProxyCA, clientCAName: k.ClientCA} {
			file := filepath.Join(t.TempDir(), "ca.crt")
			if err := os.WriteFile(file, a.Cert, 0o600); err != nil {
				t.Fatal(err)
			}
			at := k.NotBefore().Add(time.Hour)
			out, err := exec.Command("openssl", "verify", "-x509_strict", "-attime", strconv.FormatInt(at.Unix(), 10), "-CAfile", file, file).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
			text, err := exec.Command("openssl", "x509", "-noout", "-text", "-in", file).CombinedOutput()
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"CN = " + name, "CA:TRUE", "Digital Signature, Key Encipherment, Certificate Sign", "DNS:" + name} {
				if !strings.Contains(string(text), want) {
					t.Errorf("%s: no %q in\n%s", name, want, text)
				}
			}
			if _, _, err := a.Parse(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// What is wrong with authorities of the user's own is said with its place, and
// without the key.
func TestBadAuthorities(t *testing.T) {
	s, k := created(t)
	good := string(s.encode())
	line := strings.Split(string(k.CA.Key), "\n")[1]
	for name, c := range map[string]struct{ old, new, want string }{
		"cut key":     {line, line[:20], "kubernetes.ca.key"},
		"no pem":      {"-----BEGIN RSA PRIVATE KEY-----", "RSA", "kubernetes.serviceAccount.key"},
		"swapped":     {"  etcdCA:", "  etcdca:", "etcdca"},
		"other's key": {string(indented(k.CA.Key)), string(indented(k.EtcdCA.Key)), "the key is not the certificate's"},
		"bad date":    {"created: \"", "created: \"x", "this is no date"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(good, c.old, c.new, 1)
			if bad == good {
				t.Fatal("nothing was replaced")
			}
			_, err := parse("secrets.yaml", []byte(bad))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			for _, l := range strings.Split(string(k.CA.Key)+string(k.ServiceAccount), "\n") {
				if len(l) > 10 && !strings.HasPrefix(l, "-") && strings.Contains(err.Error(), l[:10]) {
					t.Fatalf("the error shows a key: %v", err)
				}
			}
		})
	}
}

// A file that an older piimg made is read, and says what it lacks when asked.
func TestOlderFile(t *testing.T) {
	s, err := parse("old.yaml", []byte("version: 1\ncluster: villagers\nseed: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Kubernetes(); err == nil || !strings.Contains(err.Error(), "old.yaml") || !strings.Contains(err.Error(), "piimg secrets init") {
		t.Errorf("got %v", err)
	}
}

func indented(text []byte) []byte { return appendBlock(nil, "key", text) }
