package ext4

import (
	"encoding/binary"
	"fmt"
)

// SetLabel sets the file system's label, at most 16 bytes, in the superblock
// and in its copies, as tune2fs -L does.
func (f *FS) SetLabel(label string) error {
	if len(label) > sbLabelLen {
		return fmt.Errorf("label %q: longer than %d bytes", label, sbLabelLen)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.update(func() error {
		return f.editSupers(func(d []byte) {
			clear(d[sbLabel : sbLabel+sbLabelLen])
			copy(d[sbLabel:], label)
		})
	})
	if err != nil {
		return fmt.Errorf("set the label of the ext4 file system: %w", err)
	}
	return nil
}

// SetUUID gives the file system another UUID, in the superblock and in its
// copies, as tune2fs -U does.
//
// With metadata_csum, every checksum starts from the UUID, unless the file
// system has metadata_csum_seed. So as not to rewrite all of its metadata, one
// that has not gets that feature, and goes on with the checksums of its old
// UUID. Linux knows the feature since 4.4, e2fsprogs since 1.43; what is older
// cannot read the file system any more. (GRUB cannot up to 2.06.) With uninit_bg
// the checksums of the group descriptors are made anew, those of their copies too.
//
// The UUID of an internal journal is its own, and stays. A file system with
// stable_inodes, whose files are encrypted by its UUID, and one with ea_inode
// but without metadata_csum are refused.
func (f *FS) SetUUID(uuid [16]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.update(func() error { return f.setUUID(uuid) }); err != nil {
		return fmt.Errorf("set the UUID of the ext4 file system: %w", err)
	}
	return nil
}

func (f *FS) setUUID(uuid [16]byte) error {
	old, sb := f.sb, *f.sb
	seeded := sb.hasIncompat(incompatCsumSeed)
	switch {
	case sb.hasCompat(compatStableInodes):
		return &UnsupportedError{Features: []string{"stable_inodes"}, Writing: true}
	case sb.hasIncompat(incompatEAInode) && !sb.metadataCsum() && !seeded:
		return &UnsupportedError{Features: []string{"ea_inode but not metadata_csum"}, Writing: true}
	}
	sb.uuid = uuid
	if sb.metadataCsum() {
		sb.incompat |= incompatCsumSeed
	} else if !seeded {
		sb.csumSeed = crc32c(^uint32(0), uuid[:])
	}
	f.reshape(&sb)
	err := f.editSupers(func(d []byte) {
		copy(d[sbUUID:], uuid[:])
		if sb.metadataCsum() && !seeded {
			le := binary.LittleEndian
			le.PutUint32(d[sbIncompat:], le.Uint32(d[sbIncompat:])|incompatCsumSeed)
			le.PutUint32(d[sbCsumSeed:], sb.csumSeed)
		}
	})
	if err != nil || sb.metadataCsum() || !sb.hasROCompat(roCompatGDTCsum) {
		return err
	}
	for n := range sb.groups {
		f.tx.descs[n] = struct{}{} // sealed at the operation's end
	}
	return f.resealBackupDescs(old)
}

// editSupers changes the superblock and those of its copies that are whole and
// belong to it. What is damaged, or from another file system, is left as it is.
func (f *FS) editSupers(fn func(d []byte)) error {
	p, err := f.editSuper() // whose checksum is made right at the operation's end
	if err != nil {
		return err
	}
	var uuid [16]byte
	copy(uuid[:], p[sbUUID:])
	fn(p)
	for _, g := range f.sb.backups() {
		b, err := f.block(f.sb.groupStart(g))
		if err != nil {
			return err
		}
		d := b.data[:superblockSize]
		le := binary.LittleEndian
		if le.Uint16(d[sbMagic:]) != superMagic || [16]byte(d[sbUUID:]) != uuid ||
			f.sb.metadataCsum() && le.Uint32(d[sbChecksum:]) != superChecksum(d) {
			continue
		}
		f.edit(b)
		fn(d)
		f.sb.sealSuper(d)
	}
	return nil
}

// resealBackupDescs makes the checksums right of the copies of the group
// descriptors, as far as they were right by the old superblock.
func (f *FS) resealBackupDescs(old *superblock) error {
	size := f.sb.descSize
	per, groups := f.sb.descsPerBlock(), f.sb.backups()
	for i := range f.sb.descBlocks() {
		for _, blk := range f.sb.descBackups(i, groups) {
			b, err := f.block(blk)
			if err != nil {
				return err
			}
			le := binary.LittleEndian
			for g := i * per; g < min((i+1)*per, f.sb.groups); g++ {
				off := int(g%per) * size
				d := b.data[off : off+size]
				if le.Uint16(d[gdChecksum:]) == old.descChecksum(g, d) {
					le.PutUint16(f.edit(b)[off+gdChecksum:], f.sb.descChecksum(g, d))
				}
			}
		}
	}
	return nil
}

// descBackups are the blocks that hold copies of the i-th block of group
// descriptors; groups are those of [superblock.backups].
func (sb *superblock) descBackups(i uint32, groups []uint32) []uint64 {
	var out []uint64
	per := sb.descsPerBlock()
	if meta := sb.hasIncompat(incompatMetaBG); !meta || i < sb.firstMetaBG {
		for _, g := range groups {
			if !meta || g/per < sb.firstMetaBG {
				out = append(out, sb.groupStart(g)+1+uint64(i))
			}
		}
		return out
	}
	for _, r := range []uint32{1, per - 1} {
		if g := i*per + r; r > 0 && r < per && g < sb.groups {
			blk := sb.groupStart(g)
			if sb.hasSuper(g) {
				blk++
			}
			out = append(out, blk)
		}
	}
	return out
}
