package nodes

import (
	"regexp"
	"strings"
)

const (
	labelPattern     = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$` // RFC 1123, section 2.1, in lower case
	userPattern      = `^[a-z][a-z0-9-]{0,31}$`               // userconf's rule
	interfacePattern = `^[A-Za-z0-9_][A-Za-z0-9._-]{0,14}$`   // at most IFNAMSIZ-1 bytes
)

var (
	labelRE     = regexp.MustCompile(labelPattern)
	userRE      = regexp.MustCompile(userPattern)
	interfaceRE = regexp.MustCompile(interfacePattern)
	digitsRE    = regexp.MustCompile(`^[0-9]+$`)
	notLabelRE  = regexp.MustCompile(`[^a-z0-9]+`)
	bracesRE    = regexp.MustCompile(`\{([0-9]+)\.\.([0-9]+)\}`) // bash's range
)

// label checks an RFC 1123 name without dots.
func (c *checker) label(v text, what string) (string, bool) {
	s := v.V
	switch {
	case s == "":
		c.fail(at(v), "", "%s cannot be empty", what)
	case c.noPattern(v, what):
	case labelRE.MatchString(s) && digitsRE.MatchString(s):
		c.fail(at(v), "put a letter into it", "%s %q has digits only, and would be taken for an address", what, s)
	case labelRE.MatchString(s):
		return s, true
	case labelRE.MatchString(strings.ToLower(s)):
		c.fail(at(v), "write "+strings.ToLower(s), "%s %q has capital letters", what, s)
	case len(s) > 63:
		c.fail(at(v), "", "%s has %d characters; at most 63 are allowed", what, len(s))
	default:
		hint := "use lower-case letters, digits and hyphens"
		if fixed := strings.Trim(notLabelRE.ReplaceAllString(strings.ToLower(s), "-"), "-"); labelRE.MatchString(fixed) {
			hint += ": " + fixed
		}
		c.fail(at(v), hint, "%s %q is not a valid name (RFC 1123)", what, s)
	}
	return "", false
}

// hostname checks a node's name, which also names its image file.
func (c *checker) hostname(v text) string {
	if i := strings.IndexByte(v.V, '.'); i > 0 && labelRE.MatchString(v.V[:i]) {
		c.fail(at(v), "write hostname: "+v.V[:i]+", and the rest as domain", "hostname %q has a dot", v.V)
		return ""
	}
	if bracesRE.MatchString(v.V) {
		c.fail(at(v), "write "+bracesRE.ReplaceAllString(v.V, "[$1-$2]"), "hostname %q has a range in braces; ranges are written in brackets", v.V)
		return ""
	}
	s, ok := c.label(v, "hostname")
	if !ok {
		return ""
	}
	switch {
	case s == "localhost" || strings.HasPrefix(s, "ip6-"):
		c.fail(at(v), "choose another name", "hostname %q has a meaning of its own in /etc/hosts", s)
	case reservedOnWindows(s):
		c.fail(at(v), "choose another name", "hostname %q cannot be the name of a file on Windows", s)
	default:
		return s
	}
	return ""
}

// reservedOnWindows says whether s.img would name a device instead of a file.
func reservedOnWindows(s string) bool {
	switch s {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(s) == 4 && (strings.HasPrefix(s, "com") || strings.HasPrefix(s, "lpt")) && digitsRE.MatchString(s[3:])
}

// dotted says whether s is a domain name, in lower case and without a dot at
// the end.
func dotted(s string) bool {
	if len(s) > 253 {
		return false
	}
	parts := strings.Split(s, ".")
	for _, p := range parts {
		if !labelRE.MatchString(p) {
			return false
		}
	}
	return !digitsRE.MatchString(parts[len(parts)-1])
}

func (c *checker) domain(v text) string {
	if dotted(v.V) {
		return v.V
	}
	hint := "use lower-case names, separated by dots"
	if fixed := strings.Trim(strings.ToLower(v.V), "."); dotted(fixed) {
		hint = "write " + fixed
	}
	c.fail(at(v), hint, "%q is not a domain name (RFC 1123)", v.V)
	return ""
}

func (c *checker) netInterface(v text) string {
	s := v.V
	switch {
	case s == "lo" || s == "all" || s == "default":
		c.fail(at(v), "the wired interface is eth0, the wireless one wlan0", "%q is no interface that leads to a network", s)
	case interfaceRE.MatchString(s):
		return s
	default:
		c.fail(at(v), "the wired interface is eth0, the wireless one wlan0",
			"%q is not the name of a network interface: 1 to 15 letters, digits, dots, hyphens and underscores", s)
	}
	return ""
}

// accounts are the users and groups that Raspberry Pi OS has, or gives to its
// own services, from Stretch on: the login user's name is a group's as well.
const accounts = ` root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody nogroup _apt
 adm tty disk kmem dialout fax voice cdrom floppy tape sudo audio dip operator src shadow utmp video sasl plugdev staff users
 input kvm render crontab netdev ssh gpio i2c spi bluetooth rdma sgx rtkit lpadmin lightdm scanner colord saned pulse
 systemd-network systemd-resolve systemd-timesync systemd-journal systemd-bus-proxy systemd-coredump systemd-timedate
 messagebus sshd avahi statd ntp ntpsec dhcpcd polkitd nm-openvpn usbmux dnsmasq geoclue rpc tss uuidd wheel sgx clock `

func (c *checker) userName(v text) string {
	s := v.V
	switch {
	case !userRE.MatchString(s):
		hint := "use lower-case letters, digits and hyphens, starting with a letter"
		if l := strings.ToLower(s); userRE.MatchString(l) {
			hint = "write " + l
		}
		c.fail(at(v), hint, "%q cannot be a login name: it must match %s", s, userPattern)
	case containsWord(accounts, s):
		c.fail(at(v), "choose another name", "%q is a user or group of the system", s)
	default:
		return s
	}
	return ""
}

// containsWord says whether a list of words separated by white space has word.
func containsWord(words, word string) bool {
	for w := range strings.FieldsSeq(words) {
		if w == word {
			return true
		}
	}
	return false
}
