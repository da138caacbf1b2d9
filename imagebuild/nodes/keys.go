package nodes

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"
)

const keyHint = "give a line such as ssh-ed25519 AAAA… me, or the path of a .pub file; ssh-keygen -t ed25519 makes a pair"

// authorizedKeys resolves user.authorizedKeys to lines of authorized_keys. A key
// that comes up twice, with the same options, is kept once.
func (c *checker) authorizedKeys(v value[list]) []string {
	var lines []string
	seen := map[string]bool{}
	add := func(k key) {
		if id := k.options + " " + k.blob; !seen[id] {
			seen[id] = true
			lines = append(lines, k.line())
		}
	}
	for _, entry := range v.V {
		if !entry.Set() {
			continue
		}
		s := strings.TrimSpace(entry.V)
		switch {
		case isPrivateKey(s):
			c.r.Mask(entry.Span())
			c.fail(at(entry), "replace it by the public key (the .pub file), and make a new pair: this one is no longer private",
				"this is a PRIVATE key, which must never leave the machine it was made on")
		case looksLikeKey(s):
			k, err := parseKey(s)
			if err != nil {
				c.fail(at(entry), keyHint, "%v", err)
				continue
			}
			add(k)
		case s == "":
			c.fail(at(entry), keyHint, "the key is empty")
		case strings.ContainsAny(s, " \t\n") && !strings.ContainsAny(s, `/\`):
			c.fail(at(entry), keyHint, "this is neither a public key nor the path of one")
		default:
			for _, k := range c.keyFile(entry) {
				add(k)
			}
		}
	}
	return lines
}

// keyFile reads the keys of a file that nodes.yaml names.
func (c *checker) keyFile(v text) []key {
	data, ok := c.readFile(v, 1<<20, false)
	if !ok {
		return nil
	}
	if isPrivateKey(string(data)) {
		c.fail(at(v), "name the public key, which ends in .pub", "%q holds a PRIVATE key, which must never be put into an image", v.V)
		return nil
	}
	var keys []key
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\uFEFF")) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, err := parseKey(line)
		if err != nil {
			c.fail(at(v), keyHint, "line %d of %q: %v", n, v.V, err)
			return nil
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		c.fail(at(v), keyHint, "there is no key in %q", v.V)
	}
	return keys
}

func isPrivateKey(s string) bool {
	return strings.Contains(s, "PRIVATE KEY-----") || strings.HasPrefix(s, "PuTTY-User-Key-File")
}

// looksLikeKey tells a line of authorized_keys from a path.
func looksLikeKey(s string) bool {
	fields := strings.Fields(s)
	for _, f := range fields {
		if strings.HasPrefix(f, "AAAA") { // the length of the type's name, in base64
			return true
		}
		for _, kind := range []string{"ssh-rsa", "ssh-ed25519", "ssh-dss", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"} {
			if strings.HasPrefix(f, kind) && len(fields) > 1 {
				return true
			}
		}
	}
	return false
}

// key is one line of authorized_keys.
type key struct {
	options, kind, blob, comment string
}

func (k key) line() string {
	return strings.TrimSpace(strings.Join([]string{k.options, k.kind, k.blob, k.comment}, " "))
}

// parseKey reads one line of authorized_keys (sshd(8)).
func parseKey(line string) (key, error) {
	if i := strings.IndexFunc(line, unicode.IsControl); i >= 0 {
		return key{}, fmt.Errorf("the key holds a line break or another control character")
	}
	pub, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		if strings.HasPrefix(line, "AAAA") {
			return key{}, fmt.Errorf("the key's type is missing before AAAA…")
		}
		return key{}, fmt.Errorf("this is not a public key that OpenSSH reads; was it cut off?")
	}
	k := key{
		options: strings.Join(options, ","),
		kind:    pub.Type(),
		blob:    base64.StdEncoding.EncodeToString(pub.Marshal()),
		comment: strings.Join(strings.Fields(comment), " "),
	}
	switch {
	case k.kind == "ssh-dss":
		return key{}, fmt.Errorf("DSA keys are refused by every OpenSSH since 7.0")
	case strings.Contains(k.kind, "-cert-"):
		return key{}, fmt.Errorf("this is a certificate, not a key")
	}
	return k, nil
}
