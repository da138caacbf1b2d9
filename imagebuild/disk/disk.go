// Package disk reads the partition table of an image and finds, by what they hold,
// the partition that a Raspberry Pi boots from and the one with the root file system.
// It makes the last partition larger, and changes nothing else.
//
// The tables, MBR and GPT, are read and written by go-diskfs. This package decides which of
// them counts, as Linux does: a GPT only where the MBR announces one, which
// go-diskfs does not ask. It checks what go-diskfs takes on trust, since an image
// may have been cut off or tampered with: the size of the GPT's array of entries,
// and that every partition lies within the image and apart from the others.
//
// Formats: the UEFI Specification, section 5, and, for PARTUUIDs, libblkid.
package disk

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/diskfs/go-diskfs/partition/mbr"
	"github.com/diskfs/go-diskfs/partition/part"

	"github.com/piimg/piimg/imagebuild/fat"
)

// Disk is the partition table of an image.
type Disk struct {
	Table string // "mbr" or "gpt"
	// ID is the disk's signature, 8 hex digits, or its GUID, both in lower case.
	ID string
	// Partitions are those in use, by index. Of an extended partition the
	// logical ones are not among them.
	Partitions []Partition

	storage backend.Storage
	size    int64 // of the image, in bytes
	sector  int64 // that the table counts in, in bytes
}

// Partition is a partition of an image.
type Partition struct {
	Index       int   // from 1
	Start, Size int64 // bytes
	// Type is two hex digits in an MBR and a GUID in a GPT, in lower case.
	Type string
	// PARTUUID is what Linux and /etc/fstab call the partition, in lower case.
	PARTUUID string
	Label    string // of the partition, in a GPT
	// Content is what the partition holds by its first bytes: "fat12", "fat16",
	// "fat32", "ext4" (or its forerunners ext2 and ext3), or "" for all else.
	Content string
}

// Types of MBR entries.
const (
	typeEmpty      = 0x00
	typeProtective = 0xee // there is a GPT
)

