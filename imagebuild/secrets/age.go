package secrets

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

// Encryption says to whom a secrets file is encrypted: to recipients, or by a
// passphrase. The zero value means not at all.
type Encryption struct {
	Recipients []string // age1… or ssh-ed25519 … or ssh-rsa …
	Passphrase []byte
	workFactor int // of scrypt, as a power of two; 0 is age's default, about a second
}

// None says whether e encrypts nothing.
func (e Encryption) None() bool { return len(e.Recipients) == 0 && len(e.Passphrase) == 0 }

// Format prints no passphrase, for any verb.
func (e Encryption) Format(f fmt.State, _ rune) {
	switch {
	case len(e.Passphrase) > 0:
		_, _ = io.WriteString(f, "age, by a passphrase")
	case len(e.Recipients) > 0:
		_, _ = fmt.Fprintf(f, "age, to %d recipients", len(e.Recipients))
	default:
		_, _ = io.WriteString(f, "none")
	}
}

// Unlock gives what opens an encrypted secrets file. Its functions are called only
// for a file that needs them; one that is nil, or returns nothing, has none. What
// they return is never shown.
type Unlock struct {
	// Identity returns the content of an age identity file, or of an SSH private
	// key file without a passphrase.
	Identity func() ([]byte, error)
	// Passphrase returns a passphrase, without a line end.
	Passphrase func() ([]byte, error)
}

// maxWorkFactor bounds the work of opening a file with a passphrase: 2²⁰ is a GiB
// of memory and some seconds. age itself uses 2¹⁸.
const maxWorkFactor = 20

// binaryHead is how files in age's binary form begin; those in its text form begin
// with armor.Header.
const binaryHead = "age-encryption.org/"

// encrypted says whether a file is one of age's.
func encrypted(data []byte) bool {
	return bytes.HasPrefix(data, []byte(binaryHead)) || bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte(armor.Header))
}

// decrypt opens a file of age's. How it was encrypted comes with its content; who
// its recipients are, a file does not tell.
func decrypt(name string, data []byte, u Unlock) ([]byte, Encryption, error) {
	open := func() io.Reader {
		if bytes.HasPrefix(data, []byte(binaryHead)) {
			return bytes.NewReader(data)
		}
		return armor.NewReader(bytes.NewReader(data))
	}
	damaged := func(err error) error {
		return fmt.Errorf("%s cannot be decrypted, since it is damaged: restore it from a backup (%w)", name, err)
	}
	header, err := age.ExtractHeader(open())
	if err != nil {
		return nil, Encryption{}, damaged(err)
	}
	var e Encryption
	var identities []age.Identity
	if bytes.Contains(header, []byte("\n-> scrypt ")) {
		e, identities, err = passphraseIdentity(name, u)
	} else {
		identities, err = keyIdentities(name, u)
	}
	if err != nil {
		return nil, Encryption{}, err
	}
	r, err := age.Decrypt(open(), identities...)
	switch {
	case errors.As(err, new(*age.NoIdentityMatchError)) && len(e.Passphrase) > 0:
		return nil, Encryption{}, fmt.Errorf("%s is encrypted with another passphrase than the given one", name)
	case errors.As(err, new(*age.NoIdentityMatchError)):
		return nil, Encryption{}, fmt.Errorf("%s is encrypted to others than the given age identity: give the identity of one of its recipients", name)
	case err != nil && strings.Contains(err.Error(), "work factor"):
		return nil, Encryption{}, fmt.Errorf("%s wants more work of scrypt than 2^%d, which could be an attack: encrypt it anew with age -p", name, maxWorkFactor)
	case err != nil:
		return nil, Encryption{}, damaged(err)
	}
	content, err := io.ReadAll(io.LimitReader(r, strictyaml.MaxSize+1))
	if err != nil {
		return nil, Encryption{}, damaged(err)
	}
	return content, e, nil
}

func passphraseIdentity(name string, u Unlock) (Encryption, []age.Identity, error) {
	passphrase, err := given(u.Passphrase)
	if err != nil {
		// Not wrapped: that there is no such file is not that there are no secrets.
		return Encryption{}, nil, fmt.Errorf("cannot get the passphrase of %s: %v", name, err)
	}
	if len(passphrase) == 0 {
		return Encryption{}, nil, fmt.Errorf("%s is encrypted with a passphrase: name a file that holds it with --age-passphrase-file, "+
			"or set PIIMG_AGE_PASSPHRASE or PIIMG_AGE_PASSPHRASE_FILE", name)
	}
	identity, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return Encryption{}, nil, fmt.Errorf("the passphrase of %s cannot be used", name)
	}
	identity.SetMaxWorkFactor(maxWorkFactor)
	return Encryption{Passphrase: passphrase}, []age.Identity{identity}, nil
}

