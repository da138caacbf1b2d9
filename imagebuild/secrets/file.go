package secrets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

// Load reads a secrets file, and decrypts it if need be. If there is none, the
// error wraps fs.ErrNotExist; if it is wrong, it is a *strictyaml.Error with every
// problem. A file that others may read gives a notice, unless it is encrypted.
func Load(path string, u Unlock) (*Secrets, error) {
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
	s, err := Parse(path, data, u)
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 && !s.encrypted {
		s.notices = append(s.notices, fmt.Sprintf("%s can be read by other users (mode %04o): run chmod 600 %s", path, info.Mode().Perm(), path))
	}
	return s, nil
}

// Parse is Load of a file's content, which may come from elsewhere. Name is what
// problems call it.
func Parse(name string, data []byte, u Unlock) (*Secrets, error) {
	if !encrypted(data) {
		return parse(name, data)
	}
	content, e, err := decrypt(name, data, u)
	if err != nil {
		return nil, err
	}
	s, err := parse(name, content)
	if err != nil {
		return nil, err
	}
	if len(e.Passphrase) == 0 {
		e.Recipients = s.recipients
	}
	s.encrypted, s.encryption = true, e
	return s, nil
}

// Create draws seeds, authorities and keys, and writes a new secrets file, readable
// by its owner only. An existing file is never replaced: the error then wraps
// fs.ErrExist. The file appears under its name complete, or not at all.
func Create(path, cluster string) (*Secrets, error) {
	return CreateEncrypted(path, cluster, Encryption{})
}

// CreateEncrypted is [Create] of a file that is encrypted.
func CreateEncrypted(path, cluster string, e Encryption) (*Secrets, error) {
	s, err := draw(path, cluster, time.Now())
	if err != nil {
		return nil, err
	}
	data, err := s.seal(e)
	if err != nil {
		return nil, err
	}
	if err := writeNew(path, data); err != nil {
		return nil, fmt.Errorf("failed to write the secrets: %w", err)
	}
	s.encrypted, s.encryption, s.recipients = !e.None(), e, e.Recipients
	return s, nil
}

// LoadOrCreate loads a secrets file and checks that it belongs to the cluster,
// or creates it, not encrypted. Of several processes that do so at once, one
// creates the file and all get the same secrets.
func LoadOrCreate(path, cluster string, u Unlock) (s *Secrets, created bool, err error) {
	s, err = Load(path, u)
	if errors.Is(err, fs.ErrNotExist) {
		if s, err = Draw(path, cluster); err == nil {
			return s.Keep(u)
		}
	}
	if err == nil {
		err = s.CheckCluster(cluster)
	}
	if err != nil {
		return nil, false, err
	}
	return s, false, nil
}

// Draw draws the secrets of a new cluster for a file, and does not write it yet:
// [Secrets.Keep] does.
func Draw(path, cluster string) (*Secrets, error) { return draw(path, cluster, time.Now()) }

// Keep writes secrets that were drawn to their file, not encrypted, and returns
// them. If there is a file by now, it returns those in it instead, once they are
// seen to be of the same cluster.
func (s *Secrets) Keep(u Unlock) (kept *Secrets, created bool, err error) {
	data, err := s.seal(Encryption{})
	if err != nil {
		return nil, false, err
	}
	err = writeNew(s.path, data)
	if err == nil {
		return s, true, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, false, fmt.Errorf("failed to write the secrets: %w", err)
	}
	if kept, err = loadSoon(s.path, u); err == nil {
		err = kept.CheckCluster(s.cluster)
	}
	if err != nil {
		return nil, false, err
	}
	return kept, false, nil
}

// loadSoon loads a file that another process has just created. On a file system
// without hard links it may still be on its way to the disk.
func loadSoon(path string, u Unlock) (*Secrets, error) {
	for range 50 {
		if info, err := os.Stat(path); err != nil || info.Size() > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return Load(path, u)
}
