package fat

import iofs "io/fs"

// EachFree calls fn for every run of clusters that nothing in the file system uses,
// in order and as long as can be: off and n are bytes, and off counts from the start
// of the file system. It reads nothing: the file allocation table is in memory.
func (fs *FS) EachFree(fn func(off, n int64)) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return pathError("freemap", ".", iofs.ErrClosed)
	}
	from := uint32(0) // of the run that may go on; 0 without one
	emit := func(end uint32) {
		if from > 0 {
			fn(fs.layout.offset(from), int64(end-from)*fs.layout.cluster)
		}
		from = 0
	}
	for c := uint32(2); c <= fs.layout.last; c++ {
		switch free := fs.table.ClusterValue(c) == 0; {
		case !free:
			emit(c)
		case from == 0:
			from = c
		}
	}
	emit(fs.layout.last + 1)
	return nil
}
