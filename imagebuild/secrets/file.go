package secrets

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

// text is a string with its place in the file.
type text = strictyaml.Value[string]

// document is secrets.yaml as it stands in the file. Keys that come later are
// optional in it: a file of today must stay readable.
type document struct {
	Version strictyaml.Value[int] `json:"version" jsonschema:"example=1"`
	Cluster text                  `json:"cluster" jsonschema:"example=villagers"`
	Seed    text                  `json:"seed"`

	TokenSeed  text                            `json:"tokenSeed,omitempty"`
	Kubernetes strictyaml.Value[kubernetesDoc] `json:"kubernetes,omitempty"`
}

type kubernetesDoc struct {
	Created        text                           `json:"created"`
	CA             strictyaml.Value[authorityDoc] `json:"ca"`
	EtcdCA         strictyaml.Value[authorityDoc] `json:"etcdCA"`
	FrontProxyCA   strictyaml.Value[authorityDoc] `json:"frontProxyCA"`
	ClientCA       strictyaml.Value[authorityDoc] `json:"clientCA"`
	ServiceAccount strictyaml.Value[keyDoc]       `json:"serviceAccount"`
}

type authorityDoc struct {
	Cert text `json:"cert"`
	Key  text `json:"key"`
}

type keyDoc struct {
	Key text `json:"key"`
}

// Load reads a secrets file. If there is none, the error wraps fs.ErrNotExist; if
// it is wrong, it is a *strictyaml.Error with every problem. A file that others
// may read gives a notice.
func Load(path string) (*Secrets, error) {
	// A pipe would be waited for without an end.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("cannot read the secrets: %s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the secrets: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot read the secrets: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, strictyaml.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the secrets: %w", err)
	}
	s, err := parse(path, data)
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		s.notices = append(s.notices, fmt.Sprintf("%s can be read by other users (mode %04o): run chmod 600 %s", path, info.Mode().Perm(), path))
	}
	return s, nil
}

// parse is Load of bytes. Name is what problems call the file.
func parse(name string, data []byte) (*Secrets, error) {
	if bytes.HasPrefix(data, []byte("age-encryption.org/")) || bytes.HasPrefix(data, []byte("-----BEGIN AGE ENCRYPTED FILE-----")) {
		return nil, fmt.Errorf("%s is encrypted with age, which this version of piimg cannot read: decrypt it with age -d", name)
	}
	root, report := strictyaml.Parse(name, data)
	if root == nil {
		return nil, report.Err()
	}
	var d document
	strictyaml.Decode(report, root, &d)
	if d.Version.Set() && d.Version.V != version {
		report.Add(d.Version.Span(), d.Version.Path, fmt.Sprintf("version %d is not known to this piimg, which reads version %d", d.Version.V, version),
			"use the piimg that made the file, or a newer one")
	}
	if d.Cluster.Set() && d.Cluster.V == "" {
		report.Add(d.Cluster.Span(), d.Cluster.Path, "the name is empty", "write the name that nodes.yaml has as cluster.name")
	}
	var seed, tokenSeed [SeedSize]byte
	if d.Seed.Set() {
		decodeSeed(report, d.Seed, &seed)
	}
	if d.TokenSeed.Set() {
		decodeSeed(report, d.TokenSeed, &tokenSeed)
	}
	var k *Kubernetes
	if d.Kubernetes.Set() {
		k = decodeKubernetes(report, d.Kubernetes.V)
	}
	if err := report.Err(); err != nil {
		return nil, err
	}
	s := newSecrets(name, d.Cluster.V, seed)
	if d.TokenSeed.Set() {
		s.setTokenSeed(tokenSeed[:])
	}
	s.kubernetes = k
	return s, nil
}

// decodeKubernetes reads authorities and keys, piimg's own or the user's.
func decodeKubernetes(report *strictyaml.Report, d kubernetesDoc) *Kubernetes {
	k := &Kubernetes{ServiceAccount: []byte(d.ServiceAccount.V.Key.V)}
	if d.Created.Set() {
		var err error
		if k.Created, err = time.Parse(time.DateOnly, d.Created.V); err != nil {
			report.Add(d.Created.Span(), d.Created.Path, "this is no date", "write the day on which the authorities were made, such as 2026-11-23")
		}
	}
	for _, a := range []struct {
		doc  strictyaml.Value[authorityDoc]
		into *Authority
	}{{d.CA, &k.CA}, {d.EtcdCA, &k.EtcdCA}, {d.FrontProxyCA, &k.FrontProxyCA}, {d.ClientCA, &k.ClientCA}} {
		if a.doc.Set() {
			*a.into = decodeAuthority(report, a.doc.V)
		}
	}
	if key := d.ServiceAccount.V.Key; key.Set() {
		if _, err := ParseKey(k.ServiceAccount); err != nil {
			report.Add(key.Span(), key.Path, err.Error(), keyHint)
		}
	}
	return k
}

