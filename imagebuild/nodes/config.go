package nodes

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
)

// Config is a nodes.yaml that was read, checked and resolved: defaults merged
// into the nodes, paths absolute, key files read, passwords and passphrases
// fetched from where the file says.
type Config struct {
	Path    string // of nodes.yaml, absolute
	SHA256  string // of nodes.yaml's bytes, lower-case hex
	Image   Image
	Cluster Cluster
	Nodes   []Node // in the order of the file
	// Kubernetes is nil without a kubernetes block: then roles configure hosts
	// only, all in the same way.
	Kubernetes *Kubernetes
	// Notices are things that the user should know, and that are not wrong.
	Notices []Problem
	planes  []Node // what ControlPlanes returns, which every node's plan asks for
}

// Image says where the base image comes from: exactly one of Path and URL is set.
type Image struct {
	Path   string // absolute
	URL    string // https only
	SHA256 string // 64 lower-case hex digits or empty; never empty with URL
	// RootSize is what the root partition is enlarged to, in bytes, a multiple of
	// 1 MiB; 0 leaves it as it is.
	RootSize int64
}

// Cluster is what the nodes have in common.
type Cluster struct {
	Name    string
	Network netip.Prefix // zero if no node needs it
	Gateway netip.Addr   // zero if not given
	DNS     []netip.Addr
}

// Role is what a node is for.
type Role string

// The roles. With a kubernetes block, control planes and workers form a cluster.
const (
	ControlPlane Role = "control-plane"
	Worker       Role = "worker"
	Router       Role = "router"
	Plain        Role = "plain" // a configured host and nothing more
)

// Node is one Raspberry Pi.
type Node struct {
	Hostname string
	Role     Role
	// IP is the static address; the zero Addr means DHCP.
	IP        netip.Addr
	MAC       net.HardwareAddr // nil if not given
	Interface string           // "eth0" unless given
	Memory    int64            // the board's RAM in bytes; 0 if not given
	Domain    string           // "" or an RFC 1123 domain name
	User      User
	Timezone  string // "" leaves the image's
	Locale    string // "" leaves the image's
	Keymap    string // "" leaves the image's
	NTP       []string
	Swap      bool // whether the image's own swap stays on
	SSH       bool
	Sudo      Sudo
	Wifi      *Wifi
	Cmdline   []string // arguments appended to cmdline.txt
	Config    []string // lines appended to config.txt
	Files     []File
	Overlays  []string // absolute folders, each with root/ and/or boot/
}

// Sudo says what the user may do with sudo.
type Sudo string

// The ways of sudo.
const (
	SudoNoPassword Sudo = "nopasswd" // the default, as on the images published until 2025
	SudoPassword   Sudo = "password"
	SudoNone       Sudo = "none"
)

// User is the login user, uid 1000.
type User struct {
	Name string // "pi" unless given
	// PasswordHash is the crypt(5) hash given in the file; "" if none was.
	PasswordHash Secret
	// Password is the clear text that came from a file or the environment, to
	// be hashed; "" if none did. With neither, the account's password is locked.
	Password       Secret
	AuthorizedKeys []string // lines of authorized_keys, without newlines
}

// Wifi is a WPA-PSK (or open) network.
type Wifi struct {
	SSID       string
	Passphrase Secret // 8 to 63 characters, or 64 hex digits; "" is an open network
	Country    string // ISO 3166-1 alpha-2, upper case
	Hidden     bool
}

// File is one file that the user puts into the image.
type File struct {
	Path    string // absolute in the image, cleaned
	Content []byte // unless Source is set
	Source  string // absolute path on the host
	Mode    fs.FileMode
	Owner   string // "user:group", names or numbers, resolved in the image
}

// Secret is a string that prints as <secret>.
type Secret string

// Format prints a placeholder for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "<secret>") }

// String returns a placeholder, so that no %v or %s shows the secret.
func (Secret) String() string { return "<secret>" }

// GoString does for %#v what String does for %v.
func (Secret) GoString() string { return "<secret>" }

// MarshalText keeps the secret out of JSON and YAML as well.
func (Secret) MarshalText() ([]byte, error) { return []byte("<secret>"), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }
