// Package tooltest finds the programs of others that tests compare piimg with.
package tooltest

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// T is what is needed of a test: a *testing.T, or the T of a property-based test.
type T interface {
	Helper()
	Fatal(args ...any)
	Skip(args ...any)
}

// Path returns the path of a program, of which the name or a path is given. Without the program the test is skipped, and
// with CI=true it fails. A program that testdata/tools.sh would not install fails the
// test on every machine: somewhere it would be missing.
func Path(t T, name string) string {
	t.Helper()
	names, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	if base := filepath.Base(name); base != "go" && !slices.Contains(names, base) {
		t.Fatal(name + " is none of the programs that testdata/tools.sh installs: name it there, with its package")
	}
	// A user's PATH does not lead to the programs of the administrator on Debian.
	for _, dir := range []string{"", "/usr/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p
		}
	}
	Skip(t, name+" is not installed; `make test` installs it")
	return ""
}

// Need is [Path] for several programs, of which the paths are not wanted.
func Need(t T, names ...string) {
	t.Helper()
	for _, name := range names {
		Path(t, name)
	}
}

// Skip skips the test, or fails with CI=true, where nothing may be left out.
func Skip(t T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// installed returns the programs that testdata/tools.sh installs.
func installed() (names []string, err error) {
	dir, err := filepath.Abs(".") // a test begins in its package's folder
	if err != nil {
		return nil, err
	}
	for {
		script, err := os.ReadFile(filepath.Join(dir, "testdata", "tools.sh"))
		if up := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && up != dir {
			dir = up
			continue
		}
		if err != nil {
			return nil, err
		}
		_, list, _ := strings.Cut(string(script), "\ntools=(\n")
		list, _, _ = strings.Cut(list, "\n)\n")
		for _, pair := range strings.Fields(list) {
			name, _, _ := strings.Cut(pair, "=")
			names = append(names, name)
		}
		return names, nil
	}
}
