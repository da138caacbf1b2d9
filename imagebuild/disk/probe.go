package disk

import (
	"fmt"
	"io"
	"strings"

	"github.com/piimg/piimg/imagebuild/fat"
)

// NoTableError says that an image has no partition table.
type NoTableError struct {
	Found string // what the image is instead
}

func (e *NoTableError) Error() string {
	return "there is no partition table: the image is " + e.Found
}

// TruncatedError says that a partition ends behind the image.
type TruncatedError struct {
	Index   int
	Missing string // where the partition is
	Size    int64  // of the image, in bytes
}

func (e *TruncatedError) Error() string {
	return fmt.Sprintf("partition %d goes %s, but the image has %d bytes: the image is truncated", e.Index, e.Missing, e.Size)
}

// probe tells a file system by its first bytes.
func probe(f file, p Partition) (string, error) {
	b := make([]byte, min(p.Size, ProbeSize))
	if _, err := f.ReadAt(b, p.Start); err != nil && err != io.EOF {
		return "", fmt.Errorf("failed to read partition %d: %w", p.Index, err)
	}
	return Probe(b), nil
}

// ProbeSize is how many of its first bytes tell a file system.
const ProbeSize = 2048

// Probe tells a file system by its first [ProbeSize] bytes, and returns what
// [Partition].Content would be: FAT by its boot sector, and ext2, ext3 and ext4 by
// the magic number of their superblock, which begins at 1024.
func Probe(b []byte) string {
	if kind := fat.Probe(b); kind != "" {
		return kind
	}
	if len(b) >= 1082 && b[1080] == 0x53 && b[1081] == 0xef {
		return "ext4"
	}
	return ""
}

// describe says what an image without a partition table is.
func describe(f file, size int64, first []byte) string {
	b := make([]byte, min(size, ProbeSize))
	if _, err := f.ReadAt(b, 0); err != nil {
		b = first
	}
	if kind := Probe(b); kind != "" {
		return fmt.Sprintf("a bare %s file system; an image of the whole card is needed", kind)
	}
	for _, known := range [...]struct{ magic, what string }{
		{"\x1f\x8b", "packed by gzip"},
		{"\xfd7zXZ\x00", "packed by xz"},
		{"PK\x03\x04", "a zip archive"},
		{"\x28\xb5\x2f\xfd", "packed by zstd"},
		{"hsqs", "a bare squashfs file system"},
	} {
		if strings.HasPrefix(string(b), known.magic) {
			return known.what
		}
	}
	for _, c := range b {
		if c != 0 {
			return fmt.Sprintf("something else; it begins with % x", b[:16])
		}
	}
	return fmt.Sprintf("empty; its first %d bytes are zeros", len(b))
}
