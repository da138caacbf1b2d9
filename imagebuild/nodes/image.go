package nodes

import (
	"math"
	"math/bits"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

const sha256Pattern = `^[0-9A-Fa-f]{64}$`

var sha256RE = regexp.MustCompile(sha256Pattern)

// image checks where the base image comes from. Whether it is there is found
// out by whoever opens it: it may still have to be downloaded.
func (c *checker) image(v value[imageDoc]) Image {
	d := v.V
	var im Image
	switch {
	case d.Path.Given() && d.URL.Given():
		c.fail(at(v), "keep one of them", "path and url exclude each other")
	case !d.Path.Given() && !d.URL.Given():
		c.fail(at(v), "add path: with an image file, or url: with sha256:", "the image has neither path nor url")
	}
	if d.Path.Set() {
		im.Path = c.imageFile(d.Path)
	}
	if d.URL.Set() {
		im.URL = c.imageURL(d.URL)
	}
	if d.SHA256.Set() {
		im.SHA256 = c.sha256(d.SHA256)
	}
	if d.RootSize.Set() {
		im.RootSize = c.byteSize(d.RootSize)
	}
	if d.URL.Given() && !d.Path.Given() && !d.SHA256.Given() {
		c.fail(at(v), "add sha256: as it is published beside the image", "a download needs its sha256")
	}
	return im
}

func (c *checker) imageFile(v text) string {
	switch {
	case v.V == "":
		c.fail(at(v), "", "the path is empty")
		return ""
	case strings.Contains(v.V, "://"):
		c.fail(at(v), "write url: instead of path:", "this is a URL, not a path")
		return ""
	}
	p, err := hostPath(v.V, c.dir, c.env.Home)
	if err != nil {
		c.fail(at(v), "write a full path, or one relative to nodes.yaml", "%v", err)
		return ""
	}
	return p
}

// imageURL never quotes a URL before it is known to hold no password.
func (c *checker) imageURL(v text) string {
	u, err := url.Parse(v.V)
	switch {
	case strings.Contains(v.V, "@"):
		c.r.Mask(v.Span())
		c.fail(at(v), "leave the part before @ out", "the URL holds a user name or a password")
	case err != nil || strings.ContainsAny(v.V, " \t\n"):
		c.fail(at(v), "write https://…", "this is not a URL")
	case u.Scheme == "http":
		c.fail(at(v), "write https", "images are downloaded by https only")
	case u.Scheme != "https":
		c.fail(at(v), "write https://…, or path: for a file", "%q is not an https URL", v.V)
	case u.Hostname() == "":
		c.fail(at(v), "write https://…", "the URL names no host")
	case strings.Trim(u.Path, "/") == "":
		c.fail(at(v), "", "the URL names no file")
	case u.Fragment != "":
		c.fail(at(v), "leave the part after # out", "a download has no fragment")
	default:
		return v.V
	}
	return ""
}

func (c *checker) sha256(v text) string {
	switch {
	case sha256RE.MatchString(v.V):
		return strings.ToLower(v.V)
	case sha256RE.MatchString(strings.TrimPrefix(v.V, "sha256:")):
		c.fail(at(v), "write the digits alone", "the hash has a prefix")
	default:
		c.fail(at(v), "use what sha256sum prints for the file as it is downloaded, or what is published beside it",
			"the hash must have 64 hex digits, and has %d characters", len([]rune(v.V)))
	}
	return ""
}

// sizePattern is a size in bytes with its unit: powers of 1024, or of 1000 as
// those who sell cards count.
const sizePattern = `^([1-9][0-9]{0,6}) ?([MGT])(i?)B$`

var sizeRE = regexp.MustCompile(sizePattern)

// byteSize returns a size in bytes, of whole MiB.
func (c *checker) byteSize(v text) int64 { return c.sizeIn(v, 1000) }

// The memory of a board: the first Raspberry Pis had 256 MiB, the largest have 16 GiB.
const (
	minMemory = 256 << 20
	maxMemory = 64 << 30
)

// memory returns the memory of a board in bytes. Memory is sold in powers of
// 1024 whatever the label says, so that GB means GiB.
func (c *checker) memory(v text) int64 {
	n := c.sizeIn(v, 1024)
	if n != 0 && (n < minMemory || n > maxMemory) {
		c.fail(at(v), "write what the board has, such as 512MiB, 1GiB or 8GiB", "no board has a memory of %s", v.V)
		return 0
	}
	return n
}

// sizeIn is byteSize with a unit without i being a power of decimal.
func (c *checker) sizeIn(v text, decimal uint64) int64 {
	m := sizeRE.FindStringSubmatch(v.V)
	if m == nil {
		c.fail(at(v), "write a number and a unit, such as 4GiB, 4096MiB or 4GB", "%q is not a size", v.V)
		return 0
	}
	n, _ := strconv.ParseUint(m[1], 10, 64) // the pattern lets no other through
	unit := decimal
	if m[3] != "" {
		unit = 1024
	}
	for range strings.Index("MGT", m[2]) + 2 {
		var over uint64
		if over, n = bits.Mul64(n, unit); over != 0 || n > math.MaxInt64 {
			c.fail(at(v), "", "%q is more than any disk has", v.V)
			return 0
		}
	}
	return int64(n) >> 20 << 20
}
