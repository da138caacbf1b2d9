package secrets

import (
	"math"
	"slices"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

// openKeys are the keys of the file whose values may be shown.
func openKeys() []string { return []string{"version", "cluster", "created", "recipients"} }

// allKeys are the keys of the file.
func allKeys() []string {
	return append(openKeys(), "seed", "tokenSeed", "kubernetes", "ca", "etcdCA", "frontProxyCA", "clientCA", "serviceAccount", "cert", "key")
}

// longest is the longest value in bytes that may be shown: one whose end went
// lost can have taken in what follows.
const longest = 80

// shield keeps everything out of problems and their excerpts that is not known to
// be harmless: values but those of open keys, and keys but those that look like
// known ones. A line of a key that lost its indentation is a YAML key or value too.
func shield(report *strictyaml.Report, n *strictyaml.Node) {
	for _, e := range n.Entries {
		if strictyaml.Nearest(e.Key.Text, allKeys()) == "" {
			e.Key.Secret = true
			report.Mask(e.Key.Span)
		}
		if !slices.Contains(openKeys(), e.Key.Text) || !harmless(e.Value) {
			shieldValue(report, e.Value)
		}
		shield(report, e.Value)
	}
	for _, item := range n.Items {
		shield(report, item)
	}
}

// harmless says whether the value of an open key may be shown: it is short, and no
// identity of age where the recipient belongs.
func harmless(n *strictyaml.Node) bool {
	return len(n.Text) <= longest && !strings.Contains(strings.ToUpper(n.Text), "AGE-SECRET-KEY-") && !slices.ContainsFunc(n.Items, func(item *strictyaml.Node) bool {
		return !harmless(item)
	})
}

func shieldValue(report *strictyaml.Report, n *strictyaml.Node) {
	if n.Kind != strictyaml.Map && n.Kind != strictyaml.List {
		n.Secret = true
		report.Mask(n.Span)
	}
	for _, item := range n.Items {
		shieldValue(report, item)
	}
}

// shieldText does so for a file that does not parse: of a line that begins with a
// known key it shows that key, and of others nothing.
func shieldText(report *strictyaml.Report, data []byte) {
	lines := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(string(data), "\uFEFF"))
	number := 0
	for line := range strings.SplitSeq(lines, "\n") {
		number++
		col := 1
		before, _, found := strings.Cut(line, ":")
		if found && slices.Contains(allKeys(), strings.TrimLeft(before, " ")) {
			col = len(before) + 2
		}
		report.Mask(strictyaml.Span{Line: number, Col: col, EndLine: number, EndCol: math.MaxInt})
	}
}
