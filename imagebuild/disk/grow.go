package disk

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"unicode/utf16"

	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/diskfs/go-diskfs/partition/mbr"
)

// imageAlign is what the size of an enlarged image is a multiple of, in bytes.
const imageAlign = 1 << 20

// How many entries go-diskfs gives a GPT that it writes, and their size in bytes.
const (
	gptEntries   = 128
	gptArraySize = gptEntries * gptEntrySize
)

// GrownSize returns how large the image has to be, in bytes, for partition index
// to have size bytes: never less than it is. It fails where [Disk.Grow] would: if
// the partition would shrink, if another one lies behind it, or if the table
// cannot express it.
func (d *Disk) GrownSize(index int, size int64) (int64, error) {
	p, err := d.growable(index, size)
	if err != nil {
		return 0, err
	}
	end := p.Start + size
	if d.Table == "gpt" {
		end += gptArraySize + d.sector // the copy of the table at the end
	}
	return max(d.size, (end+imageAlign-1)/imageAlign*imageAlign), nil
}

// Grow gives partition index size bytes, in an image that has the room already
// ([Disk.GrownSize]). A GPT's copy moves to the end of the image. What the
// partition holds is not touched. The disk has to be opened anew afterwards.
func (d *Disk) Grow(index int, size int64) error {
	need, err := d.GrownSize(index, size)
	if err != nil {
		return err
	}
	if need > d.size {
		return fmt.Errorf("partition %d of %d bytes needs an image of %d bytes, and it has %d", index, size, need, d.size)
	}
	if d.Table == "gpt" {
		err = d.growGPT(index, size)
	} else {
		err = d.growMBR(index, size)
	}
	if err != nil {
		return fmt.Errorf("failed to make partition %d larger: %w", index, err)
	}
	return nil
}

// growable returns the partition, if it can be given size bytes.
func (d *Disk) growable(index int, size int64) (Partition, error) {
	var p Partition
	for _, q := range d.Partitions {
		if q.Index == index {
			p = q
		}
	}
	switch {
	case p.Index == 0:
		return p, fmt.Errorf("there is no partition %d", index)
	case size < p.Size:
		return p, fmt.Errorf("partition %d has %d bytes, and cannot be made smaller (%d)", index, p.Size, size)
	case size%d.sector != 0:
		return p, fmt.Errorf("%d bytes for partition %d are not a multiple of %d", size, index, d.sector)
	case size > math.MaxInt64-p.Start-2*imageAlign:
		return p, fmt.Errorf("%d bytes for partition %d are too many", size, index)
	}
	for _, q := range d.Partitions {
		if q.Start > p.Start {
			return p, fmt.Errorf("partition %d cannot be made larger: partition %d lies behind it", index, q.Index)
		}
	}
	if d.Table == "mbr" && (p.Start+size)/sectorSize > math.MaxUint32 {
		return p, fmt.Errorf("partition %d of %d bytes would reach past the 2 TiB of an MBR", index, size)
	}
	return p, nil
}

func (d *Disk) growMBR(index int, size int64) error {
	t, err := mbr.Read(file{io.NewSectionReader(d.storage, 0, d.size)}, sectorSize, sectorSize)
	if err != nil {
		return err
	}
	p := t.Partitions[index-1]
	p.Size = uint32(size / sectorSize)
	p.EndHead, p.EndSector, p.EndCylinder = chs(int64(p.Start) + int64(p.Size) - 1)
	w, err := d.storage.Writable()
	if err != nil {
		return err
	}
	return t.Write(w, d.size)
}

// chs is where a sector lies on a disk of 255 heads and 63 sectors a track, as
// an MBR stores it: the last cylinder that it can name stands for all behind it.
func chs(lba int64) (head, sector, cylinder byte) {
	c := lba / (255 * 63)
	if c > 1023 {
		return 254, 0xFF, 0xFF
	}
	return byte(lba / 63 % 255), byte(lba%63+1) | byte(c>>8<<6), byte(c)
}

// growGPT writes a new table, since go-diskfs keeps the copy of one that was
// read where it was. The old copy would lie inside the partition: it is wiped.
func (d *Disk) growGPT(index int, size int64) error {
	f := file{io.NewSectionReader(d.storage, 0, d.size)}
	old, err := gpt.Read(f, int(d.sector), int(d.sector))
	if err != nil {
		return err
	}
	copyAt, err := d.checkGPT(f)
	if err != nil {
		return err
	}
	for _, p := range old.Partitions {
		if len(utf16.Encode([]rune(p.Name))) > 36 {
			return fmt.Errorf("partition %d has a name of more than 36 UTF-16 units", p.Index)
		}
		if p.Index == index {
			p.Size, p.End = uint64(size), p.Start+uint64(size/d.sector)-1
		}
	}
	w, err := d.storage.Writable()
	if err != nil {
		return err
	}
	if _, err := w.WriteAt(make([]byte, gptArraySize+d.sector), copyAt-gptArraySize); err != nil {
		return err
	}
	t := gpt.Table{
		Partitions: old.Partitions, GUID: old.GUID, ProtectiveMBR: true,
		LogicalSectorSize: int(d.sector), PhysicalSectorSize: int(d.sector),
	}
	return t.Write(w, d.size)
}

// checkGPT makes sure that the table can be written by go-diskfs without losing
// anything, and returns where its copy is.
func (d *Disk) checkGPT(f file) (copyAt int64, err error) {
	sectors := make([]byte, 2*d.sector)
	if _, err := f.ReadAt(sectors, 0); err != nil {
		return 0, err
	}
	for i := range 4 {
		if kind := sectors[446+16*i+4]; kind != typeEmpty && kind != typeProtective {
			return 0, fmt.Errorf("the MBR beside the GPT has partitions of its own (a hybrid MBR): not supported")
		}
	}
	header, le := sectors[d.sector:], binary.LittleEndian
	first, array := int64(2+gptArraySize/d.sector), le.Uint64(header[72:])
	if n := le.Uint32(header[80:]); n != gptEntries || array != 2 {
		return 0, fmt.Errorf("the GPT has %d entries, from sector %d on: only %d from sector 2 on are supported", n, array, gptEntries)
	}
	at := le.Uint64(header[32:])
	if at >= uint64(d.size/d.sector) || int64(at) < first+gptArraySize/d.sector {
		return 0, fmt.Errorf("the GPT says that its copy is in sector %d, outside the image", at)
	}
	for _, p := range d.Partitions {
		if from := int64(at)*d.sector - gptArraySize; p.Start+p.Size > from && p.Start <= int64(at)*d.sector {
			return 0, fmt.Errorf("the copy of the GPT, in sector %d, lies inside partition %d", at, p.Index)
		}
	}
	return int64(at) * d.sector, nil
}
