package bmap

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// MaxFile is the size in bytes of the largest .bmap file that is read.
const MaxFile = 64 << 20

// Decode reads the content of a .bmap file of version 2.0 whose checksums are
// SHA-256, and verifies the file's own checksum and that its numbers agree.
func Decode(content []byte) (*Map, error) {
	m, err := decode(content)
	if err != nil {
		return nil, fmt.Errorf("not a sound block map: %w", err)
	}
	return m, nil
}

func decode(content []byte) (*Map, error) {
	if len(content) > MaxFile {
		return nil, fmt.Errorf("%d bytes, and %d are the most that is read", len(content), MaxFile)
	}
	d := decoder{xml: xml.NewDecoder(bytes.NewReader(content)), content: content, seen: map[string]bool{}}
	if err := d.file(); err != nil {
		return nil, err
	}
	for _, name := range [...]string{"ImageSize", "BlockSize", "BlocksCount", "MappedBlocksCount", "ChecksumType", "BmapFileChecksum", "BlockMap"} {
		if !d.seen[name] {
			return nil, fmt.Errorf("it has no %s", name)
		}
	}
	if err := d.m.check(); err != nil {
		return nil, err
	}
	if n := Blocks(d.m.Size, d.m.BlockSize); d.blocks != n {
		return nil, fmt.Errorf("it counts %d blocks, the image has %d", d.blocks, n)
	}
	if n := d.m.Mapped(); d.mapped != n {
		return nil, fmt.Errorf("it counts %d mapped blocks, and lists %d", d.mapped, n)
	}
	return &d.m, nil
}

// decoder reads one file, element by element, so that no more is held of it than
// its ranges.
type decoder struct {
	xml            *xml.Decoder
	content        []byte
	seen           map[string]bool
	m              Map
	blocks, mapped int64
}

// next returns what comes next beside blanks, comments and declarations: an
// element's beginning, or its end, and then ok is false.
func (d *decoder) next() (e xml.StartElement, ok bool, err error) {
	for {
		t, err := d.xml.Token()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return e, false, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			return t, true, nil
		case xml.EndElement:
			return e, false, nil
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return e, false, fmt.Errorf("there is text at byte %d that belongs to nothing", d.xml.InputOffset())
			}
		}
	}
}

func (d *decoder) file() error {
	root, ok, err := d.next()
	if err != nil {
		return err
	}
	if !ok || root.Name.Local != "bmap" {
		return errors.New("it does not begin with the element bmap")
	}
	if v := attr(root, "version"); v != "2.0" {
		return fmt.Errorf("it has version %q, and 2.0 is what can be read", v)
	}
	for {
		e, ok, err := d.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		name := e.Name.Local
		if d.seen[name] {
			return fmt.Errorf("it has two elements %s", name)
		}
		d.seen[name] = true
		if err := d.element(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for {
		switch t, err := d.xml.Token(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		default:
			if text, ok := t.(xml.CharData); !ok || len(bytes.TrimSpace(text)) > 0 {
				return errors.New("something stands behind its end")
			}
		}
	}
}

func (d *decoder) element(name string) (err error) {
	switch name {
	case "ImageSize":
		d.m.Size, err = d.number()
	case "BlockSize":
		d.m.BlockSize, err = d.number()
	case "BlocksCount":
		d.blocks, err = d.number()
	case "MappedBlocksCount":
		d.mapped, err = d.number()
	case "ChecksumType":
		var kind string
		if kind, _, err = d.text(); err == nil && kind != "sha256" {
			err = fmt.Errorf("%q, and sha256 is what can be read", kind)
		}
	case "BmapFileChecksum":
		err = d.checksum()
	case "BlockMap":
		err = d.ranges()
	default:
		err = errors.New("an element that is not known")
	}
	return err
}

// text reads the text of an element that has begun, and its end. At is where in
// the file the text, without the blanks around it, begins.
func (d *decoder) text() (s string, at int64, err error) {
	for {
		from := d.xml.InputOffset()
		t, err := d.xml.Token()
		switch t := t.(type) {
		case nil:
			return "", 0, errors.Join(err, io.ErrUnexpectedEOF)
		case xml.EndElement:
			return s, at, nil
		case xml.CharData:
			if s != "" {
				return "", 0, errors.New("its text is not in one piece")
			}
			blanks := len(t) - len(bytes.TrimLeft(t, " \t\r\n"))
			s, at = strings.TrimSpace(string(t)), from+int64(blanks)
		default:
			return "", 0, errors.New("it has more than text in it")
		}
	}
}

func (d *decoder) number() (int64, error) {
	s, _, err := d.text()
	if err != nil {
		return 0, err
	}
	return number(s)
}

// number reads a decimal number without a sign.
func number(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no number", s)
	}
	return int64(n), nil
}

// checksum reads the file's checksum and verifies it.
func (d *decoder) checksum() error {
	s, at, err := d.text()
	if err != nil {
		return err
	}
	want, err := digest(s)
	if err != nil {
		return err
	}
	end := at + int64(len(s))
	if end > int64(len(d.content)) || string(d.content[at:end]) != s {
		return errors.New("it is not written out")
	}
	h := sha256.New()
	h.Write(d.content[:at])
	h.Write([]byte(noChecksum))
	h.Write(d.content[end:])
	if [sha256.Size]byte(h.Sum(nil)) != want {
		return errors.New("the file is not what it was: it has another checksum")
	}
	return nil
}

// digest reads a SHA-256 in hex digits.
func digest(s string) (sum [sha256.Size]byte, err error) {
	if len(s) != 2*len(sum) {
		return sum, fmt.Errorf("%.80q is no SHA-256", s)
	}
	if _, err := hex.Decode(sum[:], []byte(s)); err != nil || strings.ToLower(s) != s {
		return sum, fmt.Errorf("%.80q is no SHA-256 in lower case", s)
	}
	return sum, nil
}

// ranges reads the elements of BlockMap.
func (d *decoder) ranges() error {
	for {
		e, ok, err := d.next()
		if err != nil || !ok {
			return err
		}
		if e.Name.Local != "Range" {
			return fmt.Errorf("the element %.40q is not known", e.Name.Local)
		}
		var r Range
		if r.SHA256, err = digest(attr(e, "chksum")); err != nil {
			return err
		}
		s, _, err := d.text()
		if err != nil {
			return err
		}
		first, last, several := strings.Cut(s, "-")
		if !several {
			last = first
		}
		if r.First, err = number(first); err != nil {
			return err
		}
		if r.Last, err = number(last); err != nil {
			return err
		}
		d.m.Ranges = append(d.m.Ranges, r)
	}
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
