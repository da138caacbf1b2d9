package fat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Of a slot's byte 12: it has no short name of its own, as Linux once wrote
// where short names were patented.
const noShortName = 0x20

// checkNames checks the slots of a directory by themselves: "." and "..", the names, and
// what lies behind the end. It sets d up for its entries to be read.
func (c *checker) checkNames(d *checkedDir) error {
	first := 0
	if d.parent != nil {
		first = 2 // behind "." and ".."
	}
	entries := func() *entryReader {
		return &entryReader{slots: slotReader{c: c, extents: slices.Clone(d.extents)}, skip: first}
	}
	d.rest = entries()
	n := names{c: c, d: d, short: map[shortName]bool{}, long: map[string]bool{}, parts: longParts{expected: noName}}
	for r := entries(); ; {
		s, err := r.slots.next()
		switch {
		case err != nil:
			return err
		case s == nil:
			n.free() // no part of a long name may be left over
			return nil
		case r.slots.n <= first:
			c.checkDots(d, r.slots.n, s)
			continue
		}
		e := r.add(s)
		switch {
		case s[0] == slotEnd, s[0] == slotFree:
			n.free()
			n.ended = n.ended || s[0] == slotEnd
			continue
		case e == nil:
			n.part(s)
		default:
			n.entry(e)
		}
		if n.ended && !n.toldEnd {
			n.toldEnd = true
			c.found(CodeAfterEnd, d.path, "slot %d is used, and the directory ends before it: some systems show what is there, others don't", r.slots.n-1)
		}
	}
}

// checkDots checks the first two slots of a directory.
func (c *checker) checkDots(d *checkedDir, n int, s []byte) {
	name, want := ".", d.first
	if n == 2 {
		name, want = "..", 0
		if d.parent.parent != nil {
			want = d.parent.first
		}
	}
	e := entry{slot: [slotSize]byte(s)}
	switch got := e.cluster(c.layout.bits); {
	case string(s[:11]) != fmt.Sprintf("%-11s", name):
		c.found(CodeDirectory, d.path, "slot %d doesn't hold %q", n-1, name)
	case !e.isDir():
		c.found(CodeDirectory, d.path, "%q is no directory", name)
	case got != want:
		c.found(CodeDirectory, d.path, "%q leads to cluster %d, and should to %d", name, got, want)
	case s[12]&noShortName != 0:
		c.found(CodeDirectory, d.path, "%q is marked as having no short name", name)
	}
}

// names checks the names of one directory.
type names struct {
	c       *checker
	d       *checkedDir
	short   map[shortName]bool
	long    map[string]bool // in lower case, as far as ASCII goes
	parts   longParts
	ended   bool // the slot that ends the directory has gone by
	toldEnd bool
}

// free takes note of a slot that is not used.
func (n *names) free() {
	if n.parts.expected != noName {
		n.c.found(CodeLongName, n.d.path, "parts of a long name that belong to no file")
	}
	n.parts.expected = noName
}

// part takes a slot with a part of a long name.
func (n *names) part(s []byte) {
	if n.parts.expected == 0 {
		n.free()
	}
	if problem := n.parts.add(s); problem != "" {
		n.c.found(CodeLongName, n.d.path, "%s", problem)
	}
}

// entry takes the slot behind those of the long name.
func (n *names) entry(e *entry) {
	path, hasLong := join(n.d.path, e.name), n.parts.expected == 0
	if problem := n.parts.end(e.short()); problem != "" {
		n.c.found(CodeLongName, path, "%s", problem)
	}
	if e.slot[11]&attrLabel != 0 {
		n.label(e)
		return
	}
	s := e.short()
	switch {
	case e.slot[12]&noShortName != 0:
		if !hasLong {
			n.c.found(CodeShortName, path, "it is marked as having no short name, and has no long one")
		}
	case s[0] == ' ':
		n.c.found(CodeShortName, path, "the short name begins with a space")
	default:
		if i := slices.IndexFunc(s[:], badShort); i > 0 || i == 0 && s[0] != 0x05 {
			n.c.found(CodeShortName, path, "the short name holds %q", s[i])
		}
	}
	if n.short[s] {
		n.c.found(CodeDuplicate, path, "another entry has the short name %q, too", s.decode(0))
	}
	n.short[s] = true
	if e.name == s.decode(e.slot[12]) {
		return
	}
	folded := foldASCII(e.name)
	switch {
	case e.name == "." || e.name == "..", strings.ContainsFunc(e.name, func(r rune) bool { return r < ' ' || r == '/' }):
		n.c.found(CodeLongName, path, "no such name can be used")
	case n.long[folded]:
		n.c.found(CodeDuplicate, path, "another entry has this long name, too")
	}
	n.long[folded] = true
}

// badShort reports whether a short name must not hold b.
func badShort(b byte) bool {
	return b < ' ' || b == 0x7f || strings.IndexByte(badLong+".", b) >= 0
}

func foldASCII(s string) string {
	return string(bytes.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, []byte(s)))
}

// label takes an entry that is a volume's label, of which there may be one, in
// the root directory.
func (n *names) label(e *entry) {
	switch label := [labelSize]byte(e.short()); {
	case n.d.parent != nil:
		n.c.found(CodeLabel, join(n.d.path, e.name), "a volume's label below the root directory")
	case n.c.label != nil:
		n.c.found(CodeLabel, "", "the root directory has a second label, %q", trimLabel(string(label[:])))
	case !n.ended:
		if label[0] == 0x05 {
			label[0] = 0xe5
		}
		n.c.label = &label
	}
}

// longParts checks that the parts of a long name follow each other as they
// should: the last part, which is marked, comes first, then the one before it, down to 1.
type longParts struct {
	expected int // number of the part that must come next; 0: all have come
	sum      byte
}

// noName is what longParts expects when no long name is under way.
const noName = -1

// add takes a part, and says what is wrong with it.
func (l *longParts) add(s []byte) (problem string) {
	number := int(s[0] & 0x1f)
	switch marked := s[0]&lastLong != 0 && number != 0; {
	case marked:
		if l.expected != noName {
			problem = "a long name begins within another"
		}
		l.expected, l.sum = number, s[13]
	case l.expected == noName:
		return fmt.Sprintf("part %d of a long name stands alone", number)
	case number != l.expected:
		problem = fmt.Sprintf("part %d of a long name stands where part %d should", number, l.expected)
		l.expected = noName
		return problem
	}
	l.expected--
	switch {
	case s[13] != l.sum:
		return "the parts of a long name have different checksums"
	case number*unitsPerSlot > maxName+unitsPerSlot:
		return fmt.Sprintf("a long name has %d parts", number)
	case s[12] != 0 || binary.LittleEndian.Uint16(s[26:]) != 0:
		return "a part of a long name has a type or a cluster"
	}
	return problem
}

// end takes the entry's short name that follows, and says what is wrong.
func (l *longParts) end(short shortName) (problem string) {
	switch {
	case l.expected > 0:
		problem = fmt.Sprintf("%d parts of the long name are missing", l.expected)
	case l.expected == 0 && l.sum != short.checksum():
		problem = "the long name's checksum is not that of the short name"
	}
	l.expected = noName
	return problem
}
