package fat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// checkBoot checks what of the boot sector [parseBoot] has no use for, and its copy.
func (c *checker) checkBoot() error {
	l := c.layout
	c.report.Type = fmt.Sprintf("FAT%d", l.bits)
	c.report.ClusterSize, c.report.Clusters = l.cluster, int64(l.last)-1
	if perSector := bootSize / slotSize; l.rootSlots%perSector != 0 {
		c.found(CodeBootSector, "", "a root directory of %d entries, which is no multiple of %d", l.rootSlots, perSector)
	}
	if l.bits != 32 {
		return nil
	}
	switch sector := binary.LittleEndian.Uint16(c.boot[50:]); {
	case l.backup == 0 && sector != 0 && sector != 0xffff:
		c.found(CodeBackup, "", "it should be in sector %d, which is not in the reserved area", sector)
	case l.backup != 0:
		b := make([]byte, bootSize)
		if err := c.read(b, l.backup); err != nil {
			return err
		}
		if n, first := differences(c.boot, b); n > 0 {
			c.found(CodeBackup, "", "the boot sector and its copy in sector %d differ in %d bytes, the first is byte %d", sector, n, first)
		}
	}
	return nil
}

// differences returns how many bytes differ, and which is the first.
func differences(a, b []byte) (n, first int) {
	for i := range a {
		if a[i] == b[i] {
			continue
		}
		if n == 0 {
			first = i
		}
		n++
	}
	return n, first
}

// checkTable reads the FAT, compares its copies, and chooses the one to go by:
// the first, if it begins as it should or if neither does.
func (c *checker) checkTable() error {
	l := c.layout
	raw := make([]byte, ((int64(l.last)+1)*int64(l.bits)+7)/8)
	if err := c.read(raw, l.fat); err != nil {
		return err
	}
	first := newTable(l, raw)
	c.table = first
	if l.fats == 2 {
		if err := c.compareTables(raw); err != nil {
			return err
		}
	}
	if !c.table.intact() {
		c.found(CodeMedia, "", "entry 0 of the FAT is %#x, and should be %#x", c.table.FATID(), c.table.EOCMarker()&^0xff|uint32(c.boot[21]))
	}
	notClean := c.table.cleanBit() &^ c.table.ClusterValue(1)
	if c.boot[l.stateField()]&1 != 0 || notClean != 0 {
		c.found(CodeDirty, "", "the file system was not unmounted when it was last used")
	}
	c.used = make(bitset, l.last/64+1)
	return nil
}

// intact reports whether a FAT begins as it should: with the media byte, of which
// all that are in use have the upper four bits set, and ones above it.
func (t *table) intact() bool { return t.FATID()|0xf == t.EOCMarker() }

// compareTables compares the first FAT, raw, with the second, and takes the
// second one if only that begins as it should.
func (c *checker) compareTables(raw []byte) error {
	l := c.layout
	var different, first int64
	other := make([]byte, 1<<16)
	for off := int64(0); off < int64(len(raw)); off += int64(len(other)) {
		other = other[:min(int64(len(other)), int64(len(raw))-off)]
		if err := c.read(other, l.fat+l.fatSize+off); err != nil {
			return err
		}
		if mine := raw[off:][:len(other)]; !bytes.Equal(mine, other) {
			n, at := differences(mine, other)
			if different == 0 {
				first = off + int64(at)
			}
			different += int64(n)
		}
	}
	if different == 0 {
		return nil
	}
	c.found(CodeCopies, "", "the two copies of the FAT differ in %d bytes, first at the entry of cluster %d", different, first*8/int64(l.bits))
	if c.table.intact() {
		return nil
	}
	second := make([]byte, len(raw))
	if err := c.read(second, l.fat+l.fatSize); err != nil {
		return err
	}
	if t := newTable(l, second); t.intact() {
		c.table = t
	}
	return nil
}

// checkUse looks for clusters that belong to nothing.
func (c *checker) checkUse() {
	var lost, first uint32
	for n := uint32(2); n <= c.layout.last; n++ {
		if v := c.table.ClusterValue(n); v == 0 || v == c.table.bad() || c.used.has(n) {
			continue
		}
		if lost == 0 {
			first = n
		}
		lost++
	}
	c.report.FreeClusters = int64(c.table.free)
	if lost > 0 {
		c.find(Finding{Code: CodeLost, Cluster: first}, "%d clusters (%d bytes) are in use, but belong to no file; this is the first", lost, int64(lost)*c.layout.cluster)
	}
}

// checkFSInfo checks where FSInfo is, its signatures and its count of free clusters.
func (c *checker) checkFSInfo() error {
	le := binary.LittleEndian
	if c.layout.bits != 32 {
		return nil
	}
	sector := le.Uint16(c.boot[48:])
	if c.layout.fsInfo == 0 {
		if sector != 0 {
			c.found(CodeFSInfo, "", "it should be in sector %d, which is not in the reserved area", sector)
		}
		return nil
	}
	b := make([]byte, bootSize)
	if err := c.read(b, c.layout.fsInfo); err != nil {
		return err
	}
	if le.Uint32(b) != infoSignature1 || le.Uint32(b[484:]) != infoSignature2 || le.Uint32(b[508:]) != 0xaa550000 {
		c.found(CodeFSInfo, "", "sector %d should hold it, and lacks its signatures", sector)
		return nil
	}
	// All ones mean that the count is not known.
	if free := le.Uint32(b[infoFree:]); free != 0xffffffff && free != c.table.free {
		c.found(CodeFSInfo, "", "it counts %d free clusters, and the FAT has %d", free, c.table.free)
	}
	return nil
}

// checkLabel compares the volume's label in the root directory, which the walk
// has found, with that of the boot sector.
func (c *checker) checkLabel() {
	if c.label != nil {
		c.report.Label = trimLabel(string(c.label[:]))
	}
	inBoot := ""
	hasField := c.boot[c.layout.signatureField()] == 0x29
	if at := c.layout.labelField(); hasField {
		inBoot = string(c.boot[at : at+labelSize])
	}
	switch {
	case c.label == nil && hasField && inBoot != noLabel:
		c.found(CodeLabel, "", "the boot sector has the label %q, and the root directory none", trimLabel(inBoot))
	case c.label == nil:
	case !validLabel(*c.label):
		c.found(CodeLabel, "", "the label %q in the root directory is not valid", trimLabel(string(c.label[:])))
	case !hasField:
		c.found(CodeLabel, "", "the root directory has the label %q, and the boot sector no room for one", trimLabel(string(c.label[:])))
	case string(c.label[:]) != inBoot:
		c.found(CodeLabel, "", "the root directory has the label %q, and the boot sector %q", trimLabel(string(c.label[:])), trimLabel(inBoot))
	}
}

func trimLabel(s string) string { return strings.TrimRight(s, " \x00") }

// validLabel reports whether a label holds only what it may, lower case included.
func validLabel(label [labelSize]byte) bool {
	if label[0] == ' ' {
		return false
	}
	for _, b := range label {
		if b < ' ' || strings.IndexByte(badLong+"+,.;=[]", b) >= 0 {
			return false
		}
	}
	return true
}
