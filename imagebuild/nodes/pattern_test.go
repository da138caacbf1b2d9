package nodes

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

const (
	rangeHead     = "image: {path: a.img}\ncluster: {name: c, network: 10.0.0.0/16, gateway: 10.0.0.1, dns: [1.1.1.1]}\n"
	rangeDefaults = "defaults: {user: {authorizedKeys: [~/.ssh/id_ed25519.pub]}}\n"
)

// hostnames loads a file with the entries, and returns the names of its nodes.
func hostnames(t testing.TB, entries ...string) []string {
	t.Helper()
	c, err := load(t, rangeHead+rangeDefaults+"nodes:\n  - "+strings.Join(entries, "\n  - ")+"\n")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.Hostname)
	}
	return names
}

// TestRangesAsClusterShell expands ranges as ClusterShell's nodeset does.
func TestRangesAsClusterShell(t *testing.T) {
	nodeset := tooltest.Path(t, "nodeset")
	for _, p := range []string{
		"worker-[001-100]", "w[1-4,7]", "n[8-12]", "n[08-12]", "rack[1-4]-[01-20]", "a[0-1]b[0-1]c[0-1]", "x-[5-5]", "x[0]", "q[000-003]r", "m[9,11,10]",
	} {
		out, err := exec.Command(nodeset, "-e", p).Output()
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Fields(string(out))
		got := hostnames(t, `hostname: "`+p+`"`)
		slices.Sort(want) // nodeset sorts by numbers, whatever the order given
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, nodeset makes %q", p, got, want)
		}
	}
}

func TestRangeOrder(t *testing.T) {
	got := hostnames(t, "hostname: r[2,1]-[08-10]")
	if want := "r2-08 r2-09 r2-10 r1-08 r1-09 r1-10"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestRangeIsItsNodes: a range means what the nodes mean that it stands for, each
// written out.
func TestRangeIsItsNodes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		first := rapid.IntRange(0, 300).Draw(r, "first")
		n := rapid.IntRange(1, 40).Draw(r, "n")
		width := rapid.IntRange(3, 4).Draw(r, "width")
		address := rapid.IntRange(2, 60000).Draw(r, "address")
		role := rapid.SampledFrom([]string{"worker", "plain", "control-plane"}).Draw(r, "role")
		ip := func(i int) string { return fmt.Sprintf("10.0.%d.%d", (address+i)>>8, (address+i)&0xff) }
		var macs, entries []string
		for i := range n {
			mac := fmt.Sprintf("b8:27:eb:00:%02x:%02x", i>>8, i&0xff)
			macs = append(macs, mac)
			entries = append(entries, fmt.Sprintf("{hostname: w%0*d, ip: %s, mac: '%s', role: %s, domain: d}", width, first+i, ip(i), mac, role))
		}
		whole := fmt.Sprintf("{hostname: 'w[%0*d-%0*d]', ip: %s, macs: [%s], role: %s, domain: d}", width, first, width, first+n-1, ip(0), "'"+strings.Join(macs, "','")+"'", role)
		load := func(entries ...string) *Config {
			c, err := load(t, rangeHead+rangeDefaults+"nodes:\n  - "+strings.Join(entries, "\n  - ")+"\n")
			if err != nil {
				r.Fatal(err)
			}
			return c
		}
		one, each := load(whole), load(entries...)
		if got, want := fmt.Sprintf("%+v", one.Nodes), fmt.Sprintf("%+v", each.Nodes); got != want {
			r.Fatalf("%s is\n%s\nwant\n%s", whole, got, want)
		}
	})
}

