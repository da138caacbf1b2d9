package raspios

import (
	"bytes"
	"context"
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/secrets"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func config() *nodes.Config {
	user := nodes.User{Name: "pi", Password: "s3cret", AuthorizedKeys: []string{"ssh-ed25519 AAAA me"}}
	common := nodes.Node{
		Role: nodes.Worker, Interface: "eth0", SSH: true, Sudo: nodes.SudoNoPassword, User: user,
		Timezone: "Europe/Berlin", Locale: "en_GB.UTF-8", Keymap: "gb",
	}
	c := &nodes.Config{
		SHA256: "c0ffee",
		Cluster: nodes.Cluster{
			Name: "villagers", Network: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.1"),
			DNS: []netip.Addr{netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("9.9.9.9")},
		},
	}
	tom, isabelle, blathers := common, common, common
	tom.Hostname, tom.Role = "tom-nook", nodes.Plain
	isabelle.Hostname, isabelle.Role = "isabelle", nodes.ControlPlane
	isabelle.IP, isabelle.MAC = netip.MustParseAddr("10.0.0.50"), net.HardwareAddr{0xb8, 0x27, 0xeb, 0, 0, 1}
	blathers.Hostname, blathers.IP = "blathers", netip.MustParseAddr("10.0.0.51")
	blathers.User.Name, blathers.Domain, blathers.Locale = "owl", "example.org", "de_DE.UTF-8"
	blathers.Wifi = &nodes.Wifi{SSID: "island", Passphrase: "deserted-getaway", Country: "DE"}
	blathers.Cmdline, blathers.Config = []string{"ipv6.disable=1"}, []string{"dtoverlay=disable-bt"}
	blathers.NTP = []string{"10.0.0.1"}
	blathers.Files = []nodes.File{{Path: "/etc/motd", Content: []byte("hello\n"), Mode: 0o644, Owner: "root:root"}}
	c.Nodes = []nodes.Node{tom, isabelle, blathers}
	return c
}

func input(t *testing.T, i image, c *nodes.Config, node int) Input {
	t.Helper()
	facts, err := Detect(i.boot, i.root)
	if err != nil {
		t.Fatal(err)
	}
	return Input{
		Config: c, Node: c.Nodes[node], Facts: facts, Boot: i.boot, Root: i.root, Secrets: secrets.Placeholder("villagers"),
		Base: BaseInfo{Name: "base.img.xz", SHA256: "abc123"}, Version: "0.1.0", Time: buildTime,
	}
}

// build plans a node and applies the plan to the image.
func build(t *testing.T, i image, c *nodes.Config, node int) plan.Plan {
	t.Helper()
	p, err := Plan(input(t, i, c, node))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, i, p)
	return p
}

func apply(t *testing.T, i image, p plan.Plan) {
	t.Helper()
	ctx := context.Background()
	i.boot.Clock, i.root.Clock = buildTime, buildTime
	if err := plan.Apply(ctx, p.Edits, i.boot, i.root); err != nil {
		t.Fatal(err)
	}
	if err := plan.Verify(ctx, p.Edits, i.boot, i.root); err != nil {
		t.Fatal(err)
	}
}

// Golden plans of every release: a plain node and one with everything.
func TestPlanGolden(t *testing.T) {
	for _, name := range images {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			for node := range 3 {
				i := loadImage(t, name)
				if err := plan.WriteText(&out, build(t, i, config(), node)); err != nil {
					t.Fatal(err)
				}
				out.WriteByte('\n')
			}
			golden(t, name+".txt", out.Bytes())
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update rewrites it, read the difference)", name)
	}
}

// Building on an image that was built before describes the same state: the
// result does not change.
func TestPlanIdempotent(t *testing.T) {
	for _, name := range images {
		t.Run(name, func(t *testing.T) {
			i := loadImage(t, name)
			build(t, i, config(), 2)
			once := i.boot.Dump(true) + i.root.Dump(true)
			build(t, i, config(), 2)
			if twice := i.boot.Dump(true) + i.root.Dump(true); twice != once {
				t.Errorf("once:\n%s\ntwice:\n%s", once, twice)
			}
		})
	}
}
