package imagebuild

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/secrets"
)

// Encryption says to whom a secrets file is encrypted; the zero value, to nobody.
type Encryption = secrets.Encryption

// SecretsPart is a part of the secrets that can be replaced: tokens,
// service-account, ca, seed, or all.
type SecretsPart = secrets.Part

// ParseRecipients reads a file of age recipients, one a line, with # for comments.
// Name is what the error calls the file.
func ParseRecipients(name string, text []byte) ([]string, error) {
	return secrets.ParseRecipients(name, text)
}

// SecretsReport says what secrets there are, and what was done with them. Its JSON
// form is stable.
type SecretsReport struct {
	File string `json:"file"`
	secrets.Description
	// Tokens are those of the nodes that join a cluster of kubeadm's.
	Tokens []NodeToken `json:"tokens,omitempty"`
	// Done is what was done: made, completed, rotated, encrypted, decrypted; or nothing.
	Done string `json:"done,omitempty"`
	// Backup is where the old secrets are kept, if they were replaced.
	Backup string `json:"backup,omitempty"`
}

// NodeToken is the token that a node joins with.
type NodeToken struct {
	Node  string `json:"node"`
	ID    string `json:"id"`              // the public half
	Token string `json:"token,omitempty"` // all of it, if it was to be revealed
}

// InitSecrets makes the secrets of a cluster, or adds to a file of an older piimg,
// or one that the user began, what it lacks. A complete file is not touched, and
// an error. The cluster's name is that of nodes.yaml, unless one is given. e is for
// the file; the zero value leaves an existing one as it is.
func InitSecrets(o Options, cluster string, e Encryption) (*SecretsReport, error) {
	o = o.withDefaults()
	r, err := o.initSecrets(cluster, e)
	return r, KindConfig.as(err)
}

func (o Options) initSecrets(cluster string, e Encryption) (*SecretsReport, error) {
	path := o.secretsPath(o.NodesFile)
	if err := o.onlyFile(); err != nil {
		return nil, err
	}
	if err := e.Check(); err != nil {
		return nil, KindUsage.as(err)
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if cluster == "" {
			config, err := o.loadNodes()
			if err != nil {
				return nil, fmt.Errorf("%w\n(without %s, name the cluster with --cluster)", err, o.NodesFile)
			}
			cluster = config.Cluster.Name
		}
		s, err := secrets.CreateEncrypted(path, cluster, e)
		if err != nil {
			return nil, err
		}
		o.Notice(createdNotice(path))
		return o.report(s, false, "made")
	}
	s, err := o.ownSecrets(cluster)
	if err != nil {
		return nil, err
	}
	if len(s.Missing()) == 0 {
		return nil, fmt.Errorf("%s is complete, and nothing was done: piimg secrets rotate replaces parts of it, or encrypts it in another way", path)
	}
	if e, err = encryptionFor(s, e); err != nil {
		return nil, err
	}
	if s, err = s.Complete(e); err != nil {
		return nil, err
	}
	return o.report(s, false, "completed")
}

// hintInit adds to the error that there is no secrets file how to make it.
func hintInit(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there are no secrets: %w; piimg secrets init makes them", err)
	}
	return err
}

// ShowSecrets says what secrets there are. Private keys and tokens are in the report
// only with reveal.
func ShowSecrets(o Options, reveal bool) (*SecretsReport, error) {
	o = o.withDefaults()
	s, err := o.readSecrets(o.NodesFile)
	err = hintInit(err)
	if err != nil {
		return nil, KindConfig.as(err)
	}
	for _, n := range s.Notices() {
		o.Notice(n)
	}
	r, err := o.report(s, reveal, "")
	return r, KindConfig.as(err)
}

// RotateSecrets makes a part of the secrets anew, encrypted as before, or by e. The
// old file is kept beside it.
func RotateSecrets(o Options, part SecretsPart, e Encryption) (*SecretsReport, error) {
	o = o.withDefaults()
	s, e, err := o.changing(e)
	if err != nil {
		return nil, KindConfig.as(err)
	}
	s, backup, err := s.Rotate(part, e)
	if err != nil {
		return nil, KindConfig.as(err)
	}
	r, err := o.report(s, false, "rotated")
	if err != nil {
		return nil, KindConfig.as(err)
	}
	r.Backup = backup
	return r, nil
}

// EncryptSecrets encrypts the secrets file, or encrypts it in another way. The zero
// e decrypts it.
func EncryptSecrets(o Options, e Encryption) (*SecretsReport, error) {
	o = o.withDefaults()
	done := "encrypted"
	if e.None() {
		done = "decrypted"
	}
	err := o.onlyFile()
	if err == nil {
		err = KindUsage.as(e.Check())
	}
	if err != nil {
		return nil, KindConfig.as(err)
	}
	s, err := o.ownSecrets("")
	if err == nil {
		s, err = s.Encrypt(e)
	}
	if err != nil {
		return nil, KindConfig.as(err)
	}
	for n := 1; !e.None(); n++ {
		backup := fmt.Sprintf("%s.%d", s.Path(), n)
		old, err := secrets.Load(backup, secrets.Unlock{})
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err == nil && !old.Encrypted() {
			o.Notice(backup + ", an earlier state of the secrets, is not encrypted: remove it when its cards are no longer in use")
		}
	}
	r, err := o.report(s, false, done)
	return r, KindConfig.as(err)
}

