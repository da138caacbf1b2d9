package raspios

import (
	"fmt"
	"slices"
	"strings"
)

// Release is a generation of Raspberry Pi OS, by the code name of the Debian
// release that it is made from.
type Release string

// The releases that piimg edits, in the order in which they came.
const (
	Stretch  Release = "stretch"  // 2017 to 2019
	Buster   Release = "buster"   // 2019 to 2021
	Bullseye Release = "bullseye" // 2021 to 2023
	Bookworm Release = "bookworm" // 2023 to 2025
	Trixie   Release = "trixie"   // since 2025
)

// Releases returns the releases that piimg edits, oldest first.
func Releases() []Release { return []Release{Stretch, Buster, Bullseye, Bookworm, Trixie} }

// number returns Debian's number of the release, 0 for one that is not supported.
func (r Release) number() int {
	if i := slices.Index(Releases(), r); i >= 0 {
		return 9 + i
	}
	return 0
}

// before reports whether r came before o.
func (r Release) before(o Release) bool { return r.number() < o.number() }

// NotRaspberryPiOSError says that an image holds something else.
type NotRaspberryPiOSError struct {
	Found string // what it holds: "Ubuntu 24.04.1 LTS (noble)", "no os-release file"
}

// Error says what was found and what was wanted.
func (e *NotRaspberryPiOSError) Error() string {
	return fmt.Sprintf("the image is no Raspberry Pi OS but has %s; take an image from raspberrypi.com/software/operating-systems", e.Found)
}

// UnsupportedReleaseError says that an image holds a generation of Raspberry Pi
// OS that this version does not know how to edit.
type UnsupportedReleaseError struct {
	Found string // what os-release says
}

// Error names the release that was found, and those that are supported.
func (e *UnsupportedReleaseError) Error() string {
	var names []string
	for _, r := range Releases() {
		names = append(names, string(r))
	}
	return fmt.Sprintf("the image has %s, which this version of piimg does not know how to edit; it knows %s", e.Found, strings.Join(names, ", "))
}

// Network names what configures the network of an image.
type Network string

// The ways in which releases configure the network.
const (
	Dhcpcd         Network = "dhcpcd"
	NetworkManager Network = "NetworkManager"
	UnknownNetwork Network = "" // neither is enabled
)

// Facts are what an image says about itself: everything that decides how it is
// edited, and what a person wants to know who looks at it. Paths are absolute in
// the image.
type Facts struct {
	Release      Release `json:"release"`
	PrettyName   string  `json:"prettyName"`     // of os-release: "Debian GNU/Linux 12 (bookworm)"
	Architecture string  `json:"architecture"`   // dpkg's: armhf, arm64; "" if it cannot be told
	Date         string  `json:"date,omitempty"` // of rpi-issue: "2024-11-19"
	Stage        string  `json:"stage,omitempty"`
	Desktop      bool    `json:"desktop"`
	BootMount    string  `json:"bootMount"` // "/boot" or "/boot/firmware"
	MergedUsr    bool    `json:"mergedUsr"` // whether /lib is /usr/lib
	Systemd      int     `json:"systemd,omitempty"`

	Hostname string `json:"hostname"`
	Timezone string `json:"timezone,omitempty"`
	Locale   string `json:"locale,omitempty"`
	Keymap   string `json:"keymap,omitempty"`
	// Locales are those that were generated, as locale -a prints them.
	Locales []string `json:"locales"`

	Users   []User       `json:"users"` // those that people log in with, by uid
	SSH     SSHFacts     `json:"ssh"`
	Swap    SwapFacts    `json:"swap"`
	Network NetworkFacts `json:"network"`

	// FirstBoot says what the image does on its first boot: "init=…" or "resize"
	// of cmdline.txt; "" if nothing.
	FirstBoot string `json:"firstBoot,omitempty"`
	// Presets says that systemd enables units by its presets on the first boot.
	Presets     bool `json:"presets"`
	UserConf    bool `json:"userconf"`  // the dialog that renames pi on the first boot is there
	CloudInit   bool `json:"cloudInit"` // it is installed and not disabled
	Timesyncd   bool `json:"timesyncd"`
	FakeHwclock bool `json:"fakeHwclock"`

	// Packages holds the versions of the packages that piimg looks at.
	Packages map[string]string `json:"packages"`
	// Installed holds the versions of all packages that are installed for the
	// image's architecture, and of the virtual packages that they provide, "" where
	// these have none.
	Installed map[string]string `json:"-"`
	// Node is what piimg wrote about itself, if it edited the image before.
	Node *NodeFacts `json:"node,omitempty"`
}

// User is an account with a uid from 1000 up.
type User struct {
	Name     string        `json:"name"`
	UID      int           `json:"uid"`
	GID      int           `json:"gid"`
	Home     string        `json:"home"`
	Shell    string        `json:"shell"`
	Password PasswordState `json:"password"`
	// Keys is the number of authorized keys.
	Keys int `json:"authorizedKeys"`
}

// PasswordState says whether one can log in with a password.
type PasswordState string

// The states of a password.
const (
	PasswordSet    PasswordState = "set"
	PasswordLocked PasswordState = "locked"
	PasswordEmpty  PasswordState = "empty"
)

// SSHFacts say how ssh is set up.
type SSHFacts struct {
	Enabled  bool     `json:"enabled"`  // by a unit link or by the file on the boot partition
	HostKeys []string `json:"hostKeys"` // names of the files in /etc/ssh
}

// SwapFacts say how swap is set up.
type SwapFacts struct {
	By      string `json:"by,omitempty"` // "dphys-swapfile", "rpi-swap" or ""
	Enabled bool   `json:"enabled"`
}

// NetworkFacts say how the network is set up.
type NetworkFacts struct {
	By Network `json:"by"`
	// Static holds addresses that are set in the image: "eth0 10.0.0.50/24".
	Static []string `json:"static"`
	// Wifi holds the names of the wireless networks that are set.
	Wifi    []string `json:"wifi"`
	Country string   `json:"wifiCountry,omitempty"`
}

// NodeFacts are what piimg-node.txt says.
type NodeFacts struct {
	Hostname string `json:"hostname"`
	Role     string `json:"role"`
	Address  string `json:"address"`
	Cluster  string `json:"cluster,omitempty"`
	Base     string `json:"base"`
	SHA256   string `json:"baseSHA256,omitempty"`
	Version  string `json:"piimg"`
}