// Open reads the partition table of an image of size bytes.
func Open(b backend.Storage, size int64) (*Disk, error) {
	if size < sectorSize {
		return nil, &NoTableError{Found: fmt.Sprintf("%d bytes, less than a sector", size)}
	}
	f := file{io.NewSectionReader(b, 0, size)}
	first := make([]byte, sectorSize)
	if _, err := f.ReadAt(first, 0); err != nil {
		return nil, fmt.Errorf("failed to read the partition table: %w", err)
	}
	d := &Disk{storage: b, size: size, sector: sectorSize}
	var err error
	if announcesGPT(first) {
		err = d.readGPT(f, size)
	} else {
		err = d.readMBR(f, size, first)
	}
	if err != nil {
		return nil, err
	}
	if err := d.check(size); err != nil {
		return nil, err
	}
	for i := range d.Partitions {
		if d.Partitions[i].Content, err = probe(f, d.Partitions[i]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// sectorSize is the size of the sector that holds the MBR, in bytes.
const sectorSize = 512

// announcesGPT reports whether the MBR says that the table is a GPT, alone or beside
// partitions of its own (a hybrid MBR).
func announcesGPT(first []byte) bool {
	if first[510] != 0x55 || first[511] != 0xaa {
		return false
	}
	for i := range 4 {
		if first[446+i*16+4] == typeProtective {
			return true
		}
	}
	return false
}

func (d *Disk) readMBR(f file, size int64, first []byte) error {
	t, err := mbr.Read(f, sectorSize, sectorSize)
	if err != nil {
		return &NoTableError{Found: describe(f, size, first)}
	}
	d.Table, d.ID = "mbr", t.UUID()
	for _, p := range t.Partitions {
		if p.Type == typeEmpty || p.Size == 0 {
			continue
		}
		d.add(p, fmt.Sprintf("%02x", byte(p.Type)))
	}
	if len(d.Partitions) == 0 || fat.Probe(first) != "" && d.check(size) != nil {
		// A file system without a partition table may end its first sector as an MBR does.
		return &NoTableError{Found: describe(f, size, first)}
	}
	return nil
}

// The GPT: how much of its header the checksum covers, in bytes, the size of an
// entry that go-diskfs reads, and the most entries that are sensible.
const (
	gptHeaderSize = 92
	gptEntrySize  = 128
	maxGPTEntries = 1024
)

func (d *Disk) readGPT(f file, size int64) error {
	block, err := gptBlockSize(f, size)
	if err != nil {
		return err
	}
	t, err := gpt.Read(f, int(block), int(block))
	switch {
	case err != nil:
		return fmt.Errorf("the partition table is a GPT, and damaged: %w", err)
	case t.RecoveredFromBackup:
		return fmt.Errorf("the partition table is a GPT of which only the copy at the end of the image is sound; " +
			"Linux would not find its partitions: repair it with sgdisk --load-backup or gdisk")
	}
	d.Table, d.ID, d.sector = "gpt", strings.ToLower(t.UUID()), block
	last := uint64(size / block)
	for _, p := range t.Partitions {
		if p.End < p.Start || p.Start == 0 {
			return fmt.Errorf("partition %d of the GPT goes from sector %d to sector %d", p.Index, p.Start, p.End)
		}
		if p.End >= last {
			// In sectors, since in bytes they may not fit an int64.
			return &TruncatedError{Index: p.Index, Missing: fmt.Sprintf("to sector %d of %d bytes", p.End, block), Size: size}
		}
		d.add(p, strings.ToLower(string(p.Type)))
	}
	return nil
}

// gptBlockSize returns the size of the sectors that a GPT counts in, and checks
// in both of its headers what go-diskfs goes by before it looks at checksums.
func gptBlockSize(f file, size int64) (int64, error) {
	header := make([]byte, gptHeaderSize)
	isHeader := func(off int64) bool {
		if off < sectorSize || off > size-int64(len(header)) {
			return false
		}
		_, err := f.ReadAt(header, off)
		return err == nil && string(header[:8]) == "EFI PART"
	}
	block := int64(sectorSize)
	if !isHeader(sectorSize) && isHeader(4096) {
		block = 4096
	}
	if size < 2*block {
		return 0, fmt.Errorf("the MBR announces a GPT, but the image has %d bytes: it is truncated", size)
	}
	found := false
	for _, off := range []int64{block, (size/block - 1) * block} {
		if !isHeader(off) {
			continue
		}
		found = true
		count, entry := binary.LittleEndian.Uint32(header[80:]), binary.LittleEndian.Uint32(header[84:])
		if count > maxGPTEntries || entry != gptEntrySize {
			return 0, fmt.Errorf("the GPT at offset %d has %d entries of %d bytes: not supported (up to %d of %d bytes are)",
				off, count, entry, maxGPTEntries, gptEntrySize)
		}
	}
	if !found {
		return 0, fmt.Errorf("the MBR announces a GPT, but there is none at sector 1")
	}
	return block, nil
}

func (d *Disk) add(p part.Partition, kind string) {
	d.Partitions = append(d.Partitions, Partition{
		Index:    p.GetIndex(),
		Start:    p.GetStart(),
		Size:     p.GetSize(),
		Type:     kind,
		PARTUUID: strings.ToLower(p.UUID()),
		Label:    p.Label(),
	})
}

// check sees to it that all partitions are within the image, and no two overlap.
func (d *Disk) check(size int64) error {
	sorted := slices.SortedFunc(slices.Values(d.Partitions), func(a, b Partition) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), a.Index-b.Index)
	})
	for i, p := range sorted {
		switch end := p.Start + p.Size; {
		case p.Start < sectorSize:
			return fmt.Errorf("partition %d begins at byte %d, where the partition table is", p.Index, p.Start)
		case end > size:
			return &TruncatedError{Index: p.Index, Missing: fmt.Sprintf("from byte %d to byte %d", p.Start, end), Size: size}
		}
		if i > 0 {
			if q := sorted[i-1]; q.Start+q.Size > p.Start {
				return fmt.Errorf("partitions %d and %d overlap: one ends at byte %d, the other begins at byte %d",
					q.Index, p.Index, q.Start+q.Size, p.Start)
			}
		}
	}
	return nil
}

// file is the image as go-diskfs wants it.
type file struct{ *io.SectionReader }

func (file) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }
func (file) Close() error               { return nil }
