package imagebuild

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

// Shard is a slice of a build, so that several machines make the images of a large
// cluster. The zero value is all of it.
//
// The nodes are dealt out in turns: of N shards the first has the first node, the
// node N places further on, and so forth. So every shard gets its part of each
// role, and of each range; and nodes that are added at the end of nodes.yaml move
// no other.
type Shard struct {
	Index int // from 1 to Count
	Count int
}

// maxShards is how many slices there may be: more than nodes make no sense.
const maxShards = 10_000

// ParseShard reads a slice in the form 2/8: the second of eight.
func ParseShard(s string) (Shard, error) {
	index, count, ok := strings.Cut(s, "/")
	i, errI := strconv.ParseUint(index, 10, 31)
	n, errN := strconv.ParseUint(count, 10, 31)
	switch {
	case !ok || errI != nil || errN != nil:
		return Shard{}, fmt.Errorf("the shard %q is not I/N: write which slice of how many, such as 2/8", s)
	case n == 0 || n > maxShards:
		return Shard{}, fmt.Errorf("the shard %q: there can be 1 to %d slices", s, maxShards)
	case i == 0:
		return Shard{}, fmt.Errorf("the shard %q: slices count from 1, so the first one is 1/%d", s, n)
	case i > n:
		return Shard{}, fmt.Errorf("the shard %q: the last slice is %d/%d", s, n, n)
	}
	return Shard{Index: int(i), Count: int(n)}, nil
}

// String returns the form that [ParseShard] reads; "" for all of a build.
func (s Shard) String() string {
	if s.Count == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.Index, s.Count)
}

// of returns the slice of a list.
func (s Shard) of(list []int) []int {
	if s.Count == 0 {
		return list
	}
	var out []int
	for i := s.Index - 1; i < len(list); i += s.Count {
		out = append(out, list[i])
	}
	return out
}

// emptyShard says why no image is made: a slice of few nodes may have none. That is no
// error, as all slices together have all of them, each on a machine of its own.
func emptyShard(o Options, all int) string {
	of := fmt.Sprintf("(%d in all)", all)
	if len(o.Only) > 0 {
		of = "that were named (" + someOf(o.Only) + "): the slice is one of those nodes, not of all"
	}
	return fmt.Sprintf("shard %v has none of the nodes %s; no image is made, the other slices make them", o.Shard, of)
}

// choose resolves --only and --shard to indexes into the nodes: all of them without
// names, and of these the slice.
func choose(config *nodes.Config, names []string, shard Shard) ([]int, error) {
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		wanted[name] = true
	}
	var chosen []int
	known := make([]string, len(config.Nodes))
	for i, n := range config.Nodes {
		known[i] = n.Hostname
		if len(names) == 0 || wanted[n.Hostname] {
			chosen = append(chosen, i)
			delete(wanted, n.Hostname)
		}
	}
	for _, name := range names {
		if !wanted[name] {
			continue
		}
		hint := "it has " + someOf(known)
		if near := strictyaml.Nearest(name, known); near != "" && len(known) > maxNamed {
			hint = "did you mean " + near + "?"
		}
		return nil, KindUsage.as(fmt.Errorf("%s has no node %q; %s", config.Path, name, hint))
	}
	return shard.of(chosen), nil
}
