package imagebuild

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/nodes"
)

func TestParseShard(t *testing.T) {
	for text, want := range map[string]string{
		"1/1": "", "2/8": "", "8/8": "", "10000/10000": "",
		"": "not I/N", "2": "not I/N", "2/": "not I/N", "/8": "not I/N", "a/8": "not I/N", "-1/8": "not I/N", "1/8/2": "not I/N", "+1/8": "not I/N", " 1/8": "not I/N",
		"99999999999/8": "not I/N", "0/8": "count from 1, so the first one is 1/8", "9/8": "the last slice is 8/8", "1/0": "1 to 10000", "0/0": "1 to 10000", "1/10001": "1 to 10000",
	} {
		s, err := ParseShard(text)
		switch {
		case want == "" && (err != nil || s.String() != text):
			t.Errorf("%q: %v, %v", text, s, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", text))):
			t.Errorf("%q: %v, %v; want %q", text, s, err, want)
		}
	}
}

// fleet is a configuration of n nodes.
func fleet(n int) *nodes.Config {
	c := &nodes.Config{Path: "nodes.yaml"}
	for i := range n {
		c.Nodes = append(c.Nodes, nodes.Node{Hostname: fmt.Sprintf("w%03d", i), IP: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})})
	}
	return c
}

// Every node is in exactly one shard, and shards differ by one node at most.
func TestShards(t *testing.T) {
	for _, n := range []int{1, 2, 7, 100} {
		for _, count := range []int{1, 2, 3, 7, 50, 200} {
			c, seen, least, most := fleet(n), make([]int, n), n, 0
			for i := range count {
				chosen, err := choose(c, nil, Shard{i + 1, count})
				if err != nil {
					t.Fatal(err)
				}
				least, most = min(least, len(chosen)), max(most, len(chosen))
				for _, k := range chosen {
					seen[k]++
				}
			}
			if most-least > 1 || slices.ContainsFunc(seen, func(n int) bool { return n != 1 }) {
				t.Errorf("%d shards of %d nodes: %d to %d nodes, each %v times", count, n, least, most, seen)
			}
		}
	}
}

func TestChoose(t *testing.T) {
	c := fleet(100)
	for _, test := range []struct {
		only  []string
		shard Shard
		want  string
	}{
		{[]string{"w003", "w001"}, Shard{}, "[1 3]"},
		{[]string{"w003", "w001", "w003"}, Shard{2, 2}, "[3]"},
		{[]string{"w003"}, Shard{2, 2}, "[]"},
		{nil, Shard{3, 40}, "[2 42 82]"},
		{[]string{"w0O3"}, Shard{}, `has no node "w0O3"; did you mean w003?`},
		{[]string{"isabelle"}, Shard{}, `it has w000, w001, w002, w003, w004, w005, w006 and 93 others`},
	} {
		got, err := choose(c, test.only, test.shard)
		if err != nil {
			if KindOf(err) != KindUsage || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v %v: %v", test.only, test.shard, err)
			}
		} else if fmt.Sprint(got) != test.want {
			t.Errorf("%v %v: %v", test.only, test.shard, got)
		}
	}
}
