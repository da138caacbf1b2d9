package xzfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

const (
	headerMagic = "\xfd7zXZ\x00"
	footerMagic = "YZ"
	headerSize  = 12 // of a stream's header and of its footer

	// minIndexSize is that of an index without records: indicator, number of
	// records, padding and CRC32.
	minIndexSize = 8
)

// Magic reports whether p, the beginning of a file, is that of an .xz file.
func Magic(p []byte) bool { return bytes.HasPrefix(p, []byte(headerMagic)) }

// Open reads the structure of the .xz file of size bytes that r reads: the
// indexes of all streams and the headers of all blocks. The compressed data is
// not looked at. The File reads from r for as long as it is used.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, PackedSize: size}
	var head [headerSize]byte
	if size < headerSize {
		return nil, fmt.Errorf("%w: it has only %d bytes", ErrTruncated, size)
	}
	if err := readAt(r, head[:], 0); err != nil {
		return nil, err
	}
	if !Magic(head[:]) {
		return nil, corrupt(0, "no stream header")
	}

	// Streams can be found from behind only: the footer says where the index
	// begins, and the index where the blocks begin.
	var streams []stream
	blocks := 0
	for end := size; end > 0; {
		s, err := readStream(r, end, end == size)
		if err != nil {
			return nil, err
		}
		if blocks += len(s.records); blocks > maxBlocks || len(streams) == maxStreams {
			return nil, fmt.Errorf("%w: more than %d blocks or %d streams", ErrUnsupported, maxBlocks, maxStreams)
		}
		end = s.PackedOff
		streams = append(streams, s)
	}
	slices.Reverse(streams)

	f.Blocks = make([]Block, 0, blocks)
	for _, s := range streams {
		if err := f.add(s); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// add appends a stream and its blocks, whose headers it reads.
func (f *File) add(s stream) error {
	s.FirstBlock, s.Blocks = len(f.Blocks), len(s.records)
	off := s.PackedOff + headerSize
	for _, rec := range s.records {
		b := Block{
			Off: f.Size, Size: rec.unpacked,
			PackedOff: off, UnpaddedSize: rec.unpadded, Check: s.Check,
		}
		if err := readBlockHeader(f.r, &b); err != nil {
			return err
		}
		off += b.PackedSize()
		if f.Size += b.Size; f.Size > maxUnpacked {
			return fmt.Errorf("%w: it unpacks to more than %d bytes", ErrUnsupported, int64(maxUnpacked))
		}
		f.MaxBlock = max(f.MaxBlock, b.Size)
		f.MaxDict = max(f.MaxDict, b.dictCap())
		f.Blocks = append(f.Blocks, b)
	}
	f.Streams = append(f.Streams, s.Stream)
	return nil
}

// record is what an index says of one block.
type record struct{ unpadded, unpacked int64 }

// stream is a Stream with the records of its index.
type stream struct {
	Stream
	records []record
}

// readStream reads the header, index and footer of the stream that ends, with
// its padding, at offset end of the file. Last says that it is the file's last.
func readStream(r io.ReaderAt, end int64, last bool) (stream, error) {
	var s stream
	pad, err := trailingZeros(r, end)
	if err != nil {
		return s, err
	}
	// The footer ends in a byte that isn't zero, so all zeros are padding.
	s.Padding = pad
	footerEnd := end - pad
	var foot, head [headerSize]byte
	footOff := footerEnd - headerSize
	if footOff < headerSize+minIndexSize { // not even an empty stream fits
		return s, cutOff(last, end, "there is no room for a stream")
	}
	if err := readAt(r, foot[:], footOff); err != nil {
		return s, err
	}
	if string(foot[10:]) != footerMagic {
		if added, err := addedBytes(r, end); err != nil {
			return s, err
		} else if added > 0 {
			return s, corrupt(end-added, "%d bytes of something else stand behind the end of the .xz file", added)
		}
		return s, cutOff(last, footOff, "there is no stream footer")
	}
	if pad%4 != 0 {
		return s, cutOff(last, footerEnd, "the padding of %d bytes is not a multiple of four", pad)
	}
	if crc32.ChecksumIEEE(foot[4:10]) != binary.LittleEndian.Uint32(foot[:]) {
		return s, corrupt(footOff, "the stream footer's CRC32 is wrong")
	}
	if s.Check, err = streamFlags(footOff+8, foot[8:10]); err != nil {
		return s, err
	}

	s.IndexSize = indexSize(foot[:])
	indexOff := footOff - s.IndexSize
	if s.IndexSize < minIndexSize || indexOff < headerSize {
		return s, corrupt(footOff, "the footer says that the index has %d bytes, which can't be", s.IndexSize)
	}
	if s.IndexSize > maxIndexSize {
		return s, fmt.Errorf("%w: the index has %d bytes, more than %d", ErrUnsupported, s.IndexSize, maxIndexSize)
	}
	index := make([]byte, s.IndexSize)
	if err := readAt(r, index, indexOff); err != nil {
		return s, err
	}
	var packed int64
	if s.records, packed, err = parseIndex(index, indexOff, indexOff-headerSize); err != nil {
		return s, err
	}

	s.PackedOff = indexOff - packed - headerSize
	s.PackedSize = footerEnd - s.PackedOff
	if err := readAt(r, head[:], s.PackedOff); err != nil {
		return s, err
	}
	if !Magic(head[:]) {
		return s, corrupt(s.PackedOff, "there is no stream header where the index at byte %d puts it", indexOff)
	}
	if crc32.ChecksumIEEE(head[6:8]) != binary.LittleEndian.Uint32(head[8:]) {
		return s, corrupt(s.PackedOff, "the stream header's CRC32 is wrong")
	}
	if head[6] != foot[8] || head[7] != foot[9] {
		return s, corrupt(s.PackedOff, "the stream's header and footer differ in their flags")
	}
	return s, nil
}

// maxAdded is how many bytes behind a stream are told from one that is cut off.
const maxAdded = 1 << 20

// addedBytes returns how many of the bytes before offset end stand behind a stream and
// are the beginning of no other: 0 if no stream ends in the last maxAdded of them.
func addedBytes(r io.ReaderAt, end int64) (int64, error) {
	from := max(0, end-maxAdded) &^ 3 // streams are multiples of four bytes
	p := make([]byte, end-from)
	if err := readAt(r, p, from); err != nil {
		return 0, err
	}
	room := int64(maxIndexSize) // for the indexes of all that are tried
	for i := (len(p) - headerSize) &^ 3; i > 0; i -= 4 {
		foot, behind := p[i:i+headerSize], p[i+headerSize:]
		if !isFooter(foot) {
			continue
		}
		if room -= indexSize(foot); room < 0 {
			return 0, nil
		}
		// The footer may be that of a file which is stored in a block as it is.
		if ours, err := endsFile(r, end-int64(len(behind))); err != nil {
			return 0, err
		} else if !ours {
			continue
		}
		if next := bytes.TrimLeft(behind, "\x00"); bytes.HasPrefix(next, []byte(headerMagic[:min(len(next), len(headerMagic))])) {
			return 0, nil // another stream, which is cut off
		}
		return int64(len(behind)), nil
	}
	return 0, nil
}

// endsFile reports whether the stream with a footer before offset end begins where the
// file does, or right behind another one.
func endsFile(r io.ReaderAt, end int64) (bool, error) {
	s, err := readStream(r, end, false)
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported) {
		return false, nil
	}
	if err != nil || s.PackedOff == 0 {
		return err == nil, err
	}
	var foot [headerSize]byte
	if s.PackedOff < headerSize {
		return false, nil
	}
	err = readAt(r, foot[:], s.PackedOff-headerSize)
	return err == nil && isFooter(foot[:]), err
}

