package fat

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxName is how long a name may be, in UTF-16 units.
const maxName = 255

// unitsPerSlot is how many UTF-16 units of a long name a slot holds.
const unitsPerSlot = 13

// badLong are the characters that a name must not hold, besides control characters.
const badLong = `"*/:<>?\|`

// goodShort are the characters that a short name may hold, besides letters and digits.
const goodShort = "!#$%&'()-@^_`{}~"

// cp437 is what the bytes from 0x80 on mean in a short name; Linux's default, too.
const cp437 = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0"

// shortName is a name as a slot holds it: eight and three bytes, padded with spaces.
type shortName [11]byte

// The bits of a slot's byte 12 that ask for lower case.
const (
	lowerBase = 0x08
	lowerExt  = 0x10
)

// decode returns the name as it is shown.
func (s shortName) decode(caseBits byte) string {
	if s[0] == 0x05 {
		s[0] = 0xe5 // which would mean that the slot is free
	}
	part := func(b []byte, lower bool) string {
		var sb strings.Builder
		for _, c := range []byte(strings.TrimRight(string(b), " ")) {
			switch {
			case c >= 0x80:
				sb.WriteRune([]rune(cp437)[c-0x80])
			case lower && c >= 'A' && c <= 'Z':
				sb.WriteByte(c + 'a' - 'A')
			default:
				sb.WriteByte(c)
			}
		}
		return sb.String()
	}
	name := part(s[:8], caseBits&lowerBase != 0)
	if ext := part(s[8:], caseBits&lowerExt != 0); ext != "" {
		name += "." + ext
	}
	return name
}

// checksum ties the slots of a long name to the short one.
func (s shortName) checksum() byte {
	var sum byte
	for _, c := range s {
		sum = sum<<7 | sum>>1
		sum += c
	}
	return sum
}

// checkName refuses what cannot be the name of a new entry.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case !utf8.ValidString(name):
		return errors.New("the name is not valid UTF-8")
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return fmt.Errorf("names on a FAT file system cannot end in %q", name[len(name)-1:])
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || strings.ContainsRune(badLong, r) {
			return fmt.Errorf("names on a FAT file system cannot hold %q", r)
		}
	}
	if n := len(utf16.Encode([]rune(name))); n > maxName {
		return fmt.Errorf("the name has %d UTF-16 units, and a FAT file system holds %d", n, maxName)
	}
	return nil
}

// makeShort returns the short name for a new entry, and whether it needs a long
// one beside it. Taken says which short names there are.
func makeShort(name string, taken func(shortName) bool) (short shortName, long bool, err error) {
	base, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		base, ext = name[:i], name[i+1:]
	}
	b, lossyBase := shorten(strings.TrimLeft(base, "."))
	e, lossyExt := shorten(ext)
	lossy := lossyBase || lossyExt || len(b) > 8 || len(e) > 3 || strings.HasPrefix(base, ".") || b == ""
	if b == "" {
		b = "_"
	}
	e = e[:min(len(e), 3)]
	if !lossy {
		short = pad(b, e)
		if !taken(short) {
			return short, short.decode(0) != name, nil
		}
	}
	for i := 1; i <= 999_999; i++ {
		tail := "~" + strconv.Itoa(i)
		short = pad(b[:min(len(b), 8-len(tail))]+tail, e)
		if !taken(short) {
			return short, true, nil
		}
	}
	return short, false, fmt.Errorf("%w: no short name is left for %q", ErrNoSpace, name)
}

// shorten returns what of s a short name may hold, and whether anything else was
// in it.
func shorten(s string) (short string, lossy bool) {
	var sb strings.Builder
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z':
			sb.WriteByte(byte(r) + 'A' - 'a')
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(goodShort, r):
			sb.WriteRune(r)
		case r == ' ' || r == '.':
			lossy = true
		default:
			lossy = true
			sb.WriteByte('_')
		}
	}
	return sb.String(), lossy
}

func pad(base, ext string) shortName {
	var s shortName
	copy(s[:], "           ")
	copy(s[:8], base)
	copy(s[8:], ext)
	return s
}

// longSlots returns the slots that hold a long name, in the order they have on disk:
// the last part first.
func longSlots(name string, sum byte) [][slotSize]byte {
	units := utf16.Encode([]rune(name))
	n := (len(units) + unitsPerSlot - 1) / unitsPerSlot
	slots := make([][slotSize]byte, n)
	for i := range n {
		s := &slots[n-1-i]
		s[0] = byte(i + 1)
		if i == n-1 {
			s[0] |= lastLong
		}
		s[11] = attrLong
		s[13] = sum
		for k, at := range unitOffsets {
			u := uint16(0xffff)
			switch pos := i*unitsPerSlot + k; {
			case pos < len(units):
				u = units[pos]
			case pos == len(units):
				u = 0
			}
			s[at], s[at+1] = byte(u), byte(u>>8)
		}
	}
	return slots
}

// unitOffsets is where a slot of a long name holds its units.
var unitOffsets = [unitsPerSlot]int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30}

// longUnits returns the units that a slot of a long name holds.
func longUnits(s []byte) []uint16 {
	units := make([]uint16, 0, unitsPerSlot)
	for _, at := range unitOffsets {
		u := uint16(s[at]) | uint16(s[at+1])<<8
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return units
}
