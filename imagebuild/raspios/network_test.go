package raspios

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
)

// The vectors are those of IEEE 802.11i, H.4.3.
func TestPreSharedKey(t *testing.T) {
	for _, c := range []struct{ pass, ssid, want string }{
		{"password", "IEEE", "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"},
		{"ThisIsAPassword", "ThisIsASSID", "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"},
		{strings.Repeat("a", 32), strings.Repeat("Z", 32), "becb93866bb8c3832cb777c2f559807c8c59afcb6eae734885001300a981cc62"},
		{strings.Repeat("AB", 32), "any", strings.Repeat("ab", 32)},
		{"", "open", ""},
	} {
		got, err := preSharedKey(&nodes.Wifi{SSID: c.ssid, Passphrase: nodes.Secret(c.pass)})
		if err != nil || got != c.want {
			t.Errorf("%q, %q: got %s, %v", c.pass, c.ssid, got, err)
		}
	}
	for _, pass := range []string{"short", strings.Repeat("x", 64)} {
		if _, err := preSharedKey(&nodes.Wifi{SSID: "x", Passphrase: nodes.Secret(pass)}); err == nil || strings.Contains(err.Error(), pass) {
			t.Errorf("%q: %v", pass, err)
		}
	}
	got, _ := preSharedKey(&nodes.Wifi{SSID: "Ünïcode", Passphrase: "päss phrase"})
	if out := run(t, []byte("päss phrase\n"), "wpa_passphrase", "Ünïcode"); !strings.Contains(out, "\tpsk="+got+"\n") {
		t.Errorf("got %s, want one of %s", got, out)
	}
}

// No passphrase gets onto a card, and what holds the key is a secret.
func TestWifi(t *testing.T) {
	want, err := preSharedKey(config().Nodes[2].Wifi)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range images {
		t.Run(name, func(t *testing.T) {
			i := loadImage(t, name)
			facts := input(t, i, config(), 2).Facts
			p := build(t, i, config(), 2)
			found := 0
			for _, e := range p.Edits {
				if strings.Contains(string(e.Content), "deserted-getaway") {
					t.Errorf("%v holds the passphrase", e)
				}
				if strings.Contains(string(e.Content), want) {
					found++
					if !e.Secret {
						t.Errorf("%v is not secret", e)
					}
					if e.Partition == plan.Root && e.Mode != 0o600 {
						t.Errorf("%v has mode %o", e, e.Mode)
					}
				}
			}
			if found != 1 {
				t.Errorf("%d files hold the key", found)
			}
			if facts.Network.By == Dhcpcd {
				got := content(t, i.boot, "wpa_supplicant.conf")
				if !strings.Contains(got, "country=DE\n") || !strings.Contains(got, "\tssid=\"island\"\n") {
					t.Errorf("wpa_supplicant.conf: %s", got)
				}
			} else if got := content(t, i.root, nmState); !strings.Contains(got, "[main]\nWirelessEnabled=true\n") || strings.Contains(got, "false") {
				t.Errorf("state: %q", got)
			}
			for _, dev := range []string{"platform-3f300000.mmcnr:wlan", "platform-fe300000.mmcnr:wlan"} {
				if got := content(t, i.root, rfkill+"/"+dev); got != "0\n" {
					t.Errorf("%s: %q", dev, got)
				}
			}
		})
	}
}

func TestWifiNames(t *testing.T) {
	for ssid, want := range map[string][2]string{
		"island":    {"\tssid=\"island\"\n", "ssid=island\n"},
		"Café; \"x": {"\tssid=436166c3a93b202278\n", "ssid=67;97;102;195;169;59;32;34;120;\n"},
		"12;34":     {"\tssid=31323b3334\n", "ssid=49;50;59;51;52;\n"},
		" x":        {"\tssid=2078\n", "ssid=32;120;\n"},
		"a\\b":      {"\tssid=615c62\n", "ssid=97;92;98;\n"},
	} {
		w := &nodes.Wifi{SSID: ssid, Hidden: true}
		if got := wpaSupplicant(w, ""); !strings.Contains(got, want[0]) || !strings.Contains(got, "scan_ssid=1") || !strings.Contains(got, "key_mgmt=NONE") {
			t.Errorf("%q: %s", ssid, got)
		}
		b := &builder{Input: input(t, loadImage(t, "bookworm"), config(), 0), node: nodes.Node{Hostname: "x"}}
		if got := b.wifiKeyfile(w, ""); !strings.Contains(got, want[1]) || !strings.Contains(got, "hidden=true") || strings.Contains(got, "security") {
			t.Errorf("%q: %s", ssid, got)
		}
	}
}

