package fat

import (
	"encoding/binary"
	"fmt"

	"github.com/diskfs/go-diskfs/filesystem/fat12"
)

const (
	bootSize   = 512      // of the boot sector, as far as it is looked at
	maxFATSize = 64 << 20 // bytes; 16 million clusters
)

// The boundaries between the kinds of FAT, in clusters.
const (
	minFAT16 = 4085
	minFAT32 = 65525
)

// layout says where everything is, in bytes from the start of the file system.
type layout struct {
	bits      int // of an entry of the FAT: 12, 16 or 32
	sector    int64
	cluster   int64
	fats      int
	fat       int64 // the first FAT; the others follow
	fatSize   int64
	rootDir   int64  // FAT12, FAT16: the root directory
	rootSlots int    // FAT12, FAT16: how many slots it has
	root      uint32 // FAT32: the root directory's first cluster
	data      int64  // cluster 2
	last      uint32 // the highest cluster
	fsInfo    int64  // FAT32: 0 if there is none
	backup    int64  // FAT32: the copy of the boot sector, 0 if there is none
}

// offset returns where a cluster is.
func (l *layout) offset(cluster uint32) int64 {
	return l.data + int64(cluster-2)*l.cluster
}

// Where the fields of the boot sector are that differ between FAT32 and the others.
func (l *layout) field(fat16, fat32 int) int {
	if l.bits == 32 {
		return fat32
	}
	return fat16
}

func (l *layout) stateField() int     { return l.field(37, 65) } // bit 0: not unmounted
func (l *layout) signatureField() int { return l.field(38, 66) } // 0x28, 0x29: the next is there; 0x29: a label, too
func (l *layout) idField() int        { return l.field(39, 67) }
func (l *layout) labelField() int     { return l.field(43, 71) }

// checkSize refuses file allocation tables that would take too much memory.
func (l *layout) checkSize() error {
	if l.fatSize > maxFATSize {
		return &UnsupportedError{Feature: fmt.Sprintf("file allocation tables of %d MiB", l.fatSize>>20)}
	}
	return nil
}

// Probe returns "fat12", "fat16" or "fat32" if boot, the first 512 bytes of a partition,
// looks like the boot sector of such a file system, and else "".
func Probe(boot []byte) string {
	if len(boot) < bootSize {
		return ""
	}
	l, err := parseBoot(boot, 1<<62)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("fat%d", l.bits)
}

// parseBoot reads the layout from the boot sector of a file system that has size
// bytes of room, and refuses what does not fit together.
func parseBoot(boot []byte, size int64) (*layout, error) {
	const place = "boot sector"
	bad := func(format string, args ...any) error { return corrupt(place, format, args...) }
	if boot[510] != 0x55 || boot[511] != 0xaa {
		return nil, bad("it doesn't end in 55 aa, but in %02x %02x", boot[510], boot[511])
	}
	bpb, err := fat12.Dos331BPBFromBytes(boot[11:36])
	if err != nil {
		return nil, bad("%v", err)
	}
	b := bpb.Dos20BPB
	l := &layout{
		sector:    int64(b.BytesPerSector),
		cluster:   int64(b.BytesPerSector) * int64(b.SectorsPerCluster),
		fats:      int(b.FatCount),
		fat:       int64(b.ReservedSectors) * int64(b.BytesPerSector),
		fatSize:   int64(b.SectorsPerFat) * int64(b.BytesPerSector),
		rootSlots: int(b.RootDirectoryEntries),
		bits:      16,
	}
	total := int64(b.TotalSectors)
	if total == 0 {
		total = int64(bpb.TotalSectors32)
	}
	switch n := b.SectorsPerCluster; {
	case l.sector > 4096:
		return nil, bad("sectors of %d bytes", l.sector)
	case n == 0 || n&(n-1) != 0:
		return nil, bad("%d sectors per cluster", n)
	case b.ReservedSectors == 0:
		return nil, bad("no reserved sectors")
	case l.fats == 0:
		return nil, bad("no file allocation table")
	case l.fats > 2:
		return nil, &UnsupportedError{Feature: fmt.Sprintf("%d file allocation tables", l.fats)}
	case b.MediaType != 0xf0 && b.MediaType < 0xf8:
		return nil, bad("media byte %02x", b.MediaType)
	case total*l.sector > size:
		return nil, bad("the file system has %d bytes, but there is room for %d only: the image is truncated", total*l.sector, size)
	}
	if l.fatSize == 0 {
		if err := l.parseFAT32(boot); err != nil {
			return nil, err
		}
	}
	l.rootDir = l.fat + int64(l.fats)*l.fatSize
	l.data = l.rootDir + (int64(l.rootSlots)*slotSize+l.sector-1)/l.sector*l.sector
	clusters := (total*l.sector - l.data) / l.cluster
	if l.bits == 16 && clusters < minFAT16 {
		l.bits = 12
	}
	switch {
	case clusters < 1:
		return nil, bad("no room for files: %d sectors in all", total)
	case l.bits == 16 && clusters >= minFAT32:
		return nil, bad("%d clusters are too many for FAT16", clusters)
	case l.bits != 32 && l.rootSlots == 0:
		return nil, bad("no room for the root directory")
	case clusters >= 0x0ffffff5:
		return nil, bad("%d clusters are too many for FAT32", clusters)
	case ((clusters+2)*int64(l.bits)+7)/8 > l.fatSize:
		return nil, bad("%d clusters, but the file allocation table has %d bytes", clusters, l.fatSize)
	}
	l.last = uint32(clusters + 1)
	if l.bits == 32 && (l.root < 2 || l.root > l.last) {
		return nil, bad("the root directory is in cluster %d, which is none of 2 to %d", l.root, l.last)
	}
	return l, nil
}

// parseFAT32 reads what only a FAT32 file system has.
func (l *layout) parseFAT32(boot []byte) error {
	le := binary.LittleEndian
	l.bits = 32
	l.fatSize = int64(le.Uint32(boot[36:])) * l.sector
	flags, version := le.Uint16(boot[40:]), le.Uint16(boot[42:])
	l.root = le.Uint32(boot[44:])
	switch {
	case l.fatSize == 0:
		return corrupt("boot sector", "a file allocation table of no sectors")
	case l.rootSlots != 0:
		return corrupt("boot sector", "a root directory of %d entries in a FAT32 file system", l.rootSlots)
	case version != 0:
		return &UnsupportedError{Feature: fmt.Sprintf("FAT32 version %d.%d", version>>8, version&0xff)}
	case flags&0x80 != 0:
		return &UnsupportedError{Feature: "file allocation tables that do not mirror each other"}
	}
	inReserved := func(field int) int64 {
		sector := int64(le.Uint16(boot[field:]))
		if off := sector * l.sector; off > 0 && off < l.fat {
			return off
		}
		return 0 // 0 and 0xffff mean that there is none
	}
	l.fsInfo, l.backup = inReserved(48), inReserved(50)
	return nil
}