// changing reads the secrets to change them, and says how they are to be encrypted.
func (o Options) changing(e Encryption) (*secrets.Secrets, Encryption, error) {
	if err := o.onlyFile(); err != nil {
		return nil, e, err
	}
	if err := e.Check(); err != nil {
		return nil, e, KindUsage.as(err)
	}
	s, err := o.ownSecrets("")
	if err != nil {
		return nil, e, err
	}
	e, err = encryptionFor(s, e)
	return s, e, err
}

// onlyFile refuses to change what is not a file.
func (o Options) onlyFile() error {
	if o.SecretsContent != nil {
		return KindUsage.as(fmt.Errorf("%s is set, and it is a file that is to be changed: unset it", SecretsVariable))
	}
	return nil
}

// ownSecrets reads the secrets, and sees to it that they are those of the cluster
// that is named, or else of nodes.yaml if it is there.
func (o Options) ownSecrets(cluster string) (*secrets.Secrets, error) {
	s, err := o.readSecrets(o.NodesFile)
	if err != nil {
		return nil, hintInit(err)
	}
	if config, err := o.loadNodes(); cluster == "" && err == nil {
		cluster = config.Cluster.Name
	}
	if cluster == "" {
		return s, nil
	}
	return s, s.CheckCluster(cluster)
}

func (o Options) loadNodes() (*nodes.Config, error) {
	return nodes.Load(o.NodesFile, nodes.Env{Lookup: o.Env})
}

// encryptionFor is e, or else that of the file as it is.
func encryptionFor(s *secrets.Secrets, e Encryption) (Encryption, error) {
	if !e.None() {
		return e, nil
	}
	e, known := s.Encryption()
	if !known {
		return e, fmt.Errorf("%s is encrypted to recipients that it does not name: give them with --recipient", s.Path())
	}
	return e, nil
}

func (o Options) report(s *secrets.Secrets, reveal bool, done string) (*SecretsReport, error) {
	d, err := s.Describe(reveal)
	if err != nil {
		return nil, err
	}
	r := &SecretsReport{File: s.Path(), Description: *d, Done: done}
	config, err := o.loadNodes()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, nil
	case err != nil:
		o.Notice(fmt.Sprintf("%s cannot be read, so nodes and their tokens are left out; piimg plan says what is wrong with it", o.NodesFile))
		return r, nil
	case config.Cluster.Name != s.Cluster():
		o.Notice(fmt.Sprintf("%s is of the cluster %q, so its nodes are left out", o.NodesFile, config.Cluster.Name))
		return r, nil
	}
	if k := config.Kubernetes; k == nil || k.Distribution != nodes.Kubeadm || len(d.Missing) > 0 {
		return r, nil
	}
	for i, n := range append(config.ControlPlanes(), config.Workers()...) {
		if i == 0 {
			continue // the first control plane joins nothing
		}
		token := s.BootstrapToken(n.Hostname)
		t := NodeToken{Node: n.Hostname, ID: token.ID()}
		if reveal {
			t.Token = token.Reveal()
		}
		r.Tokens = append(r.Tokens, t)
	}
	return r, nil
}

// WriteText prints the report for people. The form may change.
func (r *SecretsReport) WriteText(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-17s%s\n", name, fmt.Sprintf(format, args...))
	}
	line("file", "%s", r.File)
	if r.Done != "" {
		line("done", "%s", r.Done)
	}
	if r.Backup != "" {
		line("backup", "%s", r.Backup)
	}
	line("cluster", "%s", r.Cluster)
	switch {
	case !r.Encrypted:
		line("encrypted", "no")
	case len(r.Recipients) == 0:
		line("encrypted", "by age")
	}
	for i, to := range r.Recipients {
		if i == 0 {
			line("encrypted", "by age, to %s", to)
		} else {
			line("", "and %s", to)
		}
	}
	if r.Created != "" {
		line("created", "%s", r.Created)
	}
	keys := r.Authorities
	if r.ServiceAccount != nil {
		keys = append(keys[:len(keys):len(keys)], *r.ServiceAccount)
	}
	for _, k := range keys {
		if k.NotBefore == nil {
			line(k.Name, "%s", k.Kind)
		} else {
			line(k.Name, "%s, %s, valid %s to %s", k.Subject, k.Kind, k.NotBefore.Format(time.DateOnly), k.NotAfter.Format(time.DateOnly))
		}
		line("", "%s", k.Pin)
		b.WriteString(k.Key)
	}
	for _, t := range r.Tokens {
		text := t.Token
		if text == "" {
			text = t.ID + ".<secret>"
		}
		line("token", "%s  %s", text, t.Node)
	}
	if len(r.Missing) > 0 {
		line("missing", "%s: piimg secrets init adds it, for Kubernetes", strings.Join(r.Missing, ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
