package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/piimg/piimg/imagebuild/hostfile"
	"github.com/piimg/piimg/imagebuild/source/xzfile"
)

// fingerprintSuffix is what the name of the file ends in that holds the fingerprint of
// a packed copy.
const fingerprintSuffix = ".blocks"

// fingerprint returns the digest of where the blocks of an .xz file are, and of their
// checks. A block that is not that of its check is found when it is unpacked; the
// fingerprint finds a file whose blocks are sound, and those of something else.
func fingerprint(x *xzfile.File, packed io.ReaderAt) (string, error) {
	h := sha256.New()
	for i := range x.Blocks {
		b := &x.Blocks[i]
		check := make([]byte, b.Check.Size())
		if _, err := packed.ReadAt(check, b.PackedOff+b.PackedSize()-int64(len(check))); err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%d %d %d %x\n", b.Off, b.PackedOff, b.UnpaddedSize, check)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// keepFingerprint notes which blocks a copy in the cache folder has.
func (m *Image) keepFingerprint() error {
	sum, err := fingerprint(m.xz, m.Packed())
	if err == nil {
		err = os.WriteFile(m.path+fingerprintSuffix, []byte(sum+"\n"), 0o600)
	}
	return m.opts.cacheFailed("pack into", err)
}

// hasFingerprint reports whether a copy has the blocks that were noted.
func (m *Image) hasFingerprint() bool {
	want, err := hostfile.ReadSmall(m.path+fingerprintSuffix, 1<<10)
	if err != nil {
		return false
	}
	sum, err := fingerprint(m.xz, m.Packed())
	return err == nil && strings.TrimSpace(string(want)) == sum
}
