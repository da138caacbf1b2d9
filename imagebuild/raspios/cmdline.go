package raspios

import (
	"bytes"
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

const whyCmdline = "cmdline"

// planCmdline appends to the kernel's command line. What stands there stays: the
// first boot looks for its own words in it and takes them out by sed.
func (b *builder) planCmdline() {
	args := append(b.args, b.node.Cmdline...)
	if len(args) == 0 {
		return
	}
	if !b.d.exists(plan.Boot, "cmdline.txt") {
		b.fail("cmdline: the boot partition has no cmdline.txt; use an image as published")
		return
	}
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, "\n\r\x00") {
			b.fail("cmdline: %q is no argument: it is empty or holds a line break", a)
			return
		}
	}
	old := []byte(b.read(plan.Boot, "cmdline.txt"))
	b.rewrite(plan.Edit{
		Partition: plan.Boot, Path: "cmdline.txt", Content: appendArgs(old, args), Why: whyCmdline,
	})
}

// checkCmdline looks at a cmdline.txt that the user brings: without the disk it
// starts from, a node does not start at all.
func (b *builder) checkCmdline() {
	_, e, err := b.d.resolve(plan.Boot, "cmdline.txt", true)
	if err != nil || e.kind != isFile || e.edit == nil || e.edit.Why == whyCmdline {
		return
	}
	base, _ := newDraft(b.Boot, b.Root).read(plan.Boot, "cmdline.txt")
	line := b.read(plan.Boot, "cmdline.txt")
	for _, arg := range strings.Fields(string(base)) {
		switch {
		case hasArg(firstLine(line), arg):
		case strings.HasPrefix(arg, "root="):
			b.fail("cmdline.txt: the file you bring does not have the image's %s, without which the node does not start; leave the file out, and give what it adds under cmdline", arg)
		case arg == b.facts.FirstBoot:
			b.notice("The cmdline.txt that you bring does not have the image's %s: the root file system does not grow over the card.", arg)
		}
	}
}

// firstLine returns the line of cmdline.txt that counts.
func firstLine(text string) string {
	if i := strings.IndexAny(text, "\n\r\x00"); i >= 0 {
		return text[:i]
	}
	return text
}

// appendArgs adds to the first line of cmdline.txt, the only one that counts,
// what it does not have yet. The end of the line stays as it is: with or without
// a line break, of one or two bytes, or NULs.
func appendArgs(text []byte, args []string) []byte {
	end := bytes.IndexAny(text, "\n\r\x00")
	if end < 0 {
		end = len(text)
	}
	line, rest := strings.TrimRight(string(text[:end]), " \t"), text[end:]
	for _, a := range args {
		if hasArg(line, a) {
			continue
		}
		if line != "" {
			line += " "
		}
		line += a
	}
	return append([]byte(line), rest...)
}

// hasArg reports whether a command line has the argument. The last country is the
// one that counts.
func hasArg(line, arg string) bool {
	found := false
	for _, a := range strings.Fields(line) {
		switch {
		case a == arg:
			found = true
		case strings.HasPrefix(arg, regdom) && strings.HasPrefix(a, regdom):
			found = false
		}
	}
	return found || strings.ContainsAny(arg, " \t") && strings.Contains(" "+line+" ", " "+arg+" ")
}
