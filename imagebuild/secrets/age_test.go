package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// fixed gives an Unlock that knows an identity and a passphrase.
func fixed(identity, passphrase string) Unlock {
	return Unlock{
		Identity:   func() ([]byte, error) { return []byte(identity), nil },
		Passphrase: func() ([]byte, error) { return []byte(passphrase), nil },
	}
}

// newIdentity returns an identity file and its recipient.
func newIdentity(t *testing.T) (identity, recipient string) {
	t.Helper()
	i, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return "# a comment\n" + i.String() + "\n", i.Recipient().String()
}

// sshIdentity returns an SSH key as ssh-keygen makes it, and its public half.
func sshIdentity(t *testing.T, kind, passphrase string) (identity, recipient string) {
	t.Helper()
	keygen := tooltest.Path(t, "ssh-keygen")
	file := filepath.Join(t.TempDir(), "id")
	if out, err := exec.Command(keygen, "-q", "-t", kind, "-N", passphrase, "-C", "me@here", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var both [2]string
	for i, name := range []string{file, file + ".pub"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		both[i] = string(b)
	}
	return both[0], strings.TrimSpace(both[1])
}

// What is encrypted by us is read by us, whoever it is encrypted to.
func TestEncryption(t *testing.T) {
	s, _ := created(t)
	identity, recipient := newIdentity(t)
	other, otherRecipient := newIdentity(t)
	ed, edRecipient := sshIdentity(t, "ed25519", "")
	rsa, rsaRecipient := sshIdentity(t, "rsa", "")
	everybody := Encryption{Recipients: []string{recipient, otherRecipient, edRecipient, rsaRecipient}}
	for name, c := range map[string]struct {
		e Encryption
		u Unlock
	}{
		"one recipient":   {Encryption{Recipients: []string{recipient}}, fixed(identity, "")},
		"DOS lines":       {Encryption{Recipients: []string{recipient}}, fixed(strings.ReplaceAll(identity, "\n", "\r\n"), "")},
		"two identities":  {Encryption{Recipients: []string{recipient}}, fixed(other+identity, "")},
		"the second":      {everybody, fixed(other, "")},
		"SSH Ed25519 key": {everybody, fixed(ed, "")},
		"SSH RSA key":     {everybody, fixed(rsa, "")},
		"passphrase":      {Encryption{Passphrase: []byte("hunter2"), workFactor: 10}, fixed(identity, "hunter2")},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secrets.yaml")
			data, err := s.seal(c.e)
			if err != nil {
				t.Fatal(err)
			}
			if err := writeNew(path, data); err != nil {
				t.Fatal(err)
			}
			got, err := Load(path, c.u)
			if err != nil {
				t.Fatal(err)
			}
			if got.seed != s.seed || !got.Encrypted() {
				t.Error("other secrets came out")
			}
			if e, known := got.Encryption(); !known || !bytes.Equal(e.Passphrase, c.e.Passphrase) || strings.Join(e.Recipients, "") != strings.Join(c.e.Recipients, "") {
				t.Errorf("the encryption is not known: %v", e)
			}
		})
	}
}

// ageFile encrypts with the real age.
func ageFile(t *testing.T, content []byte, args ...string) []byte {
	t.Helper()
	c := exec.Command(tooltest.Path(t, "age"), args...)
	c.Stdin = bytes.NewReader(content)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("age %q: %v\n%s", args, err, stderr.Bytes())
	}
	return out
}