func TestStaticAddress(t *testing.T) {
	i := loadImage(t, "stretch")
	old := content(t, i.root, dhcpcdConf)
	build(t, i, config(), 1)
	want := strings.TrimSuffix(old, "\n") + "\n\n" + blockBegin + `
interface eth0
static ip_address=10.0.0.50/24
static routers=10.0.0.1
static domain_name_servers=1.1.1.1 9.9.9.9
` + blockEnd + "\n"
	if got := content(t, i.root, dhcpcdConf); got != want {
		t.Errorf("got %q", got)
	}
	build(t, i, config(), 0)
	if got := content(t, i.root, dhcpcdConf); got != old {
		t.Errorf("DHCP again: got %q", got)
	}

	// Another interface takes the first one's place.
	i = loadImage(t, "trixie")
	build(t, i, config(), 1)
	build(t, i, one(func(n *nodes.Node) {
		n.IP, n.Interface = netip.MustParseAddr("10.0.0.60"), "eth1"
	}), 0)
	d := newDraft(i.boot, i.root)
	names, _ := d.readDir(plan.Root, connections)
	if strings.Join(names, " ") != "piimg-eth1.nmconnection" {
		t.Errorf("connections: %v", names)
	}

	// An address of the wireless interface stands in its connection.
	wifi := one(func(n *nodes.Node) {
		n.IP, n.Interface = netip.MustParseAddr("10.0.0.60"), "wlan0"
		n.Wifi = &nodes.Wifi{SSID: "island"}
	})
	build(t, i, wifi, 0)
	names, _ = d.readDir(plan.Root, connections)
	if strings.Join(names, " ") != "piimg-wifi.nmconnection" {
		t.Errorf("connections: %v", names)
	}
	got := parseKeyfile(content(t, i.root, connections+"/piimg-wifi.nmconnection"))
	if got["ipv4"]["address1"] != "10.0.0.60/24,10.0.0.1" || got["connection"]["interface-name"] != "wlan0" {
		t.Errorf("got %v", got)
	}
	wifi.Nodes[0].Wifi = nil
	if _, err := Plan(input(t, i, wifi, 0)); err == nil || !strings.Contains(err.Error(), "wlan0 is wireless") {
		t.Error(err)
	}
}

func TestNoNetwork(t *testing.T) {
	i := loadImage(t, "bookworm")
	if err := i.root.Remove("etc/systemd/system/multi-user.target.wants/NetworkManager.service"); err != nil {
		t.Fatal(err)
	}
	build(t, i, config(), 0) // DHCP asks for nothing
	_, err := Plan(input(t, i, config(), 2))
	if err == nil || strings.Count(err.Error(), "neither dhcpcd nor NetworkManager") != 2 {
		t.Error(err)
	}
}

// The interfaces of pods come and go, and belong to the CNI.
func TestPodInterfaces(t *testing.T) {
	for _, name := range images {
		for _, inCluster := range []bool{true, false} {
			i := loadImage(t, name)
			c := config()
			c.Kubernetes = &nodes.Kubernetes{}
			if !inCluster {
				c.Nodes[2].Role = nodes.Plain
			}
			by := input(t, i, c, 2).Facts.Network.By
			build(t, i, c, 2)
			dhcpcd := ""
			if by == Dhcpcd {
				dhcpcd = content(t, i.root, dhcpcdConf)
			}
			deny, iface := strings.Index(dhcpcd, "\ndenyinterfaces veth* cni* "), strings.LastIndex(dhcpcd, "\ninterface eth0\n")
			if want := by == Dhcpcd && inCluster; (deny >= 0) != want || want && deny > iface {
				t.Errorf("%s, in the cluster %v: dhcpcd.conf:\n%s", name, inCluster, dhcpcd)
			}
			if want := by == NetworkManager && inCluster; newDraft(i.boot, i.root).exists(plan.Root, podsUnmanaged) != want {
				t.Errorf("%s, in the cluster %v: is NetworkManager told? want %v", name, inCluster, want)
			} else if want && !strings.Contains(content(t, i.root, podsUnmanaged), "\nunmanaged-devices+=interface-name:veth*;interface-name:cni*;") {
				t.Errorf("%s:\n%s", name, content(t, i.root, podsUnmanaged))
			}
		}
	}
}
