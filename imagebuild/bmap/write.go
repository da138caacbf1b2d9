package bmap

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// head is the beginning of a file. The comment is for who opens one.
const head = `<?xml version="1.0" ?>
<!-- A block map, for bmaptool copy: the blocks of an image that have to be
     written, with their checksums. The checksum of this file is that of its
     bytes with 64 zeros in the place of the checksum. -->

<bmap version="2.0">
    <ImageSize> %d </ImageSize>
    <BlockSize> %d </BlockSize>
    <BlocksCount> %d </BlocksCount>
    <MappedBlocksCount> %d </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> `

const tail = `    </BlockMap>
</bmap>
`

// noChecksum stands where the file's checksum will be, while that is computed.
var noChecksum = strings.Repeat("0", 2*sha256.Size)

// Encode returns the map as the content of a .bmap file.
func (m *Map) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("failed to write a block map: %w", err)
	}
	var b bytes.Buffer
	b.Grow(len(head) + len(tail) + 200 + 128*len(m.Ranges))
	fmt.Fprintf(&b, head, m.Size, m.BlockSize, Blocks(m.Size, m.BlockSize), m.Mapped())
	at := b.Len()
	b.WriteString(noChecksum + " </BmapFileChecksum>\n    <BlockMap>\n")
	for _, r := range m.Ranges {
		if r.First == r.Last {
			fmt.Fprintf(&b, "        <Range chksum=\"%x\"> %d </Range>\n", r.SHA256, r.First)
		} else {
			fmt.Fprintf(&b, "        <Range chksum=\"%x\"> %d-%d </Range>\n", r.SHA256, r.First, r.Last)
		}
	}
	b.WriteString(tail)
	sum := sha256.Sum256(b.Bytes())
	hex.Encode(b.Bytes()[at:], sum[:])
	return b.Bytes(), nil
}
