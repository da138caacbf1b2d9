package disk

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// EachFree calls fn for every run of bytes of the image that belongs neither to a
// partition nor to the partition table, in order. What a GPT does not name usable
// belongs to it, since its checksums cover entries that are zero, too.
func (d *Disk) EachFree(fn func(off, n int64)) error {
	from, end := int64(sectorSize), d.size
	if d.Table == "gpt" {
		header := make([]byte, gptHeaderSize)
		if _, err := d.storage.ReadAt(header, d.sector); err != nil {
			return fmt.Errorf("failed to read the partition table: %w", err)
		}
		first, last := binary.LittleEndian.Uint64(header[40:]), binary.LittleEndian.Uint64(header[48:])
		sectors := uint64(d.size / d.sector)
		if first > last || last >= sectors {
			return fmt.Errorf("the GPT names the sectors %d to %d of %d usable", first, last, sectors)
		}
		from, end = int64(first)*d.sector, int64(last+1)*d.sector
	}
	sorted := slices.SortedFunc(slices.Values(d.Partitions), func(a, b Partition) int { return cmp.Compare(a.Start, b.Start) })
	for _, p := range sorted {
		if stop := min(p.Start, end); stop > from {
			fn(from, stop-from)
		}
		from = max(from, p.Start+p.Size)
	}
	if from < end {
		fn(from, end-from)
	}
	return nil
}
