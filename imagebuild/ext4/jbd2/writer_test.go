package jbd2

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

const testBlock = 1024

// writer writes journals, after the description in journal.rst and
// independently of the reader but for the names of constants.
type writer struct {
	incompat uint32
	v1       bool
	first    uint32
	data     []byte
	next     uint32 // where the next block goes
	sequence uint32
	sum      uint32 // checksum v1
	seconds  uint64
}

func newWriter(blocks int, incompat uint32, v1 bool, start, sequence uint32) *writer {
	w := &writer{incompat: incompat, v1: v1, first: 1, data: make([]byte, blocks*testBlock), next: start, sequence: sequence, sum: ^uint32(0), seconds: 1000}
	be := binary.BigEndian
	for i := range w.data { // what older use left
		w.data[i] = byte(i * 7 >> 5)
	}
	clear(w.data[:superblockSize])
	for off, v := range map[int]uint32{
		0: magic, 4: kindSuperblockV2, sbBlockSize: testBlock, sbMaxLen: uint32(blocks), sbFirst: w.first,
		sbSequence: sequence, sbStart: start, sbIncompat: incompat,
	} {
		be.PutUint32(w.data[off:], v)
	}
	if v1 {
		be.PutUint32(w.data[sbCompat:], compatChecksum)
	}
	copy(w.data[sbUUID:], "0123456789abcdef")
	if w.sums() {
		w.data[sbChecksumType] = checksumCRC32C
		be.PutUint32(w.data[sbChecksum:], castagnoli(nil, w.data[:superblockSize]))
	}
	return w
}

// castagnoli is the CRC-32C of all parts, not inverted at the end.
func castagnoli(parts ...[]byte) uint32 {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for _, p := range parts {
		h.Write(p)
	}
	return ^h.Sum32()
}

// slowCRC is checksum v1, bit by bit.
func slowCRC(c uint32, p []byte) uint32 {
	for _, b := range p {
		c ^= uint32(b) << 24
		for range 8 {
			if c>>31 != 0 {
				c = c<<1 ^ 0x04C11DB7
			} else {
				c <<= 1
			}
		}
	}
	return c
}

func (w *writer) sums() bool { return w.incompat&(incompatCsumV2|incompatCsumV3) != 0 }
func (w *writer) wide() bool { return w.incompat&incompat64Bit != 0 }
func (w *writer) uuid() []byte {
	return w.data[sbUUID : sbUUID+uuidSize]
}

// block returns the next block of the ring, zeroed, and its number.
func (w *writer) block() ([]byte, uint32) {
	n := w.next
	if w.next++; int(w.next) == len(w.data)/testBlock {
		w.next = w.first
	}
	p := w.data[int(n)*testBlock:][:testBlock]
	clear(p)
	return p, n
}

func (w *writer) header(p []byte, kind uint32) {
	be := binary.BigEndian
	be.PutUint32(p, magic)
	be.PutUint32(p[4:], kind)
	be.PutUint32(p[8:], w.sequence)
}

func (w *writer) tail(p []byte) {
	if w.sums() {
		binary.BigEndian.PutUint32(p[testBlock-4:], castagnoli(w.uuid(), p))
	}
}

// content is what is to be written to a block.
type content struct {
	target uint64
	data   []byte
}

// perDescriptor is how many tags a descriptor block holds.
func (w *writer) perDescriptor() int { return (testBlock - headerSize - uuidSize - tailSize) / 16 }

// write appends descriptor blocks and data.
func (w *writer) write(list []content) {
	be := binary.BigEndian
	for len(list) > 0 {
		n := min(len(list), w.perDescriptor())
		d, _ := w.block()
		w.header(d, kindDescriptor)
		at := headerSize
		blocks := make([][]byte, n)
		for i, c := range list[:n] {
			flags := uint32(0)
			p, _ := w.block()
			copy(p, c.data)
			blocks[i] = p
			if be.Uint32(p) == magic {
				clear(p[:4])
				flags |= flagEscaped
			}
			if i > 0 {
				flags |= flagSameUUID
			}
			if i == n-1 {
				flags |= flagLast
			}
			var num [4]byte
			be.PutUint32(num[:], w.sequence)
			sum := castagnoli(w.uuid(), num[:], p)
			be.PutUint32(d[at:], uint32(c.target))
			if w.incompat&incompatCsumV3 != 0 {
				be.PutUint32(d[at+4:], flags)
				be.PutUint32(d[at+12:], sum)
			} else {
				be.PutUint16(d[at+6:], uint16(flags))
			}
			if w.incompat&incompatCsumV2 != 0 {
				be.PutUint16(d[at+4:], uint16(sum))
			}
			if w.wide() {
				be.PutUint32(d[at+8:], uint32(c.target>>32))
			}
			at += map[uint32]int{ // v2 adds two bytes that it does not use
				0: 8, incompat64Bit: 12, incompatCsumV2: 10, incompatCsumV2 | incompat64Bit: 14,
				incompatCsumV3: 16, incompatCsumV3 | incompat64Bit: 16,
			}[w.incompat&(incompat64Bit|incompatCsumV2|incompatCsumV3)]
			if i == 0 {
				copy(d[at:], w.uuid())
				at += uuidSize
			}
		}
		w.tail(d)
		w.sum = slowCRC(w.sum, d)
		for _, p := range blocks {
			w.sum = slowCRC(w.sum, p)
		}
		list = list[n:]
	}
}

// revoke appends a revoke block; the list fits one.
func (w *writer) revoke(targets []uint64) {
	be := binary.BigEndian
	p, _ := w.block()
	w.header(p, kindRevoke)
	at := revokeFirst
	for _, t := range targets {
		if w.wide() {
			be.PutUint64(p[at:], t)
			at += 8
		} else {
			be.PutUint32(p[at:], uint32(t))
			at += 4
		}
	}
	be.PutUint32(p[revokeCount:], uint32(at))
	w.tail(p)
}

// commit ends the transaction, and returns the commit block's number.
func (w *writer) commit() uint32 {
	be := binary.BigEndian
	p, n := w.block()
	w.header(p, kindCommit)
	w.seconds++
	be.PutUint64(p[commitSeconds:], w.seconds)
	switch {
	case w.sums():
		be.PutUint32(p[commitChecksum:], castagnoli(w.uuid(), p))
	case w.v1:
		p[commitChecksumType], p[commitChecksumSize] = checksumCRC32, 4
		be.PutUint32(p[commitChecksum:], w.sum)
	}
	w.sum = ^uint32(0)
	w.sequence++
	return n
}

var errOutside = errors.New("read outside of the journal")

// reader reads the journal data.
func reader(data []byte) ReadFunc {
	return func(n uint32, p []byte) error {
		off := int64(n) * int64(len(p))
		if off+int64(len(p)) > int64(len(data)) {
			return errOutside
		}
		copy(p, data[off:])
		return nil
	}
}
