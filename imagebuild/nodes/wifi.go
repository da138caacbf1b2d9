package nodes

import (
	"regexp"
	"strings"
	"unicode"
)

var (
	passphraseRE = regexp.MustCompile(`^[ -~]{8,63}$`)
	pskRE        = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)
)

func (c *checker) wifi(v value[wifiDoc]) *Wifi {
	d := v.V
	w := &Wifi{Hidden: d.Hidden.V}
	if d.SSID.Set() {
		w.SSID = c.ssid(d.SSID)
	}
	if d.Country.Set() {
		w.Country = c.country(d.Country)
	}
	switch {
	case d.Passphrase.Set():
		w.Passphrase = c.passphrase(d.Passphrase)
	case !d.Passphrase.Given():
		c.notice(at(v), "the network %q is joined without encryption, as no passphrase is given", w.SSID)
	}
	return w
}

func (c *checker) ssid(v text) string {
	switch {
	case v.V == "":
		c.fail(at(v), "", "the network's name is empty")
	case len(v.V) > 32:
		c.fail(at(v), "", "the network's name has %d bytes; at most 32 are possible", len(v.V))
	case strings.IndexFunc(v.V, unicode.IsControl) >= 0:
		c.fail(at(v), "", "the network's name holds a control character")
	default:
		return v.V
	}
	return ""
}

func (c *checker) passphrase(v value[passphraseDoc]) Secret {
	d := v.V
	switch given := count(d.File.Given(), d.Env.Given()); {
	case given == 0 && len(v.Node.Entries) == 0:
		c.fail(at(v), "give it {file: PATH} or {env: NAME}, or remove the key for an open network", "the passphrase is empty")
		return ""
	case given == 0:
		return "" // an unknown key, which was reported
	case given > 1:
		c.fail(at(v), "keep one of them", "file and env exclude each other")
		return ""
	}
	s := c.secret(d.File, d.Env)
	if s != "" && !passphraseRE.MatchString(s) && !pskRE.MatchString(s) {
		c.fail(at(v), "", "the passphrase must have 8 to 63 printable ASCII characters, or be a key of 64 hex digits; it has %d characters",
			len([]rune(s)))
		return ""
	}
	return Secret(s)
}
