package raspios

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
)

const (
	whyWifi = "wifi"
	regdom  = "cfg80211.ieee80211_regdom="
	rfkill  = "var/lib/systemd/rfkill"
	nmState = "var/lib/NetworkManager/NetworkManager.state"
)

// rfkillDevices returns the wireless devices of the boards, by the names under
// which systemd-rfkill keeps their switches: Pi Zero W and 1, 3, 4, 5.
func rfkillDevices() []string {
	return []string{
		"platform-20300000.mmcnr:wlan", "platform-3f300000.mmcnr:wlan",
		"platform-fe300000.mmcnr:wlan", "platform-1001100000.mmc:wlan",
	}
}

// planWifi connects the node to a wireless network. The card gets the key that
// is derived from the passphrase, never the passphrase.
func (b *builder) planWifi() {
	w := b.node.Wifi
	if w == nil {
		if b.facts.Node != nil { // an earlier build may have left it
			b.drop(plan.Boot, "wpa_supplicant.conf", whyWifi)
		}
		return
	}
	psk, err := b.Shared.derive(derivation{"wpa", w.Passphrase.Reveal(), w.SSID}, func() (string, error) { return preSharedKey(w) })
	if err != nil {
		b.fail("wifi.passphrase: %w", err)
		return
	}
	switch b.facts.Network.By {
	case Dhcpcd:
		e := plan.Edit{
			Partition: plan.Boot, Path: "wpa_supplicant.conf", Op: plan.Write,
			Content: []byte(wpaSupplicant(w, psk)), Secret: psk != "", Why: whyWifi,
		}
		const mover = "raspberrypi-net-mods"
		if b.facts.Packages[mover] == "" && b.d.unit(mover+".service") == "" {
			// Nothing in the image moves the file to where it belongs.
			e.Partition, e.Path, e.Mode = plan.Root, "etc/wpa_supplicant/wpa_supplicant.conf", 0o600
		}
		b.try(b.d.put(e))
	case NetworkManager:
		b.connection("piimg-wifi", b.wifiKeyfile(w, psk), psk != "")
	default:
		b.fail("wifi: the image enables neither dhcpcd nor NetworkManager, so there is no way to set it up; use an image as published")
	}
	if w.Country != "" {
		b.args = append(b.args, regdom+w.Country)
	}
	b.unblock()
}

// unblock turns the radio on: images are published with it off until the country
// is set.
func (b *builder) unblock() {
	devices := rfkillDevices()
	names, _ := b.d.readDir(plan.Root, rfkill)
	for _, n := range names {
		if strings.HasSuffix(n, ":wlan") && !slices.Contains(devices, n) {
			devices = append(devices, n)
		}
	}
	for _, n := range devices {
		b.write(rfkill+"/"+n, "0\n", 0o644, whyWifi)
	}
	if b.facts.Network.By != NetworkManager {
		return
	}
	var out []string
	set, main := false, false
	for _, line := range lines(b.text(nmState)) {
		key, _, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(key) {
		case "[main]":
			main = true
		case "WirelessEnabled":
			line, set = "WirelessEnabled=true", true
		}
		out = append(out, line)
	}
	if !main {
		out = append([]string{"[main]"}, out...)
	}
	if !set {
		i := slices.Index(out, "[main]") + 1
		out = slices.Insert(out, i, "WirelessEnabled=true")
	}
	b.edit(nmState, strings.Join(out, "\n")+"\n", whyWifi)
}

// preSharedKey returns the key of a WPA-PSK network as 64 hex digits, "" for an
// open one: PBKDF2 of the passphrase with the network's name (IEEE 802.11i, H.4).
func preSharedKey(w *nodes.Wifi) (string, error) {
	pass := w.Passphrase.Reveal()
	switch {
	case pass == "":
		return "", nil
	case regexp.MustCompile(`^[0-9a-fA-F]{64}$`).MatchString(pass):
		return strings.ToLower(pass), nil
	case len(pass) < 8 || len(pass) > 63:
		return "", fmt.Errorf("it has %d characters; WPA wants 8 to 63, or the key as 64 hex digits", len(pass))
	}
	key, err := pbkdf2.Key(sha1.New, pass, []byte(w.SSID), 4096, 32)
	if err != nil {
		return "", fmt.Errorf("failed to derive the key: %w", err)
	}
	return hex.EncodeToString(key), nil
}

func wpaSupplicant(w *nodes.Wifi, psk string) string {
	var s strings.Builder
	s.WriteString("ctrl_interface=DIR=/var/run/wpa_supplicant GROUP=netdev\nupdate_config=1\n")
	if w.Country != "" {
		fmt.Fprintf(&s, "country=%s\n", w.Country)
	}
	s.WriteString("\nnetwork={\n")
	if plainSSID(w.SSID) {
		fmt.Fprintf(&s, "\tssid=%q\n", w.SSID)
	} else {
		fmt.Fprintf(&s, "\tssid=%x\n", w.SSID) // without quotes it is taken for hex
	}
	if w.Hidden {
		s.WriteString("\tscan_ssid=1\n")
	}
	if psk == "" {
		s.WriteString("\tkey_mgmt=NONE\n")
	} else {
		fmt.Fprintf(&s, "\tkey_mgmt=WPA-PSK\n\tpsk=%s\n", psk)
	}
	s.WriteString("}\n")
	return s.String()
}

func (b *builder) wifiKeyfile(w *nodes.Wifi, psk string) string {
	var s strings.Builder
	s.WriteString("[wifi]\nmode=infrastructure\n")
	if plainSSID(w.SSID) {
		fmt.Fprintf(&s, "ssid=%s\n", w.SSID)
	} else {
		s.WriteString("ssid=")
		for _, c := range []byte(w.SSID) {
			s.WriteString(strconv.Itoa(int(c)) + ";")
		}
		s.WriteByte('\n')
	}
	if w.Hidden {
		s.WriteString("hidden=true\n")
	}
	sections := []string{s.String()}
	if psk != "" {
		sections = append(sections, "[wifi-security]\nkey-mgmt=wpa-psk\npsk="+psk+"\n")
	}
	if a, static := b.static(); static && b.wireless() {
		sections = append(sections, ipSections(&a))
	} else {
		sections = append(sections, ipSections(nil))
	}
	iface := "wlan0"
	if b.wireless() {
		iface = b.iface()
	}
	return keyfile("piimg-wifi", b.uuid("wifi"), "wifi", iface, sections...)
}

// plainSSID reports whether a network's name can stand in both kinds of files as
// it is: letters, digits, and signs that neither takes for syntax.
func plainSSID(ssid string) bool {
	return regexp.MustCompile(`^[A-Za-z_]([A-Za-z0-9_.+@ -]*[A-Za-z0-9_.+@-])?$`).MatchString(ssid)
}
