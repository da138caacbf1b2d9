// Package xzfile gives random access to .xz files.
//
// An .xz file is a list of streams; a stream is a header, blocks, an index of
// those blocks and a footer. Blocks are compressed on their own, and the index
// says how long each is packed and unpacked. So whoever has read the indexes,
// which stand at the end of the streams, can unpack any byte of the file by
// decoding one block. [Open] reads the indexes and the headers of all blocks;
// a [Decoder] unpacks single blocks; [File.NewReader] unpacks everything in
// order, for files whose blocks are too large to be held in memory.
//
// The container is parsed here, after "The .xz File Format", version 1.2.1
// (https://tukaani.org/xz/xz-file-format.txt). Everything in it that can be
// verified is: the checksums of headers, indexes and footers, that sizes agree
// wherever they stand twice, that padding is zero, and the check of each block
// that is decoded. The LZMA2 data itself is decoded by
// github.com/ulikunitz/xz/lzma; the other filters are undone here.
package xzfile

import (
	"errors"
	"fmt"
	"io"
	"sort"
)

// Limits on what Open accepts, so that a damaged or hostile file can't make it
// use much memory. An image of 64 GiB in blocks of 64 KiB is within them.
const (
	maxBlocks    = 1 << 20
	maxStreams   = 1 << 16
	maxIndexSize = 32 << 20 // bytes
	maxUnpacked  = 1 << 50  // bytes
)

// The kinds of errors that Open and the decoding methods return; all are
// wrapped, with the offset in the file and what was found there. Errors of the
// underlying reader are passed on and are none of these.
var (
	// ErrTruncated means that the end of the file is missing.
	ErrTruncated = errors.New("truncated .xz file")
	// ErrCorrupt means that bytes are not what the format or a checksum says.
	ErrCorrupt = errors.New("damaged .xz file")
	// ErrUnsupported means a valid file that this package can't decode.
	ErrUnsupported = errors.New("unsupported .xz file")
)

// corrupt returns an ErrCorrupt for what was found at offset off of the file.
func corrupt(off int64, format string, args ...any) error {
	return fmt.Errorf("%w: at byte %d: %s", ErrCorrupt, off, fmt.Sprintf(format, args...))
}

// A Stream is one stream of a file: a header, Blocks blocks, their index and a footer.
type Stream struct {
	PackedOff  int64 // where its header begins in the file
	PackedSize int64 // from the header to the end of the footer, in bytes
	Padding    int64 // zero bytes behind the footer, a multiple of four
	IndexSize  int64 // bytes of the index, its padding and CRC included
	Check      Check // the check that ends each of its blocks
	FirstBlock int   // index in File.Blocks of its first block
	Blocks     int   // number of its blocks; may be 0
}

// A Block is one independently compressed part of a file.
//
// In the file it is a header of HeaderSize bytes, compressed data, zero to
// three bytes of padding to a multiple of four, and a check.
type Block struct {
	Off  int64 // of its first unpacked byte in the unpacked file
	Size int64 // unpacked, in bytes

	PackedOff    int64  // where its header begins in the file
	UnpaddedSize int64  // header, compressed data and check, without the padding
	HeaderSize   int    // in bytes, a multiple of four
	Check        Check  // of its stream
	DictSize     int64  // of the LZMA2 filter, in bytes
	Filters      string // names in the order of encoding, joined by "+"

	chain     [maxFilters]filter // before LZMA2, in the order of encoding
	decodable bool
}

// PackedSize returns what the block takes in the file: header, data, padding and check.
func (b *Block) PackedSize() int64 { return (b.UnpaddedSize + 3) &^ 3 }

// dataSize returns the number of bytes of compressed data.
func (b *Block) dataSize() int64 {
	return b.UnpaddedSize - int64(b.HeaderSize) - int64(b.Check.Size())
}

// Decodable says whether the block's filters are ones that a Decoder knows.
func (b *Block) Decodable() bool { return b.decodable }

// Plain says whether the block is packed by LZMA2 alone.
func (b *Block) Plain() bool { return b.Filters == nameLZMA2 }

// A File is the block index of an .xz file. It is not changed after Open and is
// safe for use by several goroutines.
type File struct {
	r io.ReaderAt

	Size       int64 // unpacked, in bytes
	PackedSize int64 // of the file, in bytes
	Streams    []Stream
	Blocks     []Block // of all streams, in order; consecutive from offset 0 to Size
	MaxBlock   int64   // unpacked bytes of the largest block
	MaxDict    int64   // largest dictionary that decoding any block takes, in bytes
}

// Find returns the index of the block that holds byte off of the unpacked file,
// or -1 if there is none.
func (f *File) Find(off int64) int {
	if off < 0 || off >= f.Size {
		return -1
	}
	// The last block that begins at or before off. Blocks of no bytes share
	// their offset with the block behind them, so the last one is never empty.
	return sort.Search(len(f.Blocks), func(i int) bool { return f.Blocks[i].Off > off }) - 1
}

// Filtered returns the first block that has other filters than LZMA2, or nil.
func (f *File) Filtered() *Block {
	for i := range f.Blocks {
		if !f.Blocks[i].Plain() {
			return &f.Blocks[i]
		}
	}
	return nil
}

// Undecodable returns the first block whose filters a Decoder does not know, or nil.
func (f *File) Undecodable() *Block {
	for i := range f.Blocks {
		if !f.Blocks[i].Decodable() {
			return &f.Blocks[i]
		}
	}
	return nil
}

// dictCap returns the size of the dictionary needed to decode b: no distance
// reaches farther back than the block's beginning.
func (b *Block) dictCap() int64 {
	const least = 4096 // of the LZMA formats
	return max(least, min(b.DictSize, b.Size))
}
