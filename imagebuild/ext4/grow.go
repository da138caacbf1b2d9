package ext4

import (
	"encoding/binary"
	"fmt"
	"maps"
)

// Grow makes the file system larger: size bytes, rounded down to whole blocks.
// That must not be more than [Open] was told that there are; whoever enlarges a
// partition does so first, and opens the file system with the new size. Asked
// for the size that it has, Grow does nothing; a last group that would be too
// small to be of use is left out. The storage must reach as far.
//
// New groups come about as mke2fs and the kernel's resizer make them. If Grow
// fails, the file system is as it was; only blocks past its end may have been
// written to. The superblock is the last to be written back: if that is cut off
// midway, e2fsck restores the old size.
func (f *FS) Grow(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.update(func() error { return f.grow(size) }); err != nil {
		return fmt.Errorf("grow ext4 file system at byte %d to %d bytes: %w", f.start, size, err)
	}
	return nil
}

func (f *FS) grow(size int64) error {
	if size > f.size {
		return fmt.Errorf("there are only %d bytes for it", f.size)
	}
	old := f.sb
	sb, err := old.grown(uint64(max(size, 0)) / uint64(old.blockSize))
	if err != nil || sb.blocks == old.blocks {
		return err
	}
	if err := f.readStorage(make([]byte, 1), int64(sb.bytes(sb.blocks))-1); err != nil {
		return err
	}
	if err := f.prepare(sb); err != nil {
		return err
	}

	// A failure may have left something here, before.
	maps.DeleteFunc(f.cache, func(blk uint64, _ *buffer) bool { return blk >= old.blocks })
	f.reshape(sb)
	if err := f.growLastGroup(old); err != nil {
		return err
	}
	g := newGrower(f, old)
	if err := g.addGroups(); err != nil {
		return err
	}
	d, err := f.editSuper()
	if err != nil {
		return err
	}
	sb.putGrown(d, old)
	free := binary.LittleEndian.Uint32(d[sbFreeInodes:])
	binary.LittleEndian.PutUint32(d[sbFreeInodes:], free+sb.inodes-old.inodes)
	if err := f.sealGroups(); err != nil {
		return err
	}
	if err := g.writeBackups(); err != nil {
		return err
	}
	return f.checkGroups()
}

// growLastGroup adds the blocks to the last group that it was short of.
func (f *FS) growLastGroup(old *superblock) error {
	last := old.groups - 1
	if more := f.sb.groupBlocks(last) - old.groupBlocks(last); more > 0 {
		return f.mark(old.blocks, uint64(more), false)
	}
	return nil
}

// prepare does what is to be done while the file system still has its old size.
func (f *FS) prepare(sb *superblock) error {
	old := f.sb
	if err := f.growReserved(sb); err != nil {
		return err
	}
	for _, g := range old.backups() {
		if !sb.hasSuper(g) {
			if err := f.mark(old.groupStart(g), uint64(old.groupSuperBlocks(g)), false); err != nil {
				return err
			}
		}
	}
	last, err := f.group(old.groups - 1)
	if err != nil {
		return err
	}
	_, err = last.editBlockBits() // which may never have been written: it follows from the size
	return err
}
