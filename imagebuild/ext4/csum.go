package ext4

import (
	"encoding/binary"
	"hash/crc32"
)

// crc32c continues the CRC-32C of ext4's metadata_csum, which neither inverts
// its seed nor its result.
func crc32c(seed uint32, p []byte) uint32 {
	return ^crc32.Update(^seed, crc32.MakeTable(crc32.Castagnoli), p)
}

func crc32cU32(seed, v uint32) uint32 {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	return crc32c(seed, b[:])
}

// crc16 continues the CRC-16 (polynomial 0x8005, reflected) of gdt_csum.
func crc16(crc uint16, p []byte) uint16 {
	for _, b := range p {
		crc ^= uint16(b)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xA001
			} else {
				crc >>= 1
			}
		}
	}
	return crc
}

// superChecksum computes the checksum of the superblock d, or of a copy of it.
func superChecksum(d []byte) uint32 { return crc32c(^uint32(0), d[:sbChecksum]) }

// sealSuper writes the checksum of the superblock d, where it has one.
func (sb *superblock) sealSuper(d []byte) {
	if sb.metadataCsum() {
		binary.LittleEndian.PutUint32(d[sbChecksum:], superChecksum(d))
	}
}

// inodeSeed is where the checksums of an inode and of its blocks start from.
func (sb *superblock) inodeSeed(ino, generation uint32) uint32 {
	return crc32cU32(crc32cU32(sb.csumSeed, ino), generation)
}

// descChecksum computes the checksum of the descriptor d of group g.
func (sb *superblock) descChecksum(g uint32, d []byte) uint16 {
	var num [4]byte
	binary.LittleEndian.PutUint32(num[:], g)
	if sb.metadataCsum() {
		c := crc32c(sb.csumSeed, num[:])
		c = crc32c(c, d[:gdChecksum])
		c = crc32c(c, []byte{0, 0})
		return uint16(crc32c(c, d[gdChecksum+2:]))
	}
	c := crc16(^uint16(0), sb.uuid[:])
	c = crc16(c, num[:])
	c = crc16(c, d[:gdChecksum])
	return crc16(c, d[gdChecksum+2:])
}

// inodeChecksum computes the checksum of the inode raw.
func (sb *superblock) inodeChecksum(ino uint32, raw []byte) uint32 {
	le := binary.LittleEndian
	c := sb.inodeSeed(ino, le.Uint32(raw[iGeneration:]))
	c = crc32c(c, raw[:iChecksumLo])
	c = crc32c(c, []byte{0, 0})
	if len(raw) == goodOldInodeSize {
		return crc32c(c, raw[iChecksumLo+2:]) & 0xFFFF
	}
	c = crc32c(c, raw[iChecksumLo+2:goodOldInodeSize])
	if !hasChecksumHi(raw) {
		return crc32c(c, raw[goodOldInodeSize:]) & 0xFFFF
	}
	c = crc32c(c, raw[goodOldInodeSize:iChecksumHi])
	c = crc32c(c, []byte{0, 0})
	return crc32c(c, raw[iChecksumHi+2:])
}

// hasChecksumHi says whether the inode's extra part reaches the upper half of its checksum.
func hasChecksumHi(raw []byte) bool {
	return len(raw) > goodOldInodeSize && int(binary.LittleEndian.Uint16(raw[iExtraIsize:])) >= iChecksumHi+2-goodOldInodeSize
}
