package sink

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// SumsName is the name of the file of checksums, in the form of sha256sum(1).
const SumsName = "SHA256SUMS"

// UpdateSums writes dir's SHA256SUMS: a line for each of results, and the lines
// that were there before for other files that still exist, so that building
// some of the nodes again keeps the others' lines. Lines are sorted by name.
func UpdateSums(dir string, results []Result) error {
	sums := map[string]string{}
	path := filepath.Join(dir, SumsName)
	old, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("failed to read the checksums of an earlier build: %w", err)
	}
	for sc := bufio.NewScanner(bytes.NewReader(old)); sc.Scan(); {
		sum, name, ok := strings.Cut(sc.Text(), "  ")
		if _, err := hex.DecodeString(sum); !ok || err != nil || len(sum) != 64 || name != filepath.Base(name) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			sums[name] = sum
		}
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
	return WriteFile(path, b.Bytes(), 0o644)
}

// WriteFile publishes a small file: a temporary file beside path, fsync, rename.
func WriteFile(path string, content []byte, mode fs.FileMode) (err error) {
	f, err := createTemp(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			err = fmt.Errorf("failed to write %s: %w", path, err)
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
