package nodes

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"runtime"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

const (
	// hashPattern is crypt(5)'s sha512crypt, sha256crypt and yescrypt.
	hashPattern = `^(\$6\$(rounds=[1-9][0-9]{3,8}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86}` +
		`|\$5\$(rounds=[1-9][0-9]{3,8}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{43}` +
		`|\$y\$[./0-9A-Za-z]{3,11}\$[./0-9A-Za-z]{1,86}\$[./0-9A-Za-z]{43})$`
	envPattern = `^[A-Za-z_][A-Za-z0-9_]*$`

	passwordHint = "a clear-text password does not belong in nodes.yaml: use {hash: …} with what `openssl passwd -6` prints, {file: PATH} or {env: NAME}"
	wifiHint     = "a clear-text passphrase does not belong in nodes.yaml: use {file: PATH} or {env: NAME}"
)

var (
	hashRE    = regexp.MustCompile(hashPattern)
	anyHashRE = regexp.MustCompile(`^\$(1|2[abxy]?|5|6|7|y|gy|sha1)\$.+\$.`)
	envRE     = regexp.MustCompile(envPattern)
)

// Mismatch refuses a password that stands in the file.
func (passwordDoc) Mismatch(n *strictyaml.Node) (string, string) {
	if n.Kind == strictyaml.Null {
		return "the key has no value", "give it {hash: …}, {file: PATH} or {env: NAME}, or remove the key"
	}
	if n.Kind == strictyaml.String && hashRE.MatchString(n.Text) {
		return "must be a mapping", `write it as {hash: "$…"}`
	}
	return "must be a mapping that says where the password is", passwordHint
}

// Mismatch refuses a passphrase that stands in the file.
func (passphraseDoc) Mismatch(n *strictyaml.Node) (string, string) {
	if n.Kind == strictyaml.Null {
		return "the key has no value", "give it {file: PATH} or {env: NAME}, or remove the key for an open network"
	}
	return "must be a mapping that says where the passphrase is", wifiHint
}

// password is where a login password comes from.
type password struct {
	hash  Secret
	clear Secret
}

func (c *checker) password(v value[passwordDoc]) password {
	d := v.V
	switch given := count(d.Hash.Given(), d.File.Given(), d.Env.Given()); {
	case given == 0 && len(v.Node.Entries) == 0:
		c.fail(at(v), "give it {hash: …}, {file: PATH} or {env: NAME}, or remove the key", "the password is empty")
		return password{}
	case given == 0:
		return password{} // an unknown key, which was reported
	case given > 1:
		c.fail(at(v), "keep one of them", "hash, file and env exclude each other")
		return password{}
	}
	if d.Hash.Given() {
		return password{hash: c.hash(d.Hash)}
	}
	clear := c.secret(d.File, d.Env)
	switch {
	case clear == "":
	case anyHashRE.MatchString(clear):
		c.fail(at(v), "put a hash into nodes.yaml as {hash: …}", "what is there is a hash already, and would be hashed again")
		return password{}
	case len(clear) > 511:
		c.fail(at(v), "", "the password has %d bytes; at most 511 can be typed at a login", len(clear))
		return password{}
	}
	return password{clear: Secret(clear)}
}

func count(all ...bool) int {
	n := 0
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}

func (c *checker) hash(v text) Secret {
	if !v.Set() {
		return ""
	}
	s := v.V
	hint := "use what `openssl passwd -6` prints, in single quotes"
	switch {
	case hashRE.MatchString(s):
		return Secret(s)
	case s == "":
		c.fail(at(v), hint, "the hash is empty")
	case strings.HasPrefix(s, "$6$"), strings.HasPrefix(s, "$5$"), strings.HasPrefix(s, "$y$"):
		c.fail(at(v), "copy the whole of what `openssl passwd -6` prints, in single quotes",
			"the %s hash is not complete, or holds other characters than letters, digits, dots and slashes", s[:3])
	case strings.HasPrefix(s, "$1$"), strings.HasPrefix(s, "$2"), strings.HasPrefix(s, "$7$"), strings.HasPrefix(s, "$gy$"), strings.HasPrefix(s, "$sha1$"):
		c.fail(at(v), hint, "hashes of this kind are weak, or not known to every release: $6$, $5$ and $y$ are allowed")
	case strings.HasPrefix(s, "!"), strings.HasPrefix(s, "*"):
		c.fail(at(v), "leave password out to lock it", "this is no hash, but locks the account")
	default:
		c.fail(at(v), passwordHint, "this is not a password hash of crypt(5)")
	}
	return ""
}

