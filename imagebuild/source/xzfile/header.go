package xzfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// Filter IDs that have been assigned.
const (
	filterDelta    = 0x03
	filterX86      = 0x04
	filterPowerPC  = 0x05
	filterIA64     = 0x06
	filterARM      = 0x07
	filterARMThumb = 0x08
	filterSPARC    = 0x09
	filterARM64    = 0x0a
	filterRISCV    = 0x0b
	filterLZMA2    = 0x21
)

// filterName returns xz's own name of a filter.
func filterName(id int64) string {
	switch id {
	case filterDelta:
		return "delta"
	case filterX86:
		return "x86"
	case filterPowerPC:
		return "powerpc"
	case filterIA64:
		return "ia64"
	case filterARM:
		return "arm"
	case filterARMThumb:
		return "armthumb"
	case filterSPARC:
		return "sparc"
	case filterARM64:
		return "arm64"
	case filterRISCV:
		return "riscv"
	case filterLZMA2:
		return nameLZMA2
	}
	return fmt.Sprintf("%#x", id)
}

// nameLZMA2 is the name of the filter that compresses, and ends every chain.
const nameLZMA2 = "lzma2"

// readBlockHeader reads the header at b.PackedOff, checks it against what the
// index said of the block, and sets HeaderSize, Filters and DictSize.
func readBlockHeader(r io.ReaderAt, b *Block) error {
	// One read nearly always gets the whole header: xz writes 12 to 24 bytes.
	var buf [1024]byte
	off := b.PackedOff
	n := min(int64(32), b.UnpaddedSize)
	if err := readAt(r, buf[:n], off); err != nil {
		return err
	}
	size := (int64(buf[0]) + 1) * 4
	if buf[0] == 0 || size > b.UnpaddedSize-int64(b.Check.Size()) {
		return corrupt(off, "there is no block header, or it is longer than its block")
	}
	if size > n {
		if err := readAt(r, buf[n:size], off+n); err != nil {
			return err
		}
	}
	head := buf[:size]
	body := size - 4
	if crc32.ChecksumIEEE(head[:body]) != binary.LittleEndian.Uint32(head[body:]) {
		return corrupt(off, "the block header's CRC32 is wrong")
	}
	b.HeaderSize = int(size)
	if err := b.parseHeader(head[1:body]); err != nil {
		return err
	}
	if b.dataSize() < 1 {
		return corrupt(off, "the block has no data")
	}
	return nil
}

// parseHeader parses a block header without its size and its CRC32.
func (b *Block) parseHeader(p []byte) error {
	bad := func(what string) error { return corrupt(b.PackedOff, "block header: %s", what) }
	flags := p[0]
	p = p[1:]
	if flags&0x3c != 0 {
		return fmt.Errorf("%w: at byte %d: unknown block flags %#02x", ErrUnsupported, b.PackedOff, flags)
	}
	var v int64
	var ok bool
	if flags&0x40 != 0 {
		if v, p, ok = varint(p); !ok || v != b.dataSize() {
			return bad("its compressed size is not what the index says")
		}
	}
	if flags&0x80 != 0 {
		if v, p, ok = varint(p); !ok || v != b.Size {
			return bad("its uncompressed size is not what the index says")
		}
	}
	var names []string
	last := int(flags & 3)
	b.decodable = true
	for i := range last + 1 {
		id, q, ok1 := varint(p)
		n, q, ok2 := varint(q)
		if !ok1 || !ok2 || n > int64(len(q)) {
			return bad("its filters are wrong")
		}
		props := q[:n]
		p = q[n:]
		switch {
		case id == filterLZMA2:
			if b.DictSize, ok = dictSize(props); !ok {
				return bad("the properties of the LZMA2 filter are wrong")
			}
			b.decodable = b.decodable && i == last
		case i == last: // it does not compress, so nothing can be in it
			b.decodable = false
		default:
			var known bool
			if b.chain[i], known, ok = parseFilter(id, props); !ok && known {
				return bad(fmt.Sprintf("the properties of the %s filter are wrong", filterName(id)))
			}
			b.decodable = b.decodable && known
		}
		names = append(names, filterName(id))
	}
	if !allZero(p) {
		// The format reserves this place for later extensions.
		return fmt.Errorf("%w: at byte %d: the block header has unknown fields", ErrUnsupported, b.PackedOff)
	}
	if b.Filters = names[0]; len(names) > 1 {
		b.Filters = strings.Join(names, "+")
	}
	return nil
}

// dictSize decodes the properties of the LZMA2 filter.
func dictSize(props []byte) (int64, bool) {
	if len(props) != 1 || props[0] > 40 {
		return 0, false
	}
	bits := props[0]
	if bits == 40 {
		return 1<<32 - 1, true
	}
	return (2 | int64(bits&1)) << (bits/2 + 11), true
}