// TestRangeRefusals wants one clear problem for each file.
func TestRangeRefusals(t *testing.T) {
	const kube = "kubernetes: {version: 1.34.1%s}"
	cp := "{hostname: cp, ip: 10.0.9.1, role: control-plane}\n  - "
	for _, test := range []struct{ block, entries, place, message, hint string }{
		{"", "{hostname: 'w-[1-6000]'}\n  - {hostname: 'x-[1-4001]'}", "7:16", "more than 10000 nodes", "several files"},
		{"", "{hostname: 'w-[1-4]', ip: 10.0.255.253}", "6:31", "w-3's address 10.0.255.255 is the broadcast address", "10.0.255.254"},
		{"", "{hostname: 'w-[1-4]', ip: 255.255.255.254}", "6:31", "belongs to 240.0.0.0/4", ""},
		{"", "{hostname: 'w-[1-4]', ip: 9.255.255.254}", "6:31", "w-1's address 9.255.255.254 is not in", "10.0.0.1"},
		{"", "{hostname: 'w-[1-4]', ip: '10.0.[1-2].[1-3]'}", "6:31", "are 6 addresses, and there are 4 hostnames", "first address alone"},
		{"", "{hostname: 'w-[1-4]', ip: '10.0.0.[02-05]'}", "6:31", "not an IPv4 address", "leading zeros"},
		{"", "{hostname: 'w-[1-4]', ip: '10.0.0.[0-3]'}", "6:31", "w-1's address 10.0.0.0 is the address of the network", ""},
		{"", "{hostname: 'w-[1-2]', macs: ['b8:27:eb:00:00:01', 'b8:27:eb:00:00:01']}", "6:55", "taken by nodes[0]", ""},
		{"", "{hostname: 'w-[1-4]', interface: 'eth[0-1]'}", "6:38", "not the name of a network interface", ""},
		{"", "{hostname: '" + strings.Repeat("a", 60) + "[1-2000]'}", "6:16", "64 characters", ""},
		{"", "{hostname: 'w" + strings.Repeat("[1]", 40) + "'}", "6:16", "too long", ""},
		{"", "{hostname: 'w[" + strings.Repeat("0", 5000) + "1-" + strings.Repeat("0", 5000) + "2]'}", "6:16", "more than 10 digits", ""},
		{"", "{hostname: 'w-[1-2]', sudo: password}", "6:33", "sudo asks for a password", ""},
		{fmt.Sprintf(kube, ""), cp + "{hostname: 'w-[001-300]', role: worker}", "4:13", "10.244.0.0/16 is too small: it has 256 networks", "use a /15, such as 10.244.0.0/15"},
		{fmt.Sprintf(kube, ", podSubnet: 10.42.0.0/16, serviceSubnet: 10.43.0.0/16"), cp + "{hostname: 'w-[001-300]', role: worker}", "4:42", "too small", "write podSubnet: 10.244.0.0/15"},
		{fmt.Sprintf(kube, ", endpoint: 10.0.1.7"), cp + "{hostname: 'w-[1-9]', ip: 10.0.1.1, role: worker}", "4:41", "10.0.1.7 is in the range of nodes[1], and is w-7's", "no node has"},
		{fmt.Sprintf(kube, ", endpoint: 10.0.1.7, loadBalancer: kube-vip"), cp + "{hostname: 'w-[1-9]', ip: 10.0.1.1, role: worker}", "4:65", "kube-vip cannot hold the address that w-7 has", ""},
		{fmt.Sprintf(kube, ", endpoint: 'cp-[1-3]'"), cp + "{hostname: 'w-[1-9]', role: worker}", "4:41", "is a range", ""},
		{fmt.Sprintf(kube, ""), "{hostname: 'cp-[01-30]', ip: 10.0.1.1, role: control-plane}", "4:13", "cp-01, cp-02 and 28 others need an endpoint", ""},
		{fmt.Sprintf(kube, ", endpoint: 10.0.1.1"), "{hostname: 'cp-[1-3]', role: control-plane}", "6:34", "a control plane needs a static address", ""},
		{fmt.Sprintf(kube, ", podSubnet: 10.0.0.0/16"), cp + "{hostname: 'w-[1-9]', ip: 10.0.1.1, role: worker}", "4:42", "overlaps cluster.network", ""},
	} {
		_, err := load(t, rangeHead+rangeDefaults+test.block+"\nnodes:\n  - "+test.entries+"\n")
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: taken: %v", test.entries, err)
			continue
		}
		p := e.Problems[0]
		if len(e.Problems) != 1 || fmt.Sprintf("%d:%d", p.Line, p.Column) != test.place || !strings.Contains(p.Message, test.message) || !strings.Contains(p.Hint, test.hint) {
			t.Errorf("%s: want %s %q %q, got:\n%v", test.entries, test.place, test.message, test.hint, err)
		}
	}
}

// TestTenThousandNodes is the most that there may be, as one entry.
func TestTenThousandNodes(t *testing.T) {
	names := hostnames(t, "{hostname: 'w[00001-10000]', ip: 10.0.1.0}")
	if len(names) != maxNodes || names[9999] != "w10000" {
		t.Errorf("%d nodes, the last %s", len(names), names[len(names)-1])
	}
}
