package raspios

import (
	"regexp"
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

// planKeymap sets the layout of a keyboard at the node's console.
func (b *builder) planKeymap() {
	layout := b.node.Keymap
	if layout == "" {
		return
	}
	const why = "keymap"
	if known := b.layouts(); len(known) > 0 && !known[layout] {
		b.fail("keymap: the image knows no keyboard layout %q; the names are those of /usr/share/X11/xkb/rules/base.lst, for example gb, us, de", layout)
		return
	}
	if !regexp.MustCompile(`^[a-z0-9_-]+$`).MatchString(layout) {
		b.fail("keymap: %q is no name of a keyboard layout; say for example gb, us or de", layout)
		return
	}
	var out []string
	set := false
	for _, line := range lines(b.text("etc/default/keyboard")) {
		key, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(key) {
		case "XKBLAYOUT":
			if strings.Trim(strings.TrimSpace(value), `"'`) == layout {
				return // with the variant that goes with it
			}
			line, set = `XKBLAYOUT="`+layout+`"`, true
		case "XKBVARIANT": // of another layout
			line = `XKBVARIANT=""`
		}
		out = append(out, line)
	}
	if !set {
		out = append(out, `XKBLAYOUT="`+layout+`"`)
	}
	b.edit("etc/default/keyboard", strings.Join(out, "\n")+"\n", why)
	// What console-setup loads at boot is a compiled copy, which it makes anew
	// when it is missing.
	names, _ := b.d.readDir(plan.Root, "etc/console-setup")
	for _, n := range names {
		if n == "cached_setup_keyboard.sh" || n == "cached_setup_terminal.sh" ||
			strings.HasPrefix(n, "cached_") && strings.HasSuffix(n, ".kmap.gz") {
			b.remove("etc/console-setup/"+n, why)
		}
	}
}

// layouts returns the keyboard layouts that the image knows; nil if it has no
// list of them.
func (b *builder) layouts() map[string]bool {
	known := map[string]bool{}
	section := ""
	for _, line := range lines(b.text("usr/share/X11/xkb/rules/base.lst")) {
		if s, ok := strings.CutPrefix(line, "! "); ok {
			section = strings.TrimSpace(s)
		} else if w := strings.Fields(line); section == "layout" && len(w) > 0 {
			known[w[0]] = true
		}
	}
	return known
}