// isFooter reports whether p is the footer of a stream.
func isFooter(p []byte) bool {
	return string(p[10:]) == footerMagic && crc32.ChecksumIEEE(p[4:10]) == binary.LittleEndian.Uint32(p)
}

// indexSize returns what a footer says of the size of the index before it, in bytes.
func indexSize(foot []byte) int64 { return (int64(binary.LittleEndian.Uint32(foot[4:])) + 1) * 4 }

// cutOff returns the error for a stream whose end is missing at offset off:
// truncated, if it is the last of the file.
func cutOff(last bool, off int64, format string, args ...any) error {
	if last {
		return fmt.Errorf("%w: at byte %d: %s", ErrTruncated, off, fmt.Sprintf(format, args...))
	}
	return corrupt(off, format, args...)
}

// streamFlags parses the two bytes at off that a stream's header and footer share.
func streamFlags(off int64, flags []byte) (Check, error) {
	if flags[0] != 0 || flags[1] > 0x0f {
		return 0, fmt.Errorf("%w: at byte %d: unknown stream flags %#02x %#02x", ErrUnsupported, off, flags[0], flags[1])
	}
	return Check(flags[1]), nil
}

// parseIndex parses the index p of at least minIndexSize bytes, which stands at
// off in the file. It returns
// the records and the sum of the blocks' packed sizes, which is at most room.
func parseIndex(p []byte, off, room int64) ([]record, int64, error) {
	body := len(p) - 4
	if crc32.ChecksumIEEE(p[:body]) != binary.LittleEndian.Uint32(p[body:]) {
		return nil, 0, corrupt(off, "the index's CRC32 is wrong")
	}
	if p[0] != 0 {
		return nil, 0, corrupt(off, "the index does not begin with its indicator")
	}
	q := p[1:body]
	bad := func(what string) error { return corrupt(off+int64(body-len(q)), "index: %s", what) }
	count, q, ok := varint(q)
	if !ok || count > int64(len(q))/2 {
		return nil, 0, bad("the number of records is wrong")
	}
	if count > maxBlocks {
		return nil, 0, fmt.Errorf("%w: more than %d blocks", ErrUnsupported, maxBlocks)
	}
	records := make([]record, count)
	var packed int64
	for i := range records {
		rec := &records[i]
		var ok1, ok2 bool
		rec.unpadded, q, ok1 = varint(q)
		rec.unpacked, q, ok2 = varint(q)
		if !ok1 || !ok2 || rec.unpadded == 0 || rec.unpadded > room-packed || rec.unpacked > maxUnpacked {
			return nil, 0, bad(fmt.Sprintf("record %d is wrong", i))
		}
		if packed += (rec.unpadded + 3) &^ 3; packed > room {
			return nil, 0, bad(fmt.Sprintf("record %d is wrong", i))
		}
	}
	if len(q) > 3 || !allZero(q) {
		return nil, 0, bad("wrong padding")
	}
	return records, packed, nil
}

// varint reads the format's integers: 7 bits a byte, lowest first, at most 9
// bytes, no superfluous zero byte at the end.
func varint(p []byte) (v int64, rest []byte, ok bool) {
	for i, c := range p {
		if i == 9 {
			break
		}
		v |= int64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, p[i+1:], c != 0 || i == 0
		}
	}
	return 0, p, false
}

// trailingZeros returns how many zero bytes there are before offset end.
func trailingZeros(r io.ReaderAt, end int64) (int64, error) {
	buf := make([]byte, 4096)
	for off := end; off > 0; {
		n := min(off, int64(len(buf)))
		off -= n
		if err := readAt(r, buf[:n], off); err != nil {
			return 0, err
		}
		if rest := len(bytes.TrimRight(buf[:n], "\x00")); rest > 0 {
			return end - off - int64(rest), nil
		}
		if end-off == n { // after a first small read, go faster
			buf = make([]byte, 256<<10)
		}
	}
	return end, nil
}

func allZero(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}

// readAt fills p from offset off; a file that ends before is truncated: its
// size was known when it was opened.
func readAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF || err == nil {
		return fmt.Errorf("%w: it ends at byte %d", ErrTruncated, off+int64(n))
	}
	return err
}
