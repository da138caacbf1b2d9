package nodes

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

// Error is everything that is wrong with a nodes.yaml, in the order of the file.
// Its text is meant for people; its fields and their JSON for programs.
type Error = strictyaml.Error

// Problem is one thing that is wrong with a nodes.yaml, and what to do about it.
type Problem = strictyaml.Problem

// Load reads nodes.yaml, checks it and resolves it. Path may be relative; what
// the file names is relative to the file's own folder.
//
// If the file was read but is wrong, the error is an *[Error] with all problems
// at once; syntax errors stop at the first. Neither it nor the Config's notices
// hold a secret. The nodes may share slices: they are to be read only.
func Load(path string, env Env) (*Config, error) {
	abs, err := absolute(path)
	if err != nil {
		return nil, err
	}
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return parse(path, abs, data, env)
}

// read reads a file that may be anything, and more of it than is allowed only
// so far that the parser refuses it.
func read(path string) ([]byte, error) {
	// A pipe would be waited for without an end.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("cannot read the nodes: %s is no regular file", path)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the nodes: %w: name the file with --nodes, or change to its folder", err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the nodes: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, strictyaml.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the nodes: %w", err)
	}
	return data, nil
}

// parse is Load of bytes. Name is what problems call the file.
func parse(name, abs string, data []byte, env Env) (*Config, error) {
	root, report := strictyaml.Parse(name, data)
	if root == nil {
		return nil, report.Err()
	}
	var d document
	strictyaml.Decode(report, root, &d)
	c := &checker{r: report, name: name, dir: filepath.Dir(abs), env: env.withDefaults(), misread: report.Failed(), told: map[[3]string]bool{}}
	for _, part := range []string{"cluster", "defaults", "nodes"} {
		c.nodesMisread = c.nodesMisread || report.FailedIn(part)
	}
	config := c.document(d)
	if err := report.Err(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	config.Path, config.SHA256, config.Notices = abs, hex.EncodeToString(sum[:]), report.Notices()
	return config, nil
}
