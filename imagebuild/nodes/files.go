package nodes

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

const (
	modePattern  = `^0?[0-7]{3,4}$`
	ownerPattern = `^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,10}):([a-z_][a-z0-9_-]{0,31}|[0-9]{1,10})$`
)

var (
	modeRE     = regexp.MustCompile(modePattern)
	ownerRE    = regexp.MustCompile(ownerPattern)
	userOnlyRE = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
)

// Mismatch explains the commonest mistake in a list of files.
func (fileDoc) Mismatch(n *strictyaml.Node) (string, string) {
	return "must be a mapping, not " + n.Kind.String(), "write {path: /etc/motd, source: ./motd}"
}

func (c *checker) files(v value[[]value[fileDoc]]) []File {
	var files []File
	first := map[string]place{}
	for _, item := range v.V {
		if !item.Set() {
			continue
		}
		f := c.file(item)
		if f.Path == "" {
			continue
		}
		p := at(item.V.Path)
		if earlier, dup := first[f.Path]; dup {
			c.fail(p, "keep one of them", "%s is given twice, first in line %d", f.Path, earlier.span.Line)
			continue
		}
		first[f.Path] = p
		files = append(files, f)
	}
	for _, f := range files {
		for dir := path.Dir(f.Path); dir != "/"; dir = path.Dir(dir) {
			if _, isFile := first[dir]; isFile {
				c.fail(first[f.Path], "change one of the two paths", "%s cannot be below %s, which is a file as well", f.Path, dir)
			}
		}
	}
	return files
}

func (c *checker) file(v value[fileDoc]) File {
	d := v.V
	f := File{Mode: 0o644, Owner: "root:root"}
	if d.Path.Set() {
		f.Path = c.imagePath(d.Path)
	}
	if d.Mode.Given() {
		f.Mode = c.mode(d.Mode)
	}
	if d.Owner.Set() {
		f.Owner = c.owner(d.Owner)
	}
	if d.Content.Given() {
		c.r.Mask(d.Content.Span()) // people do put tokens there
	}
	switch {
	case d.Content.Given() && d.Source.Given():
		c.fail(at(v), "keep one of them", "content and source exclude each other")
	case d.Content.Given():
		f.Content = []byte(d.Content.V)
	case d.Source.Set():
		f.Source = c.source(d.Source)
	case !d.Source.Given():
		c.fail(at(v), "add content: or source:; an empty file has content: \"\"", "the file has no content")
	}
	return f
}

// source checks a file that will be copied, and that it can be read now.
func (c *checker) source(v text) string {
	p, info, ok := c.stat(v)
	if !ok {
		return ""
	}
	if info.IsDir() {
		c.fail(at(v), "folders go into overlays", "%s is a folder, not a file", p)
		return ""
	}
	if !info.Mode().IsRegular() {
		c.fail(at(v), "", "%s is not a regular file", p)
		return ""
	}
	f, err := os.Open(p)
	if err != nil {
		c.fail(at(v), "", "cannot open the file: %v", err)
		return ""
	}
	f.Close()
	return p
}

// notOnDisk are folders that are mounted over when the node runs.
const notOnDisk = ` dev proc run sys `

func (c *checker) imagePath(v text) string {
	s := v.V
	clean := path.Clean(s)
	parts := strings.Split(strings.TrimPrefix(clean, "/"), "/")
	switch {
	case s == "":
		c.fail(at(v), "", "the path is empty")
	case len(s) > 1 && s[1] == ':' || strings.HasPrefix(s, `\`):
		c.fail(at(v), "write the path as the node sees it, such as /etc/motd", "%q is a path of this computer", s)
	case strings.HasPrefix(s, "~"):
		c.fail(at(v), "write it out: /home/pi/…", "the image knows no ~")
	case s[0] != '/':
		c.fail(at(v), "write "+path.Clean("/"+s), "%q is not an absolute path", s)
	case slices.Contains(strings.Split(s, "/"), ".."):
		c.fail(at(v), "write the path without ..", "%q climbs by ..", s)
	case clean == "/" || strings.HasSuffix(s, "/"):
		c.fail(at(v), "add the file's name", "%q is a folder", s)
	case clean != s:
		c.fail(at(v), "write "+clean, "%q is not in its shortest form", s)
	case strings.IndexFunc(s, unicode.IsControl) >= 0:
		c.fail(at(v), "", "%q holds a control character", s)
	case len(s) > 4095 || slices.ContainsFunc(parts, func(p string) bool { return len(p) > 255 }):
		c.fail(at(v), "", "the path is too long: a name can have 255 bytes, a path 4095")
	case containsWord(notOnDisk, parts[0]):
		c.fail(at(v), "choose another place", "nothing in /%s is on the disk when the node runs", parts[0])
	default:
		return s
	}
	return ""
}

// Mode is read from text alone: YAML reads an unquoted 0644 as the number 420
// or 644, depending on its version.
func (c *checker) mode(v text) fs.FileMode {
	if !v.Set() {
		return 0
	}
	if !modeRE.MatchString(v.V) {
		c.fail(at(v), `write the octal number in quotes: "0644", or "0755" for a program`, "%q is not a file mode", v.V)
		return 0
	}
	n, _ := strconv.ParseUint(v.V, 8, 16)
	mode := fs.FileMode(n & 0o777)
	for bit, flag := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if n&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

func (c *checker) owner(v text) string {
	s := v.V
	hint := "write user:group, such as root:root"
	if ownerRE.MatchString(s) {
		for id := range strings.SplitSeq(s, ":") {
			// 2³²-1 means "leave as it is" to chown.
			if n, err := strconv.ParseUint(id, 10, 64); err == nil && n >= 1<<32-1 {
				c.fail(at(v), "", "%s is larger than any user or group number", id)
				return ""
			}
		}
		return s
	}
	if userOnlyRE.MatchString(s) {
		hint = "write " + s + ":" + s
	}
	c.fail(at(v), hint, "%q is not an owner", s)
	return ""
}

// droppings are what file managers leave in folders.
const droppings = ` .DS_Store Thumbs.db desktop.ini .directory `

func (c *checker) overlays(v value[list]) []string {
	return each(c, v, func(t text) (string, bool) {
		p, info, ok := c.stat(t)
		if !ok {
			return "", false
		}
		const hint = "put what belongs to the system below root/ in it, and what belongs to the FAT partition below boot/"
		if !info.IsDir() {
			c.fail(at(t), "name a folder with root/ and boot/ in it, or use files", "%s is not a folder", p)
			return "", false
		}
		entries, err := os.ReadDir(p)
		if err != nil {
			c.fail(at(t), "", "cannot read the folder: %v", err)
			return "", false
		}
		found := 0
		for _, e := range entries {
			switch name := e.Name(); {
			case (name == "root" || name == "boot") && e.IsDir():
				found++
			case name == "root" || name == "boot":
				c.fail(at(t), hint, "%s is not a folder", filepath.Join(p, name))
				return "", false
			case containsWord(droppings, name):
			default:
				c.fail(at(t), "move it below root/ if it belongs to the system, below boot/ if to the FAT partition, or else out of the folder",
					"%s holds %q; an overlay holds root/ and boot/ only", p, name)
				return "", false
			}
		}
		if found == 0 {
			c.fail(at(t), hint, "%s holds neither root/ nor boot/", p)
			return "", false
		}
		return p, true
	})
}
