package ext4

// EachFree calls fn for every run of blocks that nothing in the file system uses, in
// order and as long as can be: off and n are bytes, and off counts from the start of
// the file system. It reads nothing but the block bitmaps. What they say is worth
// nothing while a journal is to be replayed: see [Info].
func (f *FS) EachFree(fn func(off, n int64)) error {
	return f.view("freemap", ".", func() error {
		var from, to uint64 // of the run that may go on, in blocks
		emit := func() {
			if from < to {
				size := uint64(f.sb.blockSize)
				fn(int64(from*size), int64((to-from)*size))
			}
		}
		for num := range f.sb.groups {
			g, err := f.group(num)
			if err != nil {
				return err
			}
			bits, err := g.blockBits()
			if err != nil {
				return err
			}
			start, blocks := f.sb.groupStart(num), f.sb.groupBlocks(num)
			for at := uint32(0); at < blocks; {
				first, n, ok := freeRun(bits, at, blocks, 1, blocks)
				if !ok {
					break
				}
				if start+uint64(first) != to {
					emit()
					from = start + uint64(first)
				}
				to = start + uint64(first+n)
				at = first + n
			}
			if num%1024 == 1023 {
				if err := f.trim(); err != nil {
					return err
				}
			}
		}
		emit()
		return nil
	})
}
