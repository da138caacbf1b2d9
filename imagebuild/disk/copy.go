package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// CheckCopy compares the copy of a GPT at the end of the image with the table
// itself (UEFI Specification, section 5.3.2): it is what a damaged table is
// repaired from. An MBR has none, and nothing is wrong with that.
func (d *Disk) CheckCopy() error {
	if d.Table != "gpt" {
		return nil
	}
	le := binary.LittleEndian
	f := io.NewSectionReader(d.storage, 0, d.size)
	read := func(sector uint64, n int64) ([]byte, error) {
		if sector >= uint64(d.size/d.sector) {
			return nil, fmt.Errorf("the copy of the GPT reaches to sector %d, and the image has %d", sector, d.size/d.sector)
		}
		p := make([]byte, n)
		if _, err := f.ReadAt(p, int64(sector)*d.sector); err != nil {
			return nil, fmt.Errorf("failed to read the copy of the GPT: %w", err)
		}
		return p, nil
	}
	own, err := read(1, gptHeaderSize)
	if err != nil {
		return err
	}
	at, last := le.Uint64(own[32:]), uint64(d.size/d.sector)-1
	if at != last {
		return fmt.Errorf("the copy of the GPT is in sector %d, and not at the end of the image, in sector %d: sgdisk -e moves it", at, last)
	}
	header, err := read(at, gptHeaderSize)
	if err != nil {
		return err
	}
	sum := le.Uint32(header[16:])
	clear(header[16:20])
	switch {
	case string(header[:8]) != "EFI PART" || crc32.ChecksumIEEE(header) != sum:
		return fmt.Errorf("the copy of the GPT, in sector %d, is damaged: sgdisk -e makes it anew", at)
	case le.Uint64(header[24:]) != at || string(header[56:72]) != string(own[56:72]) || string(header[80:92]) != string(own[80:92]):
		return fmt.Errorf("the copy of the GPT, in sector %d, is that of another table: sgdisk -e makes it anew", at)
	}
	entries, err := read(le.Uint64(header[72:]), int64(le.Uint32(header[80:]))*gptEntrySize)
	if err != nil {
		return err
	}
	if crc32.ChecksumIEEE(entries) != le.Uint32(header[88:]) {
		return fmt.Errorf("the entries in the copy of the GPT are damaged: sgdisk -e makes it anew")
	}
	return nil
}
