package secrets

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// writeKeys writes a node's keys as they go into /etc/ssh.
func writeKeys(t *testing.T, keys HostKeys) string {
	t.Helper()
	dir := t.TempDir()
	for _, k := range keys {
		for name, data := range map[string]string{k.Name: string(k.Private), k.Name + ".pub": k.Public + "\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestOpenSSHReadsHostKeys(t *testing.T) {
	keygen := tooltest.Path(t, "ssh-keygen")
	s := testSecrets("villagers")
	for _, host := range []string{"isabelle", "a", strings.Repeat("n", 63)} {
		keys, err := s.HostKeys(host)
		if err != nil {
			t.Fatal(err)
		}
		dir := writeKeys(t, keys)
		for _, k := range keys {
			out, err := exec.Command(keygen, "-y", "-f", filepath.Join(dir, k.Name)).CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", k.Name, err, out)
			}
			if got := strings.TrimSpace(string(out)); got != k.Public {
				t.Errorf("ssh-keygen says %q, we say %q", got, k.Public)
			}
			if out, err := exec.Command(keygen, "-l", "-f", filepath.Join(dir, k.Name+".pub")).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		}
	}
}

func TestSSHDTakesHostKeys(t *testing.T) {
	sshd := tooltest.Path(t, "sshd")
	keys, err := testSecrets("villagers").HostKeys("isabelle")
	if err != nil {
		t.Fatal(err)
	}
	dir := writeKeys(t, keys)
	args := []string{"-t", "-f", os.DevNull}
	for _, k := range keys {
		args = append(args, "-h", filepath.Join(dir, k.Name))
	}
	out, err := exec.Command(sshd, args...).CombinedOutput()
	if err != nil && strings.Contains(string(out), "privilege separation") {
		t.Skipf("sshd cannot run here: %s", out)
	}
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("sshd -t: %v\n%s", err, out)
	}
}

// TestSSHReadsHostKeys reads the keys by an implementation that checks the
// padding, and uses them.
func TestSSHReadsHostKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		host := rapid.StringMatching(`[a-z0-9-]{1,63}`).Draw(t, "host")
		var seed [SeedSize]byte
		copy(seed[:], rapid.SliceOfN(rapid.Byte(), SeedSize, SeedSize).Draw(t, "seed"))
		s := newSecrets("", "c", seed)
		keys, err := s.HostKeys(host)
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.HostKeys(host)
		if err != nil {
			t.Fatal(err)
		}
		for i, k := range keys {
			if !bytes.Equal(k.Private, again[i].Private) || k.Public != again[i].Public {
				t.Fatalf("%s is not the same twice", k.Name)
			}
			raw, err := ssh.ParseRawPrivateKey(k.Private)
			if err != nil {
				t.Fatalf("%s: %v", k.Name, err)
			}
			switch raw.(type) {
			case *ed25519.PrivateKey, *ecdsa.PrivateKey:
			default:
				t.Fatalf("%s is a %T", k.Name, raw)
			}
			signer, err := ssh.NewSignerFromKey(raw)
			if err != nil {
				t.Fatal(err)
			}
			public, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(k.Public))
			if err != nil || comment != "root@"+host {
				t.Fatalf("%q: %v", k.Public, err)
			}
			if !bytes.Equal(public.Marshal(), signer.PublicKey().Marshal()) {
				t.Fatalf("%s: the public key is of another private key", k.Name)
			}
			if want := public.Type() + " "; !strings.HasPrefix(keys.Public()[i], want) || strings.Contains(keys.Public()[i], "@") {
				t.Fatalf("public form %q", keys.Public()[i])
			}
		}
	})
}

func TestNodesHaveKeysOfTheirOwn(t *testing.T) {
	s := testSecrets("villagers")
	seen := map[string]string{}
	for i := range 50 {
		host := fmt.Sprint("n", i)
		keys, err := s.HostKeys(host)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range keys.Public() {
			if other := seen[p]; other != "" {
				t.Fatalf("%s and %s share a key", host, other)
			}
			seen[p] = host
		}
	}
}
