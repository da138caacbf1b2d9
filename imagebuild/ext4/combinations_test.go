package ext4

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// choice is one value of a property of file systems: arguments of mkfs.ext4,
// and what tune2fs does after it.
type choice struct {
	name     string
	features string
	args     []string
	tune     []string
	without  string // the choice that this one does not go with
}

// named are the properties that are combined in full, others those of which
// every pair occurs somewhere.
func named() [][]choice {
	return [][]choice{
		{{name: "1k"}, {name: "2k"}, {name: "4k"}, {name: "64k"}},
		{
			{name: "plain", features: "^metadata_csum"},
			{name: "csum", features: "metadata_csum"},
			{name: "seed", features: "metadata_csum,metadata_csum_seed"},
		},
		{{name: "32bit", features: "^64bit"}, {name: "64bit", features: "64bit"}},
		{
			{name: "no-journal", features: "^has_journal"},
			{name: "journal", features: "has_journal"},
			{name: "orphan_file", features: "has_journal,orphan_file"},
		},
	}
}

func others() [][]choice {
	return [][]choice{
		{{name: "extents"}, {name: "indirect", features: "^extent", without: "64bit"}},
		{{name: "i256"}, {name: "i128", args: []string{"-I", "128"}}, {name: "i512", args: []string{"-I", "512"}}},
		{
			{name: "half_md4"}, {name: "tea", tune: []string{"-E", "hash_alg=tea"}},
			{name: "legacy", tune: []string{"-E", "hash_alg=legacy"}}, {name: "linear", features: "^dir_index"},
		},
		{
			{name: "flex_bg"}, {name: "no-flex_bg", features: "^flex_bg"},
			{name: "meta_bg", features: "meta_bg,^resize_inode"},
			{name: "sparse_super2", features: "sparse_super2"}, {name: "no-sparse", features: "^sparse_super,^resize_inode"},
		},
		{{name: "groups", args: []string{"-g", "512"}}, {name: "one-group"}},
		{{name: "tiny"}, {name: "small"}, {name: "few-inodes", args: []string{"-N", "64"}}},
		{{name: "filetype"}, {name: "no-filetype", features: "^filetype"}},
		{{name: "uninit_bg", features: "uninit_bg"}, {name: "no-uninit_bg", features: "^uninit_bg"}},
		{{name: "large_dir", features: "large_dir,ea_inode"}, {name: "dir"}},
	}
}

// combinations are layouts with every combination of the named properties. The
// others are chosen so that as many pairs of values as can be are new each time.
func combinations() []layout {
	type pair struct {
		a, b string
	}
	seen := map[pair]bool{}
	fresh := func(picked []choice, c choice) (n int) {
		for _, p := range picked {
			if p.name == c.without {
				return -1
			}
			if !seen[pair{p.name, c.name}] {
				n++
			}
		}
		return n
	}
	combos := [][]choice{nil}
	for _, property := range named() {
		var next [][]choice
		for _, picked := range combos {
			for _, c := range property {
				next = append(next, append(slices.Clone(picked), c))
			}
		}
		combos = next
	}
	var out []layout
	for i, picked := range combos {
		for j, property := range others() {
			// Between what is as good, each layout begins with another value.
			turn := (i*7919 + j*104729) / 8 % len(property)
			best := property[turn]
			for _, c := range slices.Concat(property[turn:], property[:turn]) {
				if fresh(picked, c) > fresh(picked, best) {
					best = c
				}
			}
			picked = append(picked, best)
		}
		for k, a := range picked {
			for _, b := range picked[k+1:] {
				seen[pair{a.name, b.name}] = true
			}
		}
		out = append(out, combine(picked))
	}
	return out
}

// combine makes a layout, in the smallest size that mkfs accepts or makes a journal in.
func combine(picked []choice) layout {
	l := layout{size: ""}
	var names, features []string
	has := map[string]bool{}
	for _, c := range picked {
		has[c.name] = true
		names = append(names, c.name)
		l.args = append(l.args, c.args...)
		l.tune = append(l.tune, c.tune...)
		if c.features != "" {
			features = append(features, c.features)
		}
	}
	block := map[string]int{"1k": 1024, "2k": 2048, "4k": 4096, "64k": 65536}[picked[0].name]
	blocks := 1600
	switch {
	case !has["no-journal"]:
		blocks = 2400
	case has["tiny"]:
		blocks = 128
	case block == 65536:
		blocks = 200
	}
	l.name = strings.Join(names, ",")
	l.size = fmt.Sprintf("%dk", blocks*block/1024)
	l.args = append(l.args, "-b", fmt.Sprint(block), "-O", strings.Join(features, ","))
	return l
}

// TestCombinations counts the pairs of properties that occur together.
func TestCombinations(t *testing.T) {
	all := combinations()
	have, want := map[string]bool{}, 0
	for _, l := range all {
		parts := strings.Split(l.name, ",")
		for i, a := range parts {
			for _, b := range parts[i+1:] {
				have[a+","+b] = true
			}
		}
	}
	properties := slices.Concat(named(), others())
	for i, p := range properties {
		for _, q := range properties[i+1:] {
			want += len(p) * len(q)
		}
	}
	want-- // 64bit needs extents
	t.Logf("%d layouts, in which %d of %d pairs occur", len(all), len(have), want)
	if len(have) < want*97/100 {
		t.Errorf("only %d of %d pairs occur", len(have), want)
	}
}
