package imagebuild

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/secrets"
)

// SecretsVariable is the environment variable whose value programs pass on as
// Options.SecretsContent; problems call the content by this name.
const SecretsVariable = "PIIMG_SECRETS"

// secretsPath is where the secrets of the cluster of a nodes file are kept.
func (o Options) secretsPath(nodesFile string) string {
	if o.SecretsFile != "" {
		return o.SecretsFile
	}
	return filepath.Join(filepath.Dir(nodesFile), "secrets.yaml")
}

// readSecrets reads the secrets, of whatever cluster. If there are none, the error
// wraps fs.ErrNotExist.
func (o Options) readSecrets(nodesFile string) (*secrets.Secrets, error) {
	if o.SecretsContent != nil {
		return secrets.Parse(SecretsVariable, o.SecretsContent, o.Unlock)
	}
	return secrets.Load(o.secretsPath(nodesFile), o.Unlock)
}

// loadSecrets returns the secrets of a cluster, or nil if there are none and some
// may be made.
func (o Options) loadSecrets(config *nodes.Config) (*secrets.Secrets, error) {
	s, err := o.readSecrets(config.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.NoCreateSecrets:
		why := "--no-create-secrets forbids to make one"
		if o.Shard.Count > 1 {
			why = "each shard would make another"
		}
		return nil, fmt.Errorf("there is no %s, and %s: put the cluster's file there, set %s to its content, "+
			"or, for a new cluster, run piimg secrets init", o.secretsPath(config.Path), why, SecretsVariable)
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := s.CheckCluster(config.Cluster.Name); err != nil {
		return nil, err
	}
	if config.Kubernetes != nil {
		_, err = s.Kubernetes() // told once, not for every node
	}
	return s, err
}

// createdNotice says what a new secrets file is.
func createdNotice(path string) string {
	text := fmt.Sprintf(`MADE NEW SECRETS in %s
  This file is the root of the cluster: its certificate authorities, and the seeds
  of its tokens, host keys and salts.
  - Keep it, and a backup of it: without it no image can be built that fits this cluster.
  - Keep it to yourself: whoever reads it owns the cluster.
  - If this is a machine that forgets, such as CI, the next build would make another
    cluster: use --no-create-secrets there, and give the file as %s.`, path, SecretsVariable)
	if repository := tracking(path); repository != "" {
		text += fmt.Sprintf("\n  - IT IS INSIDE THE GIT REPOSITORY %s, AND NOT IGNORED: add %s to .gitignore.", repository, filepath.Base(path))
	}
	return text
}

// tracking returns the git repository that a file is in, or "" if it is in none or
// a .gitignore there names the file. It knows names and paths, not patterns.
func tracking(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if rel, err := filepath.Rel(dir, path); err == nil && ignores(filepath.Join(dir, ".gitignore"), filepath.ToSlash(rel)) {
			return ""
		}
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// ignores says whether a .gitignore names a path, a folder of it, or its base name.
func ignores(file, path string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	elements := strings.Split(path, "/")
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		name := strings.Trim(line, "/")
		if name == "" {
			continue
		}
		if strings.Contains(strings.TrimSuffix(line, "/"), "/") { // a path from here
			if path == name || strings.HasPrefix(path, name+"/") {
				return true
			}
		} else if slices.Contains(elements, name) {
			return true
		}
	}
	return false
}