// The program age reads what we write, and we what it writes.
func TestAgeAgrees(t *testing.T) {
	s, _ := created(t)
	identity, recipient := newIdentity(t)
	ed, edRecipient := sshIdentity(t, "ed25519", "")
	dir := t.TempDir()
	for name, c := range map[string]struct{ identity, recipient string }{"age": {identity, recipient}, "ssh": {ed, edRecipient}} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(c.identity), 0o600); err != nil {
			t.Fatal(err)
		}
		ours, err := s.seal(Encryption{Recipients: []string{c.recipient}})
		if err != nil {
			t.Fatal(err)
		}
		content := ageFile(t, ours, "-d", "-i", file)
		if again, err := parse("secrets.yaml", content); err != nil || again.seed != s.seed {
			t.Errorf("%s: age decrypts it to something else (%v)", name, err)
		}
		for _, args := range [][]string{{"-r", c.recipient}, {"-a", "-r", c.recipient}} {
			got, err := Parse("secrets.yaml", ageFile(t, s.encode(), args...), fixed(c.identity, ""))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if _, known := got.Encryption(); got.seed != s.seed || known {
				t.Errorf("%s: read as other secrets, or to recipients that nobody knows", name)
			}
		}
	}
}

// The program age asks for passphrases on a terminal, which script gives it.
func TestAgeAgreesOnPassphrases(t *testing.T) {
	script, program := tooltest.Path(t, "script"), tooltest.Path(t, "age")
	s, _ := created(t)
	dir := t.TempDir()
	plain, theirs, ours, out := filepath.Join(dir, "plain"), filepath.Join(dir, "theirs"), filepath.Join(dir, "ours"), filepath.Join(dir, "out")
	run := func(answers, command string) {
		t.Helper()
		c := exec.Command(script, "-qec", command, os.DevNull)
		c.Stdin = strings.NewReader(answers)
		if text, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, text)
		}
	}
	if err := os.WriteFile(plain, s.encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	run("correct horse\ncorrect horse\n", fmt.Sprintf("%s -p -a -o %s %s", program, theirs, plain))
	data, err := os.ReadFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Parse("secrets.yaml", data, fixed("", "correct horse")); err != nil || got.seed != s.seed {
		t.Errorf("what age encrypted: %v", err)
	}
	sealed, err := s.seal(Encryption{Passphrase: []byte("battery staple")})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ours, sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	run("battery staple\n", fmt.Sprintf("%s -d -o %s %s", program, out, ours))
	if data, err = os.ReadFile(out); err != nil {
		t.Fatal(err)
	}
	if again, err := parse("secrets.yaml", data); err != nil || again.seed != s.seed {
		t.Errorf("age decrypts ours to something else (%v)", err)
	}
}