// secret reads a secret from a file or an environment variable; one of the two
// is given. It returns "" after a problem.
func (c *checker) secret(file, env text) string {
	var s string
	var from place
	if file.Given() {
		from = at(file)
		if !file.Set() {
			return ""
		}
		data, ok := c.readFile(file, 64<<10, true)
		if !ok {
			return ""
		}
		s = string(data)
	} else {
		from = at(env)
		if !env.Set() {
			return ""
		}
		if !envRE.MatchString(env.V) {
			// It may be the secret itself.
			c.r.Mask(env.Span())
			c.fail(from, "give the variable's name alone, without $", "this is not the name of an environment variable")
			return ""
		}
		var ok bool
		if s, ok = c.env.Lookup(env.V); !ok {
			c.fail(from, fmt.Sprintf("run piimg with it: read -rs %s; export %s", env.V, env.V), "the environment variable %s is not set", env.V)
			return ""
		}
	}
	s = strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
	switch {
	case s == "":
		c.fail(from, "", "there is nothing in it")
	case strings.ContainsAny(s, "\n\r"):
		c.fail(from, "leave one line in it", "it holds more than one line")
	case strings.ContainsRune(s, 0):
		c.fail(from, "", "it holds a NUL character")
	default:
		return s
	}
	return ""
}

// readFile reads a regular file that nodes.yaml names, of at most limit bytes.
// Private files should be their owner's alone: others give a notice.
func (c *checker) readFile(v text, limit int64, private bool) ([]byte, bool) {
	path, info, ok := c.statFile(v)
	if !ok {
		return nil, false
	}
	if info.Size() > limit {
		c.fail(at(v), "", "%s has %d bytes; at most %d are expected here", path, info.Size(), limit)
		return nil, false
	}
	if private && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		c.notice(at(v), "%s can be read by other users (mode %04o); chmod 600 keeps it yours", path, info.Mode().Perm())
	}
	f, err := os.Open(path)
	if err != nil {
		c.fail(at(v), "", "cannot open the file: %v", err)
		return nil, false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		c.fail(at(v), "", "cannot read the file: %v", err)
		return nil, false
	}
	return data, true
}

// statFile resolves the path of a regular file and looks at it.
func (c *checker) statFile(v text) (string, fs.FileInfo, bool) {
	path, info, ok := c.stat(v)
	if ok && !info.Mode().IsRegular() {
		what := "not a regular file"
		if info.IsDir() {
			what = "a folder, not a file"
		}
		c.fail(at(v), "", "%s is %s", path, what)
		return "", nil, false
	}
	return path, info, ok
}

// resolve makes a full path of one of nodes.yaml.
func (c *checker) resolve(v text) (string, bool) {
	if v.V == "" {
		c.fail(at(v), "", "the path is empty")
		return "", false
	}
	path, err := hostPath(v.V, c.dir, c.env.Home)
	if err != nil {
		c.fail(at(v), "write a full path, or one relative to nodes.yaml", "%v", err)
		return "", false
	}
	return path, true
}

// stat resolves a path of nodes.yaml and looks at what is there.
func (c *checker) stat(v text) (string, fs.FileInfo, bool) {
	path, ok := c.resolve(v)
	if !ok {
		return "", nil, false
	}
	info, err := os.Stat(path)
	if err != nil {
		hint := ""
		if os.IsNotExist(err) {
			if !strings.HasPrefix(v.V, "~") && path != v.V {
				hint = "relative paths start in the folder of nodes.yaml: " + c.dir
			}
			err = fmt.Errorf("%s does not exist", path)
		}
		c.fail(at(v), hint, "%v", err)
		return "", nil, false
	}
	return path, info, true
}
