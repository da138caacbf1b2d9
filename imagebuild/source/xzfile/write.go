package xzfile

import (
	"encoding/binary"
	"hash/crc32"
)

// A Writer makes the parts of a file of one stream. It says what the bytes are; who
// uses it puts them where they belong: the header, blocks in any number, the index
// and the footer. The zero value is a stream without blocks or checks.
type Writer struct {
	Check   Check
	records []byte // of the index
	blocks  uint64
}

// Header returns the stream's header.
func (w *Writer) Header() []byte {
	b := append([]byte(headerMagic), 0, byte(w.Check))
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[len(headerMagic):]))
}

// BlockHeader returns the header of a block of data bytes of LZMA2 data, which unpack
// to size bytes with a dictionary of at least dict bytes.
func BlockHeader(data, size, dict int64) []byte {
	const withSizes = 0xc0
	b := []byte{0, withSizes}
	b = binary.AppendUvarint(b, uint64(data))
	b = binary.AppendUvarint(b, uint64(size))
	b = append(b, filterLZMA2, 1, dictProps(dict))
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	b[0] = byte(len(b) / 4)
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// dictProps is the smallest size that the properties of the LZMA2 filter can tell
// and that is no less than n bytes.
func dictProps(n int64) byte {
	for p := byte(0); p < 40; p++ {
		if size, _ := dictSize([]byte{p}); size >= n {
			return p
		}
	}
	return 40
}

// BlockTail returns what stands behind a block's data: padding and the check sum, in
// the bytes of the file.
func (w *Writer) BlockTail(data int64, sum []byte) []byte {
	return append(make([]byte, -data&3, 3+len(sum)), sum...)
}

// Block notes down a block in the index: the bytes that it takes without its padding,
// and those that it unpacks to.
func (w *Writer) Block(unpadded, size int64) {
	w.blocks++
	w.records = binary.AppendUvarint(w.records, uint64(unpadded))
	w.records = binary.AppendUvarint(w.records, uint64(size))
}

// End returns the index and the stream's footer.
func (w *Writer) End() []byte {
	b := binary.AppendUvarint([]byte{0}, w.blocks)
	b = append(b, w.records...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	foot := binary.LittleEndian.AppendUint32(nil, uint32(len(b)/4-1))
	foot = append(foot, 0, byte(w.Check))
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(foot))
	return append(append(b, foot...), footerMagic...)
}

// Sum returns the check of p, in the bytes of the file.
func (c Check) Sum(p []byte) []byte {
	h := c.newHash()
	if h == nil {
		return nil
	}
	h.Write(p)
	return h.Sum(nil)
}

// Combines says whether [Check.Combine] knows how to.
func (c Check) Combines() bool { return c == CheckCRC32 || c == CheckCRC64 }

// Combine returns the check of some bytes, given those of a first part of them and of
// the rest, of n bytes. It takes no longer for more bytes than for few.
func (c Check) Combine(first, rest []byte, n int64) []byte {
	if c == CheckCRC32 {
		sum := crcShift(uint64(binary.LittleEndian.Uint32(first)), n, 0xedb88320, 32)
		return binary.LittleEndian.AppendUint32(nil, uint32(sum)^binary.LittleEndian.Uint32(rest))
	}
	sum := crcShift(binary.LittleEndian.Uint64(first), n, 0xc96c5795d7870f42, 64)
	return binary.LittleEndian.AppendUint64(nil, sum^binary.LittleEndian.Uint64(rest))
}

// crcShift returns what a CRC becomes by n zero bytes behind its data: its product
// with x to the power of 8n, modulo the polynomial. Bits are in reverse, the highest
// is that of x⁰, as in the sums themselves.
func crcShift(crc uint64, n int64, poly uint64, width int) uint64 {
	times := func(a, b uint64) uint64 {
		var p uint64
		for ; a != 0; a = a << 1 & (1<<(width-1)<<1 - 1) {
			if a>>(width-1)&1 != 0 {
				p ^= b
			}
			low := b & 1
			b >>= 1
			if low != 0 {
				b ^= poly
			}
		}
		return p
	}
	power := uint64(1) << (width - 1 - 8) // x⁸
	for k := uint64(n); k != 0; k >>= 1 {
		if k&1 != 0 {
			crc = times(power, crc)
		}
		power = times(power, power)
	}
	return crc
}