func keyIdentities(name string, u Unlock) ([]age.Identity, error) {
	text, err := given(u.Identity)
	if err != nil {
		return nil, fmt.Errorf("cannot get the age identity for %s: %v", name, err) // not wrapped either
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, fmt.Errorf("%s is encrypted with age: name your identity file with --age-identity, "+
			"or set PIIMG_AGE_IDENTITY or PIIMG_AGE_IDENTITY_FILE", name)
	}
	identities, err := parseIdentities(text)
	if err != nil {
		return nil, fmt.Errorf("cannot use the age identity for %s: %w", name, err)
	}
	return identities, nil
}

func given(get func() ([]byte, error)) ([]byte, error) {
	if get == nil {
		return nil, nil
	}
	return get()
}

// parseIdentities reads an identity file. Errors quote nothing of it.
func parseIdentities(text []byte) ([]age.Identity, error) {
	switch {
	case encrypted(text):
		return nil, errors.New("it is itself encrypted: decrypt it with age -d, and give the outcome")
	case bytes.HasPrefix(bytes.TrimSpace(text), []byte("-----BEGIN")):
		identity, err := agessh.ParseIdentity(text)
		if errors.As(err, new(*ssh.PassphraseMissingError)) {
			return nil, errors.New("it is an SSH key with a passphrase: give one without, or a key of age-keygen")
		}
		if err != nil {
			return nil, errors.New("it is no SSH private key that age can use: give one of Ed25519 or RSA")
		}
		return []age.Identity{identity}, nil
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	identities, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return nil, errors.New("it is not what age-keygen writes, with a line that begins with AGE-SECRET-KEY-1")
	}
	return identities, nil
}

// parseRecipient reads one recipient. Errors quote nothing of it: it may be an
// identity that was given by mistake.
func parseRecipient(s string) (age.Recipient, error) {
	var r age.Recipient
	var err error
	switch {
	case strings.HasPrefix(s, "AGE-SECRET-KEY-"), strings.HasPrefix(s, "-----BEGIN"):
		return nil, errors.New("this is a secret key: give its public half, which begins with age1 or ssh-")
	case strings.HasPrefix(s, "age1pq1"):
		r, err = age.ParseHybridRecipient(s)
	case strings.HasPrefix(s, "age1"):
		r, err = age.ParseX25519Recipient(s)
	case strings.HasPrefix(s, "ssh-"):
		r, err = agessh.ParseRecipient(s)
	default:
		err = errors.ErrUnsupported
	}
	if err != nil {
		return nil, errors.New("this is no recipient of age: they begin with age1, ssh-ed25519 or ssh-rsa; those of plugins are not supported")
	}
	return r, nil
}

// ParseRecipients reads a file of recipients, one a line, with # for comments, as
// age -R does. Name is what the error calls the file.
func ParseRecipients(name string, text []byte) ([]string, error) {
	var recipients []string
	lines := bufio.NewScanner(bytes.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if _, err := parseRecipient(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		recipients = append(recipients, line)
	}
	if lines.Err() != nil {
		return nil, fmt.Errorf("%s is no file of recipients: it has a line that is too long", name)
	}
	if len(recipients) == 0 {
		return nil, fmt.Errorf("%s names no recipient", name)
	}
	return recipients, nil
}

// Check returns an error if e cannot encrypt anything.
func (e Encryption) Check() error {
	_, err := e.ageRecipients()
	return err
}

func (e Encryption) ageRecipients() ([]age.Recipient, error) {
	if len(e.Recipients) > 0 && len(e.Passphrase) > 0 {
		return nil, errors.New("a secrets file is encrypted to recipients or by a passphrase, not both: give one of them")
	}
	if len(e.Passphrase) > 0 {
		r, err := age.NewScryptRecipient(string(e.Passphrase))
		if err == nil && e.workFactor > 0 {
			r.SetWorkFactor(e.workFactor)
		}
		return []age.Recipient{r}, err
	}
	var list []age.Recipient
	for i, text := range e.Recipients {
		r, err := parseRecipient(text)
		if err != nil {
			return nil, fmt.Errorf("recipient %d: %w", i+1, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// encrypt returns content in age's text form.
func (e Encryption) encrypt(content []byte) ([]byte, error) {
	recipients, err := e.ageRecipients()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, recipients...)
	if err != nil {
		return nil, fmt.Errorf("failed to encrypt the secrets: %w", err)
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), text.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
