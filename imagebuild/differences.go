package imagebuild

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/fat"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/source"
)

// The units in which differences between images are found: as small as inodes can be.
const (
	differenceUnit = 128
	// maxDifferences is how many of them are named; of the others only pages are counted.
	maxDifferences = 1 << 17
	// maxDifferenceLines is how many owners are told of, of each partition.
	maxDifferenceLines = 40
)

// differences compares two images.
type differences struct {
	now, before *layer.Layer
	buf         []byte
	offs        []int64 // of units that differ, in order
	more        int64   // pages that differ, beyond
}

// compare compares the next bytes of the earlier image.
func (d *differences) compare(c source.Chunk) error {
	if d.buf == nil {
		d.buf = make([]byte, 2<<20)
	}
	half := int64(len(d.buf) / 2)
	for off, end := c.Off, min(c.Off+c.Len, d.now.Size()); off < end; {
		n := min(end-off, half)
		now, before := d.buf[:n], d.buf[half:half+n]
		if _, err := d.now.ReadAt(now, off); err != nil {
			return err
		}
		if c.Data != nil {
			before = c.Data[off-c.Off:][:n]
		} else {
			clear(before)
		}
		d.pieces(off, now, before)
		off += n
	}
	return nil
}

func (d *differences) pieces(off int64, now, before []byte) {
	for at := 0; at < len(now); at += layer.PageSize {
		end := min(at+layer.PageSize, len(now))
		if bytes.Equal(now[at:end], before[at:end]) {
			continue
		}
		if len(d.offs) >= maxDifferences {
			d.more++
			continue
		}
		for u := at; u < end; u += differenceUnit {
			if v := min(u+differenceUnit, end); !bytes.Equal(now[u:v], before[u:v]) {
				d.offs = append(d.offs, off+int64(u))
			}
		}
	}
}

// lines says what differs: partition, file or structure, and where first.
func (d *differences) lines() (lines []string, err error) {
	if a, b := d.now.Size(), d.before.Size(); a != b {
		lines = append(lines, fmt.Sprintf("it has %d bytes, and had %d", a, b))
	}
	t, err := disk.Open(d.now, d.now.Size())
	if err != nil {
		return nil, err
	}
	left := d.offs
	cut := func(end int64) (part []int64) {
		i, _ := slices.BinarySearch(left, end)
		part, left = left[:i], left[i:]
		return part
	}
	parts := slices.SortedFunc(slices.Values(t.Partitions), func(a, b disk.Partition) int { return int(min(max(a.Start-b.Start, -1), 1)) })
	for _, p := range parts {
		lines = append(lines, tellOwners("outside of all partitions", cut(p.Start), nil)...)
		offs := cut(p.Start + p.Size)
		lines = append(lines, tellOwners(fmt.Sprintf("partition %d", p.Index), offs, d.owners(p, offs))...)
	}
	lines = append(lines, tellOwners("outside of all partitions", left, nil)...)
	if d.more > 0 {
		lines = append(lines, fmt.Sprintf("%d more pages of %d bytes differ", d.more, layer.PageSize))
	}
	return lines, nil
}

// owners says what the offsets, which are in a partition, are for: in the image as it
// is now, or if they are free there, in the earlier one.
func (d *differences) owners(p disk.Partition, offs []int64) []string {
	within := make([]int64, len(offs))
	for i, off := range offs {
		within[i] = off - p.Start
	}
	now := ownersIn(d.now, p, within)
	for i, w := range now {
		if w == "free space" {
			if before := ownersIn(d.before, p, within); before != nil {
				for ; i < len(now); i++ {
					if now[i] == w && before[i] != w {
						now[i] = before[i] + " (of the earlier image)"
					}
				}
			}
			break
		}
	}
	return now
}

// ownersIn is nil if the partition holds no file system that can be read.
func ownersIn(l *layer.Layer, p disk.Partition, offs []int64) []string {
	if len(offs) == 0 {
		return nil
	}
	switch p.Content {
	case "ext4":
		if f, err := ext4.Open(l, p.Start, p.Size, ext4.Options{ReadOnly: true}); err == nil {
			defer f.Close()
			if what, err := f.Owners(offs); err == nil {
				return what
			}
		}
	case "fat16", "fat32":
		if f, err := fat.Open(l, p.Start, p.Size, fat.Options{ReadOnly: true}); err == nil {
			defer f.Close()
			if what, err := f.Owners(offs); err == nil {
				return what
			}
		}
	}
	return nil
}

// tellOwners makes a line for each owner of offsets, in the order of the first.
func tellOwners(where string, offs []int64, owners []string) (lines []string) {
	if len(offs) == 0 {
		return nil
	}
	if owners == nil {
		return []string{fmt.Sprintf("%s: from byte %d of the image on", where, offs[0])}
	}
	told, more := map[string]bool{}, 0
	for i, owner := range owners {
		switch {
		case told[owner]:
			continue
		case len(lines) < maxDifferenceLines:
			lines = append(lines, fmt.Sprintf("%s: %s (byte %d of the image)", where, owner, offs[i]))
		default:
			more++
		}
		told[owner] = true
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("%s: %d more files and structures", where, more))
	}
	return lines
}
