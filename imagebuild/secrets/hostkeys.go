package secrets

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"strconv"
)

// HostKey is one SSH host key of a node.
type HostKey struct {
	// Name is the private key's file name in /etc/ssh, such as
	// ssh_host_ed25519_key; that of the public key ends in .pub.
	Name string
	// Private is the private key file, in OpenSSH's own format, without a
	// passphrase. OpenSSH 6.5 and later read it.
	Private PrivateKey
	// Public is the line of the public key file, with a comment and without a
	// newline.
	Public string
}

// HostKeys are the SSH host keys of a node.
type HostKeys []HostKey

// Public returns the keys as known_hosts has them after the host's names: type
// and key, without a comment.
func (k HostKeys) Public() []string {
	var lines []string
	for _, key := range k {
		var kind, blob string
		_, _ = fmt.Sscan(key.Public, &kind, &blob)
		lines = append(lines, kind+" "+blob)
	}
	return lines
}

// HostKeys derives a node's SSH host keys: Ed25519 and ECDSA on P-256. They
// depend on the seed and the hostname.
func (s *Secrets) HostKeys(hostname string) (HostKeys, error) {
	ed, err := s.ed25519Key(hostname)
	if err != nil {
		return nil, err
	}
	ec, err := s.ecdsaKey(hostname)
	if err != nil {
		return nil, err
	}
	return HostKeys{ed, ec}, nil
}

func (s *Secrets) ed25519Key(hostname string) (HostKey, error) {
	private := ed25519.NewKeyFromSeed(s.Derive(ed25519.SeedSize, "ssh host key", "ed25519", hostname))
	public, ok := private.Public().(ed25519.PublicKey)
	if !ok {
		return HostKey{}, fmt.Errorf("failed to derive the Ed25519 host key of %s", hostname)
	}
	const kind = "ssh-ed25519"
	blob := appendString(appendString(nil, kind), public)
	fields := appendString(blob[:len(blob):len(blob)], private)
	return s.hostKey("ssh_host_ed25519_key", kind, hostname, blob, fields), nil
}

func (s *Secrets) ecdsaKey(hostname string) (HostKey, error) {
	// A P-256 key is a number below the curve's order. About one in 2³² draws of
	// 32 bytes is not, and is drawn again.
	for try := range 16 {
		scalar := s.Derive(32, "ssh host key", "ecdsa-p256", hostname, strconv.Itoa(try))
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
		if err != nil {
			continue
		}
		point, err := private.PublicKey.Bytes()
		if err != nil {
			return HostKey{}, fmt.Errorf("failed to derive the ECDSA host key of %s: %w", hostname, err)
		}
		const kind, curve = "ecdsa-sha2-nistp256", "nistp256"
		blob := appendString(appendString(appendString(nil, kind), curve), point)
		fields := appendString(blob[:len(blob):len(blob)], mpint(scalar))
		return s.hostKey("ssh_host_ecdsa_key", kind, hostname, blob, fields), nil
	}
	return HostKey{}, fmt.Errorf("failed to derive the ECDSA host key of %s: the seed gives no valid key", hostname)
}

// hostKey packs a key as OpenSSH's PROTOCOL.key describes: blob is the public
// key, and fields are those of the private one, beginning with its type. Where
// ssh-keygen takes random check numbers, ours are derived: they only show that
// a passphrase was right, and there is none.
func (s *Secrets) hostKey(file, kind, hostname string, blob, fields []byte) HostKey {
	comment := "root@" + hostname
	check := s.Derive(4, "ssh host key check", kind, hostname)
	var secret []byte
	secret = append(secret, check...)
	secret = append(secret, check...)
	secret = append(secret, fields...)
	secret = appendString(secret, comment)
	for pad := byte(1); len(secret)%8 != 0; pad++ { // the block size of the cipher "none"
		secret = append(secret, pad)
	}

	packed := []byte("openssh-key-v1\x00")
	packed = appendString(packed, "none") // cipher
	packed = appendString(packed, "none") // key derivation
	packed = appendString(packed, "")     // its options
	packed = binary.BigEndian.AppendUint32(packed, 1)
	packed = appendString(packed, blob)
	packed = appendString(packed, secret)
	return HostKey{
		Name:    file,
		Private: pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: packed}),
		Public:  kind + " " + base64.StdEncoding.EncodeToString(blob) + " " + comment,
	}
}

// appendString appends a string of RFC 4251, section 5: its length and its bytes.
func appendString[T string | []byte | ed25519.PublicKey | ed25519.PrivateKey](b []byte, s T) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// mpint returns the body of an mpint of RFC 4251, section 5: no leading zeros,
// except for one that keeps the number positive.
func mpint(n []byte) []byte {
	for len(n) > 0 && n[0] == 0 {
		n = n[1:]
	}
	if len(n) > 0 && n[0]&0x80 != 0 {
		return append([]byte{0}, n...)
	}
	return n
}