const (
	keyHint  = "restore the file from a backup, or give a private key of EC or RSA in PEM, without a passphrase"
	certHint = "restore the file from a backup, or give the certificate of an authority in PEM"
)

func decodeAuthority(report *strictyaml.Report, d authorityDoc) Authority {
	a := Authority{Cert: []byte(d.Cert.V), Key: []byte(d.Key.V)}
	bad := false
	if d.Cert.Set() {
		if _, err := parseCA(a.Cert); err != nil {
			report.Add(d.Cert.Span(), d.Cert.Path, err.Error(), certHint)
			bad = true
		}
	}
	if d.Key.Set() {
		if _, err := ParseKey(a.Key); err != nil {
			report.Add(d.Key.Span(), d.Key.Path, err.Error(), keyHint)
			bad = true
		}
	}
	if !bad && d.Cert.Set() && d.Key.Set() {
		if _, _, err := a.Parse(); err != nil {
			report.Add(d.Key.Span(), d.Key.Path, err.Error(), "give the key and the certificate of the same authority")
		}
	}
	return a
}

func decodeSeed(report *strictyaml.Report, v text, seed *[SeedSize]byte) {
	const hint = "restore the file from a backup; or remove it, and piimg makes a new one, with other host keys"
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

// Create draws seeds, authorities and keys, and writes a new secrets file, readable
// by its owner only. An existing file is never replaced: the error then wraps
// fs.ErrExist. The file appears under its name complete, or not at all.
func Create(path, cluster string) (*Secrets, error) {
	s, err := draw(path, cluster, time.Now())
	if err != nil {
		return nil, err
	}
	data := s.encode()
	if _, err := parse(path, data); err != nil { // a cluster name that YAML reads as something else
		return nil, fmt.Errorf("cannot make secrets for the cluster %q: its name cannot be written", cluster)
	}
	if err := writeNew(path, data); err != nil {
		return nil, fmt.Errorf("failed to write the secrets: %w", err)
	}
	return s, nil
}

// draw makes new secrets. The day is part of them: certificates name it.
func draw(path, cluster string, now time.Time) (*Secrets, error) {
	var seeds [2][SeedSize]byte
	for i := range seeds {
		if _, err := rand.Read(seeds[i][:]); err != nil {
			return nil, fmt.Errorf("failed to draw a seed: %w", err)
		}
	}
	s := newSecrets(path, cluster, seeds[0])
	s.setTokenSeed(seeds[1][:])
	var err error
	s.kubernetes, err = drawKubernetes(now)
	return s, err
}

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
	if k := s.kubernetes; k != nil {
		b = fmt.Appendf(b, "kubernetes:\n  created: %q\n", k.Created.Format(time.DateOnly))
		for _, a := range []struct {
			key string
			Authority
		}{{"ca", k.CA}, {"etcdCA", k.EtcdCA}, {"frontProxyCA", k.FrontProxyCA}, {"clientCA", k.ClientCA}} {
			b = fmt.Appendf(b, "  %s:\n", a.key)
			b = appendBlock(b, "cert", a.Cert)
			b = appendBlock(b, "key", a.Key)
		}
		b = append(b, "  serviceAccount:\n"...)
		b = appendBlock(b, "key", k.ServiceAccount)
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

// writeNew writes a file that must not exist yet.
func writeNew(path string, data []byte) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".piimg-secrets-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if e := os.Remove(tmp.Name()); err == nil && e != nil {
			err = e
		}
	}()
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	// Unlike a rename, a link fails if the name is taken, even at the same moment.
	err = os.Link(tmp.Name(), path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = writeExclusive(path, data) // no hard links on this file system
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// writeExclusive is for file systems without hard links, such as FAT.
func writeExclusive(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// LoadOrCreate loads a secrets file and checks that it belongs to the cluster,
// or creates it. Of several processes that do so at once, one creates the file
// and all get the same secrets.
func LoadOrCreate(path, cluster string) (s *Secrets, created bool, err error) {
	s, err = Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		s, err = Create(path, cluster)
		if err == nil {
			return s, true, nil
		}
		if errors.Is(err, fs.ErrExist) {
			s, err = loadSoon(path)
		}
	}
	if err != nil {
		return nil, false, err
	}
	if err := s.CheckCluster(cluster); err != nil {
		return nil, false, err
	}
	return s, false, nil
}

// loadSoon loads a file that another process has just created. On a file system
// without hard links it may still be on its way to the disk.
func loadSoon(path string) (*Secrets, error) {
	for range 50 {
		if info, err := os.Stat(path); err != nil || info.Size() > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return Load(path)
}
