package nodes

import (
	"strings"
	"unicode"
)

// refusedArgs are kernel arguments that would keep a node from starting as it
// was planned, and why.
const refusedArgs = `root=it names the disk by its PARTUUID, which changes at the first boot
rootfstype=the image's own is right
rootflags=the image's own are right
init=the image's own resizes the disk at the first boot
rdinit=the image has its own
resize=the image has its own, which the first boot removes
--=what follows it goes to init instead of the kernel`

func (c *checker) cmdline(v value[list]) []string {
	return each(c, v, func(t text) (string, bool) {
		s := t.V
		name, _, _ := strings.Cut(s, "=")
		switch {
		case s == "":
			c.fail(at(t), "", "the argument is empty")
		case strings.ContainsAny(s, " \t\n\r"):
			c.fail(at(t), "give each argument an entry of its own", "%q holds white space, and would be several arguments", s)
		case strings.IndexFunc(s, func(r rune) bool { return r > '~' || r < '!' }) >= 0:
			c.fail(at(t), "", "%q holds characters that are not printable ASCII", s)
		case strings.ContainsAny(s, `"'`):
			c.fail(at(t), "leave the quotes out; an argument cannot hold white space here", "%q holds a quote", s)
		case strings.Contains(s, "PARTUUID"):
			c.fail(at(t), "leave it out", "%q names a disk by its PARTUUID, which changes at the first boot", s)
		default:
			for line := range strings.Lines(refusedArgs) {
				if bad, why, _ := strings.Cut(strings.TrimSpace(line), "="); bad == name {
					c.fail(at(t), "leave it out", "the argument %q cannot be set here: %s", name, why)
					return "", false
				}
			}
			return s, true
		}
		return "", false
	})
}

// configLine is how many characters of a line of config.txt the firmware reads.
const configLine = 98

// refusedConfig are settings of config.txt that would lead the firmware to
// other files than the ones piimg edits.
const refusedConfig = ` cmdline os_prefix `

func (c *checker) config(v value[list]) []string {
	var lines []string
	for _, t := range v.V {
		if t.Set() && c.configLine(t) {
			lines = append(lines, t.V)
		}
	}
	return lines
}

func (c *checker) configLine(t text) bool {
	s := t.V
	name, setting, assigns := strings.Cut(s, "=")
	comment := strings.HasPrefix(s, "#")
	switch {
	case strings.TrimSpace(s) == "":
		c.fail(at(t), "", "the line is empty")
	case strings.ContainsAny(s, "\n\r"):
		c.fail(at(t), "give each line an entry of its own", "this is more than one line")
	case strings.IndexFunc(s, unicode.IsControl) >= 0:
		c.fail(at(t), "", "%q holds a control character", s)
	case len(s) > configLine:
		c.fail(at(t), "split it: dtoverlay=NAME, then one dtparam=… for each parameter", "the line has %d characters; the firmware reads %d", len(s), configLine)
	case s != strings.TrimSpace(s):
		c.fail(at(t), "write "+strings.TrimSpace(s), "%q begins or ends with white space", s)
	case !comment && assigns && (name != strings.TrimSpace(name) || setting != strings.TrimSpace(setting)):
		c.fail(at(t), "write "+strings.TrimSpace(name)+"="+strings.TrimSpace(setting), "the firmware allows no white space around = in %q", s)
	case !comment && assigns && containsWord(refusedConfig, name):
		c.fail(at(t), "leave it out", "%s would make the firmware read other files than the ones piimg edits", name)
	default:
		return true
	}
	return false
}
