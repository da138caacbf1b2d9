package nodes

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestValues puts values into their place, one in a file, and looks at whether
// they are taken.
func TestValues(t *testing.T) {
	key := "{authorizedKeys: [~/.ssh/id_ed25519.pub]}"
	// %s is the value as YAML. A node that can be logged in to is around it.
	setting := func(name string) string {
		return head + "nodes: [{hostname: n, user: " + key + ", " + name + ": %s}]\n"
	}
	cluster := func(name string) string {
		return "image: {path: a.img}\ncluster: {name: c, " + name + ": %s}\nnodes: [{hostname: n, user: " + key + "}]\n"
	}
	long := func(n int) string { return strings.Repeat("a", n) }
	for name, test := range map[string]struct {
		file      string
		good, bad []string
	}{
		"hostname": {head + "nodes: [{hostname: %s, user: " + key + "}]\n",
			[]string{"a", "a1", "1a", "tom-nook", "raspberrypi", "xn--caf-dma", long(63), `"no"`},
			[]string{`""`, `"1"`, `"12"`, "A", "a_b", "a.b", "-a", "a-", long(64), "localhost", "ip6-localhost", "nul", "com1", "é", `"a b"`, `"a\n"`, "~", "[a]", "tom nook"}},
		"ip": {setting("ip"),
			[]string{"dhcp", "10.0.0.2", "10.0.0.254", `"10.0.0.9"`},
			[]string{"10.0.0.0", "10.0.0.255", "10.0.0.1", "10.0.1.2", "10.0.0.2/24", "::1", "fe80::1%eth0", "::ffff:10.0.0.2", "auto", "10.0.0", "010.0.0.2", `""`, "10", "null", "0x0a.0.0.2"}},
		"mac": {setting("mac"),
			[]string{"b8:27:eb:00:00:01", "B8-27-EB-00-00-01", "b827.eb00.0001", "02:00:00:00:00:01"},
			[]string{"b8:27:eb:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "b8:27:eb:ff:fe:00:00:01", "b827eb000001", "b8:27-eb:00:00:01", `""`, "x"}},
		"role":      {setting("role"), []string{"control-plane", "worker", "router", "plain", "null"}, []string{"master", "Worker", `""`, "1"}},
		"interface": {setting("interface"), []string{"eth0", "wlan0", "enxb827eb000001", "end0", "eth0.5"}, []string{"lo", "all", `""`, "eth0:1", "a/b", "abcdefghijklmnop", `"eth 0"`, "..", "-a"}},
		"domain":    {setting("domain"), []string{"home", "home.arpa", "a.b.c.example"}, []string{`""`, ".home", "home.", "Home", "a..b", "a b", "a_b", strings.Repeat("a.", 127) + "a", "10.0.0.1"}},
		"timezone":  {setting("timezone"), []string{"Europe/Berlin", "UTC", "Etc/GMT+1", "America/Argentina/Ushuaia"}, []string{"Berlin", "europe/berlin", "../etc/passwd", "Local", `""`, "/Europe/Berlin", "Factory", "CEST"}},
		"locale":    {setting("locale"), []string{"en_GB.UTF-8", "C.UTF-8", "ast_ES.UTF-8", "ca_ES.UTF-8@valencia"}, []string{"en_GB", "en-GB", "en_GB.utf8", "en", "POSIX", `""`, "de_DE.ISO-8859-1"}},
		"keymap":    {setting("keymap"), []string{"gb", "us", "de", "latam", "et"}, []string{"uk", "en", "GB", `""`, "g", `"us,de"`, "us(intl)"}},
		"ntp":       {setting("ntp"), []string{"[]", "[pool.ntp.org]", "[ntp, 10.0.0.1]"}, []string{"pool.ntp.org", "[Pool]", "[a, a]", `["a b"]`, `["::1"]`, "[10.0.0.256]", `[""]`, "[224.0.0.1]"}},
		"swap":      {setting("swap"), []string{"true", "false", "True", "null"}, []string{"yes", "on", `"true"`, "1", "[]"}},
		"sudo":      {setting("sudo"), []string{"nopasswd", "none"}, []string{"password", "true", "yes", "NOPASSWD"}},
		"cmdline": {setting("cmdline"), []string{"[]", "[ipv6.disable=1]", "[cgroup_enable=cpuset, cgroup_enable=memory]", "[console=tty1, a=b=c]"},
			[]string{"a", "[a b]", `["a\nb"]`, "[root=/dev/sda]", "[init=/bin/sh]", "[a, a]", "[resume=PARTUUID=1]", `['a="b"']`, `[""]`, "[--]", "[ä]", "[rootfstype=ext4]", "[1]", "[resize]"}},
		"config": {setting("config"), []string{"[]", "[dtoverlay=disable-bt]", `["[pi4]", arm_boost=1, "[all]"]`, `["# a = b"]`, "[a=1, a=1]", "[initramfs initrd.gz followkernel]", "[" + long(98) + "]"},
			[]string{"a=1", `["a = 1"]`, `[""]`, `["a=1\nb=2"]`, "[" + long(99) + "]", `[" a=1"]`, "[cmdline=x.txt]", "[os_prefix=x/]", `["a\tb"]`}},
		"files": {setting("files"),
			[]string{"[]", "[{path: /a, content: \"\"}]", "[{path: /a, source: tool}]", "[{path: /a, content: x, mode: \"4755\", owner: \"0:0\"}]", "[{path: /a b/é, content: x, owner: _apt:adm}]", "[{path: /a, content: x}, {path: /ab, content: x}]"},
			[]string{"[{path: /a}]", "[{content: a}]", "[{path: /, content: a}]", "[{path: /a/, content: a}]", "[{path: a, content: a}]", "[{path: /a/../b, content: a}]", "[{path: /.., content: a}]", "[{path: /a, content: a}, {path: /a, content: b}]",
				"[{path: /a, content: a}, {path: /a/b, content: b}]", "[{path: /a, content: a, source: tool}]", "[{path: /a, source: nope}]", "[{path: /a, source: overlay}]", "[{path: /a, content: a, mode: 0644}]", "[{path: /a, content: a, mode: \"0948\"}]",
				"[{path: /a, content: a, mode: \"\"}]", "[{path: /a, content: a, mode: u+x}]", "[{path: /a, content: a, owner: root}]", "[{path: /a, content: a, owner: \"4294967295:0\"}]", "[{path: /a, content: 5}]", "[{path: /dev/a, content: a}]", "[{path: /" + long(256) + ", content: a}]", "[/a]"}},
		"overlays": {setting("overlays"), []string{"[]", "[overlay]", "[./overlay]"}, []string{"overlay", "[stray]", "[tool]", "[nope]", "[overlay, ./overlay/]", `[""]`, "[~root/x]"}},
		"wifi": {setting("wifi"), []string{"null", "{ssid: a, country: DE}", "{ssid: a, country: DE, hidden: true, passphrase: {env: WIFI_PASS}}", "{ssid: \" \", country: GB, passphrase: {env: PSK}}", "{ssid: " + long(32) + ", country: US}"},
			[]string{"{ssid: a}", "{country: DE}", "{ssid: \"\", country: DE}", "{ssid: " + long(33) + ", country: DE}", "{ssid: ééééééééééééééééé, country: DE}", "{ssid: a, country: de}", "{ssid: a, country: UK}", "{ssid: a, country: XX}", "{ssid: \"a\\nb\", country: DE}",
				"{ssid: a, country: DE, passphrase: abcdefgh}", "{ssid: a, country: DE, passphrase: {env: SHORT}}", "{ssid: a, country: DE, passphrase: {env: EMPTY}}", "{ssid: a, country: DE, passphrase: {env: LINES}}", "{ssid: a, country: DE, passphrase: {env: NONE}}",
				"{ssid: a, country: DE, passphrase: {}}", "{ssid: a, country: DE, passphrase: {env: PSK, file: tool}}", "{ssid: a, country: DE, passphrase: {hash: a}}", "{ssid: 123, country: DE}", "{}"}},
		"user": {head + "nodes: [{hostname: n, user: %s}]\n",
			[]string{key, "{password: {env: PASSWORD}}", "{password: {hash: '" + testHash + "'}}", "{name: a, password: {env: PASSWORD}}", "{name: " + long(32) + ", password: {env: PASSWORD}}",
				"{password: {hash: '$5$rounds=5000$saltsalt$vjFG4kxOdPSrW6kNE8nL6.cqO4o.SsW8nQ8WPBzXkf0'}}", "{password: {hash: '$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7'}}",
				`{authorizedKeys: ["from=\"10.0.0.0/8\",no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOlW6YmD6j89VZnMLESn3prhsQMYinXHhBAAPTDiMxOK me"]}`},
			[]string{"{}", "{name: pi}", "{authorizedKeys: []}", "pi", "{name: root, password: {env: PASSWORD}}", "{name: ssh, password: {env: PASSWORD}}", "{name: \"\", password: {env: PASSWORD}}", "{name: " + long(33) + ", password: {env: PASSWORD}}", "{name: Tom, password: {env: PASSWORD}}",
				"{password: raspberry}", "{password: {env: NONE}}", "{password: {env: EMPTY}}", "{password: {env: LINES}}", "{password: {env: $PASSWORD}}", "{password: {file: nope}}", "{password: {file: overlay}}", "{password: {}}", "{password: null}",
				"{password: {hash: raspberry}}", "{password: {hash: \"\"}}", "{password: {hash: '$1$a$b'}}", "{password: {hash: '" + testHash[:len(testHash)-1] + "'}}", "{password: {hash: '" + testHash + "x'}}", "{password: {hash: \"" + testHash + "\\n\"}}", "{password: {hash: '*'}}", "{password: {hash: '$2b$12$abc'}}",
				"{password: {env: PASSWORD, hash: '" + testHash + "'}}", "{authorizedKeys: [nope.pub]}", "{authorizedKeys: [private-key]}", "{authorizedKeys: [nokey.pub]}", "{authorizedKeys: ~/.ssh/id_ed25519.pub}",
				"{authorizedKeys: [ssh-dss AAAAB3NzaC1kc3MAAAAA me]}", `{authorizedKeys: [""]}`}},
		"cluster": {"image: {path: a.img}\ncluster: %s\nnodes: [{hostname: n, user: " + key + "}]\n",
			[]string{"{name: c}", "{name: villagers-2}"}, []string{"{}", "c", "{name: C}", "{name: \"\"}", "{name: a.b}", "{name: c, gateway: 10.0.0.1}", "{name: c, zone: x}"}},
		"network": {cluster("network"), []string{"10.0.0.0/24", "192.168.1.0/31", "10.0.0.0/8", "172.16.0.0/12", "203.0.113.0/24"},
			[]string{"10.0.0.1/24", "10.0.0.0", "10.0.0.0/32", "0.0.0.0/0", "10.0.0.0/7", "fd00::/64", "127.0.0.0/8", "224.0.0.0/8", "169.254.0.0/16", "240.0.0.0/8", "0.0.0.0/8", "10.0.0.0/33", `""`, "10/8"}},
		"gateway": {cluster("network: 10.0.0.0/24, gateway"), []string{"10.0.0.1", "10.0.0.254"}, []string{"10.0.0.0", "10.0.0.255", "10.0.1.1", "x", "::1"}},
		"dns":     {cluster("dns"), []string{"[]", "[1.1.1.1]", "[1.1.1.1, 9.9.9.9]"}, []string{"1.1.1.1", "[a]", "[1.1.1.1, 1.1.1.1]", "[127.0.0.1]", "[0.0.0.0]", "[224.0.0.1]", "[255.255.255.255]"}},
		"image": {"image: %s\ncluster: {name: c}\nnodes: [{hostname: n, user: " + key + "}]\n",
			[]string{"{path: a.img}", "{path: ~/a.img}", "{path: /a.img, sha256: " + strings.Repeat("aB", 32) + "}", "{url: https://example.org/a.img.xz, sha256: " + strings.Repeat("0f", 32) + "}",
				"{path: a, rootSize: 4GiB}", "{path: a, rootSize: 4096 MiB}", "{path: a, rootSize: 32GB}", "{path: a, rootSize: 2TiB}"},
			[]string{"{}", "a.img", "{path: \"\"}", "{path: https://a/b.img}", "{path: a, sha256: abc}", "{path: a, sha256: \"sha256:" + strings.Repeat("0f", 32) + "\"}", "{url: https://a/b.img}", "{url: http://a/b, sha256: " + strings.Repeat("0f", 32) + "}",
				"{url: ftp://a/b, sha256: " + strings.Repeat("0f", 32) + "}", "{url: https://, sha256: " + strings.Repeat("0f", 32) + "}", "{url: https://a, sha256: " + strings.Repeat("0f", 32) + "}", "{url: https://me:pw@a/b, sha256: " + strings.Repeat("0f", 32) + "}", "{path: a, url: https://a/b, sha256: " + strings.Repeat("0f", 32) + "}", "{path: ~root/a.img}",
				"{path: a, rootSize: 4}", "{path: a, rootSize: 4G}", "{path: a, rootSize: -4GiB}", "{path: a, rootSize: 0GiB}", "{path: a, rootSize: 1.5GiB}", "{path: a, rootSize: \"\"}", "{path: a, rootSize: 04GiB}", "{path: a, rootSize: 9999999TiB}", "{path: a, rootSize: [4GiB]}"}},
		"nodes": {head + "nodes: %s\n", []string{"[{hostname: n, user: " + key + "}]"}, []string{"[]", "{}", "[n]", "[{}]", "~", "[{hostname: n, user: " + key + "}, {hostname: n, user: " + key + "}]"}},
	} {
		t.Run(name, func(t *testing.T) {
			try := func(value string, good bool) {
				text := fmt.Sprintf(test.file, value)
				_, err := load(t, text)
				if (err == nil) != good {
					t.Errorf("%s: good is %v, but: %v", value, good, err)
				}
				if err != nil && (strings.Contains(err.Error(), "%!") || !utf8.ValidString(err.Error())) {
					t.Errorf("%s: malformed: %v", value, err)
				}
				if misfit := schemaMisfit(t, text); good && misfit != "" {
					t.Errorf("%s: the schema says: %s", value, misfit)
				}
			}
			for _, v := range test.good {
				try(v, true)
			}
			for _, v := range test.bad {
				try(v, false)
			}
		})
	}
}

func TestRouterMayBeTheGateway(t *testing.T) {
	key := "user: {authorizedKeys: [~/.ssh/id_ed25519.pub]}"
	if _, err := load(t, head+"nodes: [{hostname: r, role: router, ip: 10.0.0.1, "+key+"}]\n"); err != nil {
		t.Error(err)
	}
	_, err := load(t, head+"nodes: [{hostname: r, role: router, "+key+"}, {hostname: s, role: router, "+key+"}]\n")
	if err == nil || !strings.Contains(err.Error(), "nodes[1].role: there can be one router") {
		t.Errorf("two routers: %v", err)
	}
}

func TestStaticAddresses(t *testing.T) {
	key := "user: {authorizedKeys: [~/.ssh/id_ed25519.pub]}"
	for text, want := range map[string]string{
		"cluster: {name: c}\nnodes: [{hostname: n, ip: 10.0.0.5, " + key + "}]\n":                                                                 "add cluster.network: for example 10.0.0.0/24",
		"cluster: {name: c, network: 10.0.0.0/31}\nnodes: [{hostname: a, ip: 10.0.0.0, " + key + "}, {hostname: b, ip: 10.0.0.1, " + key + "}]\n": "",
		"cluster: {name: c, network: 10.0.0.0/30}\nnodes: [{hostname: a, ip: 10.0.0.3, " + key + "}]\n":                                           "broadcast address",
		"cluster: {name: c, network: 10.0.0.0/25}\nnodes: [{hostname: a, ip: 10.0.0.127, " + key + "}]\n":                                         "use an address from 10.0.0.1 to 10.0.0.126",
		"cluster: {name: c, network: 172.16.0.0/12}\nnodes: [{hostname: a, ip: 172.31.255.254, " + key + "}]\n":                                   "",
		"cluster: {name: c, network: 172.16.0.0/12}\nnodes: [{hostname: a, ip: 172.31.255.255, " + key + "}]\n":                                   "broadcast address",
		"cluster: {name: c, network: 10.0.0.0/24, gateway: 10.0.0.1}\nnodes: [{hostname: a, ip: 10.0.0.1, " + key + "}]\n":                        "is the gateway's",
		"cluster: {name: c, network: 10.0.0.5/24}\nnodes: [{hostname: a, ip: 10.0.1.1, " + key + "}]\n":                                           "write 10.0.0.0/24",
		"cluster: {name: c, network: 10.0.0.0/24}\nnodes: [{hostname: a, ip: 10.0.0.5, " + key + "}, {hostname: b, ip: 10.0.0.5, " + key + "}]\n": "the address 10.0.0.5 is taken by nodes[0]",
	} {
		c, err := load(t, "image: {path: a.img}\n"+text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got: %v", text, want, err)
		}
		if err == nil && len(c.Notices) != 2 {
			t.Errorf("%s: no word of the missing gateway and name servers: %v", text, c.Notices)
		}
	}
}

// TestSecretFiles reads passwords from files of every form.
func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct{ data, want string }{
		"plain":    {"correct horse", ""},
		"newline":  {"correct horse\n", ""},
		"crlf":     {"correct horse\r\n", ""},
		"two":      {"hunter2\nhunter2\n", "more than one line"},
		"blank":    {"hunter2\n\n", "more than one line"},
		"empty":    {"", "there is nothing in it"},
		"only":     {"\n", "there is nothing in it"},
		"nul":      {"hunter2\x00", "NUL"},
		"long":     {strings.Repeat("hunter2", 100), "at most 511"},
		"huge":     {strings.Repeat("hunter2", 10000), "at most 65536"},
		"hash":     {testHash, "is a hash already"},
		"utf-8":    {"pässwörd", ""},
		"dollars":  {"$money$", ""},
		"trailing": {" correct horse ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			if err := os.WriteFile(file, []byte(test.data), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := load(t, head+fmt.Sprintf("nodes: [{hostname: n, user: {password: {file: %q}}}]\n", file))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("want %q, got: %v", test.want, err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter") {
				t.Errorf("the error shows the secret: %v", err)
			}
			if err == nil && (c.Nodes[0].User.Password.Reveal() != strings.TrimRight(test.data, "\r\n") || len(c.Notices) != 0) {
				t.Errorf("%q, notices %v", c.Nodes[0].User.Password.Reveal(), c.Notices)
			}
		})
	}
	if runtime.GOOS == "windows" {
		return
	}
	file := filepath.Join(dir, "plain")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, head+fmt.Sprintf("nodes: [{hostname: n, user: {password: {file: %q}}}]\n", file))
	if err != nil || len(c.Notices) != 1 || !strings.Contains(c.Notices[0].Message, "chmod 600") {
		t.Errorf("a file that others can read: %v, %v", err, c.Notices)
	}
}

