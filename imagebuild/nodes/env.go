package nodes

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// Env is what [Load] reads besides nodes.yaml and the files that it names. The
// zero Env is the process's own.
type Env struct {
	// Lookup looks up environment variables; nil is os.LookupEnv.
	Lookup func(name string) (value string, ok bool)
	// Home is the folder that ~ stands for; "" is the user's home folder.
	Home string
}

func (e Env) withDefaults() Env {
	if e.Lookup == nil {
		e.Lookup = os.LookupEnv
	}
	if e.Home == "" {
		e.Home, _ = os.UserHomeDir() // without one, ~ is refused where it is used
	}
	return e
}

// hostPath resolves a path of nodes.yaml: ~ is the home folder, relative paths
// start in dir. Both are absolute.
func hostPath(p, dir, home string) (string, error) {
	return resolvePath(runtime.GOOS == "windows", p, dir, home)
}

// resolvePath is hostPath for a given kind of system. On Windows both kinds of
// slashes separate, so that one nodes.yaml serves all systems.
func resolvePath(windows bool, p, dir, home string) (string, error) {
	if strings.ContainsRune(p, 0) {
		return "", fmt.Errorf("the path holds a NUL character")
	}
	slash := func(s string) string { return s }
	back := slash
	if windows {
		slash = func(s string) string { return strings.ReplaceAll(s, `\`, "/") }
		back = func(s string) string { return strings.ReplaceAll(s, "/", `\`) }
	}
	s := slash(p)
	switch {
	case s == "~" || strings.HasPrefix(s, "~/"):
		if home == "" {
			return "", fmt.Errorf("there is no home folder for ~ to stand for")
		}
		return back(clean(windows, slash(home)+s[1:])), nil
	case strings.HasPrefix(s, "~"):
		return "", fmt.Errorf("only your own home folder can be written with ~, as ~/…")
	case windows && strings.HasPrefix(s, "//"):
		return back(clean(windows, s)), nil // \\server\share
	case windows && len(s) >= 3 && s[1] == ':' && s[2] == '/':
		return back(clean(windows, s)), nil
	case windows && (strings.HasPrefix(s, "/") || len(s) >= 2 && s[1] == ':'):
		return "", fmt.Errorf("the path depends on the current drive")
	case !windows && strings.HasPrefix(s, "/"):
		return path.Clean(s), nil
	}
	return back(clean(windows, slash(dir)+"/"+s)), nil
}

// clean is path.Clean that keeps the two slashes before a Windows server's name.
func clean(windows bool, s string) string {
	if windows && strings.HasPrefix(s, "//") {
		return "/" + path.Clean(s[1:])
	}
	return path.Clean(s)
}

// absolute is filepath.Abs with an error that names the path.
func absolute(p string) (string, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", fmt.Errorf("failed to find the folder of %s: %w", p, err)
	}
	return abs, nil
}
