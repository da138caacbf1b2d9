package secrets

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// write makes a file of secrets.
func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secrets.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, path string) *Secrets {
	t.Helper()
	s, err := Load(path, Unlock{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const older = "# mine\nversion: 1\ncluster: villagers\nseed: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"

func TestCompleteAnOlderFile(t *testing.T) {
	path := write(t, []byte(older))
	before := load(t, path)
	after, err := before.Complete(Encryption{})
	if err != nil {
		t.Fatal(err)
	}
	again := load(t, path)
	if !reflect.DeepEqual(after, again) {
		t.Error("what was written is not what is read")
	}
	if again.seed != before.seed || again.Cluster() != "villagers" || len(again.Missing()) != 0 {
		t.Errorf("another seed or cluster, or something is missing: %q", again.Missing())
	}
	if runtime.GOOS != "windows" {
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := again.Complete(Encryption{}); err != nil || same != again {
		t.Errorf("a complete file was completed (%v)", err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, content) {
		t.Error("a complete file was written")
	}
	if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

// A part is made anew, and nothing else.
func TestRotate(t *testing.T) {
	identity, recipient := newIdentity(t)
	for part, changed := range map[Part]string{
		Tokens: "tokenSeed", ServiceAccount: "serviceAccount", Authorities: "ca etcdCA frontProxyCA clientCA", Seed: "seed",
		Everything: "tokenSeed serviceAccount ca etcdCA frontProxyCA clientCA seed",
	} {
		t.Run(string(part), func(t *testing.T) {
			old, _ := created(t)
			content, err := os.ReadFile(old.Path())
			if err != nil {
				t.Fatal(err)
			}
			s, backup, err := old.Rotate(part, Encryption{})
			if err != nil {
				t.Fatal(err)
			}
			if kept, err := os.ReadFile(backup); err != nil || !bytes.Equal(kept, content) || backup != old.Path()+".1" {
				t.Errorf("the old file is not kept (%v)", err)
			}
			got := load(t, old.Path())
			if !reflect.DeepEqual(got, s) {
				t.Error("what was written is not what is read")
			}
			if now := differing(old, got); now != changed {
				t.Errorf("changed: %q, want %q", now, changed)
			}
			// Once more, and encrypted: the backup is so, too.
			if s, backup, err = got.Rotate(part, Encryption{Recipients: []string{recipient}}); err != nil || backup != old.Path()+".2" {
				t.Fatalf("%s, %v", backup, err)
			}
			for path, want := range map[string]*Secrets{backup: got, old.Path(): s} {
				if _, err := Load(path, Unlock{}); err == nil {
					t.Errorf("%s is not encrypted", path)
				}
				read, err := Load(path, fixed(identity, ""))
				if err != nil || differing(read, want) != "" {
					t.Errorf("%s holds others: %v", path, err)
				}
			}
		})
	}
	s, _ := created(t)
	if _, _, err := s.Rotate("turnips", Encryption{}); err == nil {
		t.Error("there are turnips")
	}
}

// differing lists what of two secrets is not the same.
func differing(a, b *Secrets) string {
	var names []string
	add := func(name string, same bool) {
		if !same {
			names = append(names, name)
		}
	}
	add("tokenSeed", bytes.Equal(a.tokenSeed, b.tokenSeed) && a.BootstrapToken("x") == b.BootstrapToken("x"))
	add("serviceAccount", bytes.Equal(a.kubernetes.ServiceAccount, b.kubernetes.ServiceAccount))
	others := b.kubernetes.authorities()
	for i, x := range a.kubernetes.authorities() {
		add(x.key, bytes.Equal(x.Cert, others[i].Cert) && bytes.Equal(x.Key, others[i].Key))
	}
	add("seed", a.seed == b.seed && a.Salt("x") == b.Salt("x"))
	return strings.Join(names, " ")
}

// A failed change leaves the file, and nothing beside it but a backup.
func TestChangeFails(t *testing.T) {
	s, _ := created(t)
	content, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Rotate(Tokens, Encryption{Recipients: []string{"nobody"}}); err == nil {
		t.Error("encrypted to nobody")
	}
	if names, _ := os.ReadDir(filepath.Dir(s.Path())); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
	if now, _ := os.ReadFile(s.Path()); !bytes.Equal(now, content) {
		t.Error("the file has changed")
	}
	if err := os.Remove(s.Path()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Encrypt(Encryption{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is gone: %v", err)
	}
}

// A link to the secrets stays one.
func TestReplaceKeepsLinks(t *testing.T) {
	path := write(t, []byte(older))
	link := filepath.Join(t.TempDir(), "secrets.yaml")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	if _, err := load(t, link).Complete(Encryption{}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone (%v)", err)
	}
	if len(load(t, path).Missing()) != 0 {
		t.Error("the file was not replaced")
	}
}

// The same day gives the same certificate, whatever the time and its zone.
func TestCreatedIsADayInUTC(t *testing.T) {
	zone := time.FixedZone("far east", 14*60*60)
	s, err := draw("", "villagers", time.Date(2026, 11, 24, 1, 2, 3, 4, zone))
	if err != nil {
		t.Fatal(err)
	}
	cert, _, err := s.kubernetes.CA.Parse()
	if err != nil {
		t.Fatal(err)
	}
	if got := s.kubernetes.Created.Format(time.RFC3339) + cert.NotBefore.Format(" 2006-01-02 15:04") + cert.NotAfter.Format(" 2006-01-02"); got != "2026-11-23T00:00:00Z 2026-11-16 00:00 2036-11-23" {
		t.Error(got)
	}
}
