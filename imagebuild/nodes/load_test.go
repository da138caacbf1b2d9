package nodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testEnv gives the same answers on every machine.
func testEnv(t testing.TB) Env {
	home, err := filepath.Abs("testdata/home")
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"WIFI_PASS": "correct horse", "PASSWORD": "correct horse\n", "EMPTY": "", "LINES": "a\nb", "HASHED": testHash, "SHORT": "seven77", "PSK": strings.Repeat("aF", 32)}
	return Env{Home: home, Lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok }}
}

// testHash is of "raspberry", made by openssl passwd -6.
const testHash = "$6$saltsalt$677q0O/U8ycKsbBfN68CgcyXcWEbi0J/eUf256PkkeGXfNX3CNnPlwFdNvdBgnSiHDx5X1Xozxf5lg9iVIVVu/"

// TestGolden compares what is said of each testdata/*.yaml, to the letter.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			file = filepath.ToSlash(file)
			config, err := Load(file, testEnv(t))
			var got string
			if err == nil {
				data, err := json.MarshalIndent(config, "", "  ")
				if err != nil {
					t.Fatal(err)
				}
				got = string(data) + "\n"
			} else {
				got = err.Error() + "\n"
			}
			got = strings.ReplaceAll(got, dir, "DIR")
			for line := range strings.Lines(got) {
				if strings.Contains(line, "hunter") {
					t.Errorf("a secret is shown: %s", line)
				}
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s is\n%s", golden, got)
			}
		})
	}
}

func TestErrorForPrograms(t *testing.T) {
	_, err := Load("testdata/mistakes.yaml", testEnv(t))
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Problems []struct {
			File, Path, Message, Hint, Excerpt string
			Line, Column                       int
		}
	}
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	for i, p := range back.Problems {
		if p.File != "testdata/mistakes.yaml" || p.Line < 1 || p.Column < 1 || p.Message == "" || p.Excerpt == "" || p.Message != e.Problems[i].Message {
			t.Errorf("%+v", p)
		}
	}
}

func TestNoFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "nodes.yaml"), Env{})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "nodes.yaml") || !strings.Contains(err.Error(), "--nodes") {
		t.Errorf("%v", err)
	}
	if _, err := Load(t.TempDir(), Env{}); err == nil {
		t.Error("a folder was read")
	}
}

// load reads a file of the test's own, in a folder that holds what testdata has.
func load(t testing.TB, text string) (*Config, error) {
	t.Helper()
	abs, err := filepath.Abs("testdata/nodes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return parse("nodes.yaml", abs, []byte(text), testEnv(t))
}

const head = "image: {path: a.img}\ncluster: {name: c, network: 10.0.0.0/24, gateway: 10.0.0.1, dns: [1.1.1.1]}\n"

func TestDefaults(t *testing.T) {
	c, err := load(t, head+`
defaults:
  role: worker
  user: {name: tom, password: {env: PASSWORD}, authorizedKeys: [~/.ssh/id_ed25519.pub]}
  timezone: Europe/Berlin
  ntp: [a.example, b.example]
  swap: true
  wifi: {ssid: island, country: DE, passphrase: {env: WIFI_PASS}}
  cmdline: [quiet]
  files: [{path: /etc/motd, content: a}]
nodes:
  - hostname: as-they-are
  - hostname: other
    role: plain
    user: {name: nook}
    timezone: UTC
    ntp: [c.example]
    swap: false
    wifi: {ssid: sea, country: FR}
    cmdline: []
    files: [{path: /etc/issue, content: b}]
  - hostname: "null"
    role: null
    user: {authorizedKeys: null, name: ~}
    timezone: null
    ntp: null
    swap: null
    wifi: null
    cmdline: null
    files: ~
`)
	if err != nil {
		t.Fatal(err)
	}
	show := func(n Node) string {
		ssid, pass := "-", ""
		if n.Wifi != nil {
			ssid, pass = n.Wifi.SSID, n.Wifi.Passphrase.Reveal()
		}
		return fmt.Sprint(n.Role, n.User.Name, n.User.Password.Reveal(), len(n.User.AuthorizedKeys), n.Timezone, n.NTP, n.Swap, ssid, pass, n.Cmdline, len(n.Files))
	}
	for i, want := range []string{
		fmt.Sprint(Worker, "tom", "correct horse", 1, "Europe/Berlin", []string{"a.example", "b.example"}, true, "island", "correct horse", []string{"quiet"}, 1),
		fmt.Sprint(Plain, "nook", "correct horse", 1, "UTC", []string{"c.example"}, false, "sea", "", []string{}, 1),
		fmt.Sprint(Plain, "pi", "correct horse", 0, "", []string{}, false, "-", "", []string{}, 0),
	} {
		if got := show(c.Nodes[i]); got != want {
			t.Errorf("node %d:\ngot  %s\nwant %s", i, got, want)
		}
	}
	if n := c.Nodes[0]; n.Interface != "eth0" || !n.SSH || n.Sudo != SudoNoPassword || n.IP.IsValid() || n.MAC != nil {
		t.Errorf("piimg's own defaults: %+v", n)
	}
	var notices []string
	for _, n := range c.Notices {
		notices = append(notices, n.Message)
	}
	if len(notices) != 1 || !strings.Contains(notices[0], `"sea"`) {
		t.Errorf("notices %q", notices)
	}
}

// TestDefaultsAreCheckedOnce has one mistake in defaults, and many nodes.
func TestDefaultsAreCheckedOnce(t *testing.T) {
	_, err := load(t, head+"defaults: {timezone: Berlin, user: {password: {env: PASSWORD}}}\nnodes: [{hostname: a}, {hostname: b}, {hostname: c}]\n")
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) != 1 || e.Problems[0].Path != "defaults.timezone" {
		t.Errorf("%v", err)
	}
}

func TestThousandNodes(t *testing.T) {
	var b strings.Builder
	b.WriteString("image: {path: a.img}\ncluster: {name: c, network: 10.0.0.0/16, gateway: 10.0.0.1}\n")
	b.WriteString("defaults: {user: {authorizedKeys: [~/.ssh/id_ed25519.pub]}}\nnodes:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - hostname: n%d\n    ip: 10.0.%d.%d\n    mac: b8:27:eb:00:%02x:%02x\n    cmdline: [a=%d]\n", i, 1+i/250, 1+i%250, i/256, i%256, i)
	}
	start := time.Now()
	c, err := load(t, b.String())
	if err != nil || len(c.Nodes) != 1000 {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	} else {
		t.Logf("took %v", d)
	}
}
