package secrets

import (
	"crypto/rand"
	"fmt"
	"slices"
	"time"
)

// Part is a part of the secrets that can be replaced by a new one.
type Part string

// The parts.
const (
	Tokens         Part = "tokens"          // the seed of the tokens that nodes join with
	ServiceAccount Part = "service-account" // the key that signs service-account tokens
	Authorities    Part = "ca"              // the certificate authorities
	Seed           Part = "seed"            // that of host keys, salts and identifiers
	Everything     Part = "all"
)

// Parts lists all of them.
func Parts() []Part { return []Part{Tokens, ServiceAccount, Authorities, Seed, Everything} }

// draw makes new secrets. The day is part of them: certificates name it.
func draw(path, cluster string, now time.Time) (*Secrets, error) {
	seed, err := drawSeed()
	if err != nil {
		return nil, err
	}
	return newSecrets(path, cluster, seed).completed(now)
}

func drawSeed() (seed [SeedSize]byte, err error) {
	if _, err = rand.Read(seed[:]); err != nil {
		err = fmt.Errorf("failed to draw a seed: %w", err)
	}
	return seed, err
}

// completed returns the secrets with what they lack.
func (s *Secrets) completed(now time.Time) (*Secrets, error) {
	out := *s
	if out.tokenSeed == nil {
		seed, err := drawSeed()
		if err != nil {
			return nil, err
		}
		out.setTokenSeed(seed[:])
	}
	var k Kubernetes
	if s.kubernetes != nil {
		k = *s.kubernetes
	}
	if k.Created.IsZero() {
		k.Created = day(now)
		for _, a := range k.authorities() { // those that a user has brought
			if err := a.validOn(k.Created); err != nil {
				return nil, fmt.Errorf("%s: kubernetes.%s: %w", s.path, a.key, err)
			}
		}
	}
	if len(k.ServiceAccount) == 0 {
		var err error
		if k.ServiceAccount, err = drawServiceAccount(); err != nil {
			return nil, err
		}
	}
	if err := k.complete(drawKey); err != nil {
		return nil, err
	}
	out.kubernetes = &k
	return &out, nil
}

// without returns the secrets without a part, for completed to make it anew.
func (s *Secrets) without(p Part) (*Secrets, error) {
	out := *s
	var k Kubernetes
	if s.kubernetes != nil {
		k = *s.kubernetes
	}
	if p == Tokens || p == Everything {
		out.tokenSeed, out.tokens = nil, nil
	}
	if p == ServiceAccount || p == Everything {
		k.ServiceAccount = nil
	}
	if p == Authorities || p == Everything {
		k = Kubernetes{ServiceAccount: k.ServiceAccount}
	}
	if p == Seed || p == Everything {
		seed, err := drawSeed()
		if err != nil {
			return nil, err
		}
		out.seed, out.prk = seed, newSecrets("", "", seed).prk
	}
	out.kubernetes = &k
	return &out, nil
}

// Encryption is how the file was encrypted when it was read, and is again when it
// is written. Where neither is known who the recipients were nor the passphrase,
// known is false.
func (s *Secrets) Encryption() (e Encryption, known bool) {
	return s.encryption, !s.encrypted || !s.encryption.None()
}

// Encrypted says whether the file was encrypted when it was read.
func (s *Secrets) Encrypted() bool { return s.encrypted }

// seal returns the file's content, encrypted if e is.
func (s *Secrets) seal(e Encryption) ([]byte, error) {
	out := *s
	out.recipients = e.Recipients
	content := out.encode()
	again, err := parse(s.path, content)
	if err != nil || again.cluster != s.cluster { // a name that YAML reads as something else
		return nil, fmt.Errorf("cannot write secrets for the cluster %q: its name cannot be written", s.cluster)
	}
	if e.None() {
		return content, nil
	}
	return e.encrypt(content)
}

// Complete adds to the file what it lacks, and keeps the rest; only comments of the
// user's own go lost. The file is replaced as a whole. A file that lacks nothing is
// not touched.
func (s *Secrets) Complete(e Encryption) (*Secrets, error) {
	if len(s.Missing()) == 0 {
		return s, nil
	}
	out, err := s.completed(time.Now())
	if err != nil {
		return nil, err
	}
	return out.Encrypt(e)
}

// Rotate makes a part of the secrets anew, and what is missing besides. The file
// as it was stays beside the new one, in backup: what was made with it is still on
// cards.
func (s *Secrets) Rotate(p Part, e Encryption) (out *Secrets, backup string, err error) {
	if !slices.Contains(Parts(), p) {
		return nil, "", fmt.Errorf("there is no part %q of the secrets", p)
	}
	if out, err = s.without(p); err == nil {
		out, err = out.completed(time.Now())
	}
	if err != nil {
		return nil, "", err
	}
	old, err := s.seal(e)
	if err != nil {
		return nil, "", err
	}
	if backup, err = keep(s.path, old); err != nil {
		return nil, "", fmt.Errorf("failed to keep the old secrets: %w", err)
	}
	out, err = out.Encrypt(e)
	return out, backup, err
}

// Encrypt writes the same secrets to their file anew, encrypted by e, or not at all.
func (s *Secrets) Encrypt(e Encryption) (*Secrets, error) {
	data, err := s.seal(e)
	if err != nil {
		return nil, err
	}
	if err := replace(s.path, data); err != nil {
		return nil, fmt.Errorf("failed to write the secrets: %w", err)
	}
	out := *s
	out.encrypted, out.encryption, out.recipients = !e.None(), e, e.Recipients
	return &out, nil
}