// Each thing that is wrong has one clear error, and none shows a secret.
func TestCannotDecrypt(t *testing.T) {
	s, _ := created(t)
	identity, recipient := newIdentity(t)
	other, _ := newIdentity(t)
	locked, _ := sshIdentity(t, "ed25519", "hunter2")
	seal := func(e Encryption) []byte {
		data, err := s.seal(e)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	toKey := seal(Encryption{Recipients: []string{recipient}})
	toPassphrase := seal(Encryption{Passphrase: []byte("hunter2"), workFactor: 10})
	costly := seal(Encryption{Passphrase: []byte("hunter2"), workFactor: 10})
	costly = bytes.Replace(binaryForm(t, costly), []byte(" 10\n"), []byte(" 22\n"), 1)
	cut := toKey[:len(toKey)/2]
	flipped := binaryForm(t, toKey)
	flipped[len(flipped)-5] ^= 1
	broken := Unlock{Identity: func() ([]byte, error) { return nil, fs.ErrNotExist }}
	for name, c := range map[string]struct {
		data []byte
		u    Unlock
		want string
	}{
		"no identity":         {toKey, Unlock{}, "name your identity file with --age-identity"},
		"a passphrase only":   {toKey, fixed("", "hunter2"), "name your identity file with --age-identity"},
		"another identity":    {toKey, fixed(other, ""), "is encrypted to others than the given age identity"},
		"unreadable identity": {toKey, broken, "cannot get the age identity for secrets.yaml: file does not exist"},
		"recipient given":     {toKey, fixed(recipient, ""), "not what age-keygen writes"},
		"mistyped identity":   {toKey, fixed(strings.Replace(identity, "AGE-SECRET-KEY-1", "AGE-SECRET-KEY-1X", 1), ""), "not what age-keygen writes"},
		"locked SSH key":      {toKey, fixed(locked, ""), "an SSH key with a passphrase"},
		"broken SSH key":      {toKey, fixed("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n", ""), "no SSH private key that age can use"},
		"encrypted identity":  {toKey, fixed(string(toPassphrase), ""), "itself encrypted"},
		"no passphrase":       {toPassphrase, Unlock{}, "--age-passphrase-file"},
		"an identity only":    {toPassphrase, fixed(identity, ""), "--age-passphrase-file"},
		"wrong passphrase":    {toPassphrase, fixed("", "hunter3"), "encrypted with another passphrase"},
		"work factor":         {costly, fixed("", "hunter2"), "wants more work of scrypt than 2^20"},
		"cut":                 {cut, fixed(identity, ""), "it is damaged: restore it from a backup"},
		"flipped":             {flipped, fixed(identity, ""), "it is damaged: restore it from a backup"},
		"not secrets":         {encryptRaw(t, recipient, "hello: world\n"), fixed(identity, ""), `secrets.yaml:1:1`},
		"too large":           {encryptRaw(t, recipient, strings.Repeat("#\n", 3<<20)), fixed(identity, ""), "at most 4194304 are read"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("secrets.yaml", c.data, c.u)
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			for _, secret := range append(secretsOf(s, 8), "hunter", strings.Fields(identity)[3][16:30], strings.Fields(other)[3][16:30]) {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
		})
	}
}

func encryptRaw(t *testing.T, recipient, content string) []byte {
	t.Helper()
	data, err := Encryption{Recipients: []string{recipient}}.encrypt([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBadRecipients(t *testing.T) {
	identity, recipient := newIdentity(t)
	secret := strings.Fields(identity)[3]
	for name, c := range map[string]struct {
		e    Encryption
		want string
	}{
		"identity":     {Encryption{Recipients: []string{recipient, secret}}, "recipient 2: this is a secret key"},
		"word":         {Encryption{Recipients: []string{"hunter2"}}, "no recipient of age"},
		"mistyped":     {Encryption{Recipients: []string{recipient + "x"}}, "no recipient of age"},
		"plugin":       {Encryption{Recipients: []string{"age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t"}}, "plugins are not supported"},
		"both":         {Encryption{Recipients: []string{recipient}, Passphrase: []byte("hunter2")}, "not both"},
		"short SSH":    {Encryption{Recipients: []string{"ssh-rsa AAAA"}}, "no recipient of age"},
		"empty string": {Encryption{Recipients: []string{""}}, "no recipient of age"},
	} {
		err := c.e.Check()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secret[16:30]) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if out := fmt.Sprintf("%v %+v %#v %s %x", Encryption{Passphrase: []byte("hunter2")}, Encryption{}, Encryption{Recipients: []string{"x"}},
		Encryption{Passphrase: []byte("hunter2")}, Encryption{Passphrase: []byte("hunter2")}); strings.Contains(out, "hunter2") || strings.Contains(out, "68756e") {
		t.Errorf("a passphrase is printed: %s", out)
	}
}

func TestParseRecipients(t *testing.T) {
	_, recipient := newIdentity(t)
	got, err := ParseRecipients("team", []byte("# me\n\n"+recipient+"\r\n  ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN me\n"))
	if err != nil || len(got) != 2 || got[0] != recipient {
		t.Errorf("%q, %v", got, err)
	}
	for text, want := range map[string]string{"": "team names no recipient", "#\n" + recipient + "\nhunter2\n": "team:3: this is no recipient", strings.Repeat("x", 1<<17): "too long"} {
		if _, err := ParseRecipients("team", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// binaryForm takes the armour off.
func binaryForm(t *testing.T, data []byte) []byte {
	t.Helper()
	out, err := io.ReadAll(armor.NewReader(bytes.NewReader(data)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}
