package sink

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// SumsName is the name of the file of checksums, in the form of sha256sum(1).
const SumsName = "SHA256SUMS"

// CheckSums returns an error unless every line of a file of checksums has the
// form that [UpdatedSums] gives it.
func CheckSums(content []byte) error {
	for line := range strings.Lines(string(content)) {
		if _, _, ok := parseSum(line); !ok {
			return fmt.Errorf("%q is no line of sha256sum", strings.TrimSuffix(line, "\n"))
		}
	}
	return nil
}

// parseSum splits a line of sha256sum(1): a digest, two characters, a name.
func parseSum(line string) (sum, name string, ok bool) {
	sum, name, ok = strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	if !ok || len(sum) != 64 || len(name) < 2 || name[0] != ' ' && name[0] != '*' {
		return "", "", false
	}
	_, err := hex.DecodeString(sum)
	return sum, name[1:], err == nil
}

// Sum is a line of a file of checksums.
type Sum struct {
	Name   string
	SHA256 string // hex
}

// ReadSums returns the lines of a file of checksums, and those that are none.
func ReadSums(content []byte) (sums []Sum, wrong []string) {
	for line := range strings.Lines(string(content)) {
		if sum, name, ok := parseSum(line); ok && strings.HasSuffix(line, "\n") {
			sums = append(sums, Sum{name, sum})
		} else {
			wrong = append(wrong, strings.TrimSuffix(line, "\n"))
		}
	}
	return sums, wrong
}

// UpdatedSums returns what dir's SHA256SUMS is to be: a line for each of results, and
// the lines that were there before for other files, so that building some of the nodes
// again keeps the others' lines. Those of images and block maps that are gone are
// left out.
// Lines are sorted by name. The caller holds the [Lock], if other builds may write to
// the folder.
func UpdatedSums(dir string, results []Result) ([]byte, error) {
	sums := map[string]string{}
	path := filepath.Join(dir, SumsName)
	old, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("failed to read the checksums of an earlier build: %w", err)
	}
	for line := range strings.Lines(string(old)) {
		sum, name, ok := parseSum(line)
		if !ok || gone(dir, name) {
			continue
		}
		sums[name] = sum
	}
	for _, r := range results {
		sums[filepath.Base(r.Path)] = hex.EncodeToString(r.SHA256[:])
	}
	names := make([]string, 0, len(sums))
	for name := range sums {
		names = append(names, name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	for _, name := range names {
		fmt.Fprintf(&b, "%s  %s\n", sums[name], name)
	}
	return b.Bytes(), nil
}

// gone reports whether name is that of an image in dir, or of a block map, that is
// not there.
func gone(dir, name string) bool {
	_, rest, _ := strings.Cut(name, ".")
	switch {
	case name != filepath.Base(name):
		return false
	case rest != "img" && !strings.HasPrefix(rest, "img."):
		return false
	}
	_, err := os.Lstat(filepath.Join(dir, name))
	return errors.Is(err, fs.ErrNotExist)
}

// WriteFile publishes a small file: a temporary file beside path, fsync, rename.
func WriteFile(path string, content []byte, mode fs.FileMode) (err error) {
	f, err := createTemp(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = removeTemp(f)
			err = writeFailed(path, err)
		}
	}()
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return publish(f, path)
}