// TestKeyFiles reads files with several keys, and folds those that come twice.
func TestKeyFiles(t *testing.T) {
	one, err := os.ReadFile("testdata/home/.ssh/id_ed25519.pub")
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(string(one))
	other := "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg= other  one"
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("# mine\r\n\r\n"+key+"\r\n"+other+"\n"+key+" again\n"+`no-pty `+key+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, head+fmt.Sprintf("nodes: [{hostname: n, user: {authorizedKeys: [%q, ~/.ssh/id_ed25519.pub, %q]}}]\n", file, key))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{key, strings.Replace(other, "  ", " ", 1), "no-pty " + key}
	if got := c.Nodes[0].User.AuthorizedKeys; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestResolvePath(t *testing.T) {
	for _, test := range []struct {
		windows               bool
		path, dir, home, want string // want "" is an error
	}{
		{false, "a.img", "/work", "/home/me", "/work/a.img"},
		{false, "./a/../b", "/work", "/home/me", "/work/b"},
		{false, "../b", "/work/x", "/home/me", "/work/b"},
		{false, "/a//b", "/work", "/home/me", "/a/b"},
		{false, "~", "/work", "/home/me", "/home/me"},
		{false, "~/a", "/work", "/home/me", "/home/me/a"},
		{false, "~/a", "/work", "", ""},
		{false, "~you/a", "/work", "/home/me", ""},
		{false, `a\b`, "/work", "/home/me", `/work/a\b`},
		{false, `C:\a`, "/work", "/home/me", `/work/C:\a`},
		{false, "a\x00", "/work", "/home/me", ""},
		{true, "a.img", `C:\work`, `C:\Users\me`, `C:\work\a.img`},
		{true, "a/b.img", `C:\work`, `C:\Users\me`, `C:\work\a\b.img`},
		{true, `..\b.img`, `C:\work`, `C:\Users\me`, `C:\b.img`},
		{true, `~\a`, `C:\work`, `C:\Users\me`, `C:\Users\me\a`},
		{true, "~/a", `C:\work`, `C:\Users\me`, `C:\Users\me\a`},
		{true, `D:\x\..\a`, `C:\work`, `C:\Users\me`, `D:\a`},
		{true, "D:/x/a", `C:\work`, `C:\Users\me`, `D:\x\a`},
		{true, "D:a", `C:\work`, `C:\Users\me`, ""},
		{true, `\a`, `C:\work`, `C:\Users\me`, ""},
		{true, "/a", `C:\work`, `C:\Users\me`, ""},
		{true, `\\server\share\a`, `C:\work`, `C:\Users\me`, `\\server\share\a`},
		{true, "a", `\\server\share`, `C:\Users\me`, `\\server\share\a`},
	} {
		got, err := resolvePath(test.windows, test.path, test.dir, test.home)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("windows %v, %q in %q: %q, %v instead of %q", test.windows, test.path, test.dir, got, err, test.want)
		}
	}
}

func TestSecretPrintsNothing(t *testing.T) {
	s := Secret("hunter2")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%10s", "%T"} {
		for _, v := range []any{s, &s, []Secret{s}, struct{ S Secret }{s}, User{Password: s, PasswordHash: s}} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, "hunter2") || strings.Contains(out, "68756e746572") {
				t.Errorf("%s of %T: %s", verb, v, out)
			}
		}
	}
}

// FuzzLoad is best run with -fuzzminimizetime 20x: every change of the input
// reaches other code in some check, and is minimised at length otherwise.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	abs, err := filepath.Abs("testdata/nodes.yaml")
	if err != nil {
		f.Fatal(err)
	}
	env := testEnv(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse("nodes.yaml", abs, data, env)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if err != nil {
			if text := err.Error(); text == "" || strings.ContainsAny(text, "\x00\x1b") {
				t.Fatalf("error %q", text)
			}
			return
		}
		if misfit := schemaMisfit(t, string(data)); misfit != "" {
			t.Fatalf("taken, but the schema says: %s", misfit)
		}
	})
}
