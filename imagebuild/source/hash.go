package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/piimg/piimg/imagebuild/hostfile"
)

// hashFile returns the SHA-256 of r in hexadecimal.
func hashFile(ctx context.Context, r *io.SectionReader, o *Options) (string, error) {
	h := sha256.New()
	if err := hashInto(ctx, h, r, o); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashInto feeds all of r to h.
func hashInto(ctx context.Context, h hash.Hash, r *io.SectionReader, o *Options) error {
	buf := make([]byte, chunkSize)
	for off := int64(0); off < r.Size(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.ReadAt(buf[:min(chunkSize, r.Size()-off)], off)
		h.Write(buf[:n])
		off += int64(n)
		if err == io.EOF && off < r.Size() {
			return io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			return err
		}
		o.progress(ProgressVerify, off, r.Size())
	}
	return ctx.Err()
}

// maxSums is the size in bytes of the largest checksum file that is read.
const maxSums = 16 << 20

// expected returns the SHA-256 that the packed file should have, and the checksum
// file that says so, if it is one. Both are empty if nothing says so.
func (m *Image) expected() (sum, from string, err error) {
	sum = m.opts.SHA256
	if sum == "" {
		name := m.path + ".sha256"
		text, err := hostfile.ReadSmall(name, maxSums)
		if errors.Is(err, fs.ErrNotExist) {
			return "", "", nil
		}
		if err != nil {
			return "", "", &Error{Path: m.path, Detail: "cannot read the checksum file", Err: err, Remedy: "correct or remove it"}
		}
		if sum, err = parseSums(string(text), filepath.Base(m.path)); err != nil {
			return "", "", &Error{Path: name, Detail: "cannot use the checksum file", Err: err, Remedy: "correct or remove it"}
		}
		from = name
	}
	if sum, err = parseSum(sum); err != nil {
		return "", "", &Error{Path: m.path, Detail: "expected sha256", Err: err, Remedy: "give the 64 hexadecimal digits that the publisher of the image states"}
	}
	return sum, from, nil
}

// packedSum is the SHA-256 of the packed file, being computed by a goroutine.
type packedSum struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when sum or err is set
	sum    string
	err    error
}

// startDigest begins to compute the digest, unless that has been done, and to
// compare it with what is expected, if anything is.
func (m *Image) startDigest() *packedSum {
	m.digestMu.Lock()
	defer m.digestMu.Unlock()
	if m.digest != nil {
		return m.digest
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &packedSum{cancel: cancel, done: make(chan struct{})}
	m.digest = d
	go func() {
		defer close(d.done)
		sum, err := hashFile(ctx, m.Packed(), &m.opts)
		switch {
		case err != nil:
			d.err = m.fail(err)
		case m.want != "" && sum != m.want:
			d.err = &ChecksumError{Path: m.path, Want: m.want, Got: sum, Source: m.wantFrom, Size: m.packing.PackedSize}
		default:
			d.sum = sum
		}
	}()
	return d
}

// SHA256 returns the digest of the packed file in lower-case hexadecimal. It is
// computed once, by Open or after it if Options say so. If another digest was
// expected, the error is a ChecksumError.
func (m *Image) SHA256(ctx context.Context) (string, error) {
	d := m.startDigest()
	select {
	case <-d.done:
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return d.sum, d.err
}

// awaitDigest waits for the digest if it is being computed. A wrong one is the error.
func (m *Image) awaitDigest(ctx context.Context) error {
	m.digestMu.Lock()
	started := m.digest != nil
	m.digestMu.Unlock()
	if !started {
		return nil
	}
	_, err := m.SHA256(ctx)
	return err
}

// stopDigest ends the computation if it is still under way.
func (m *Image) stopDigest() {
	m.digestMu.Lock()
	d := m.digest
	m.digestMu.Unlock()
	if d != nil {
		d.cancel()
		<-d.done
	}
}

// parseSum returns a SHA-256 in lower-case hexadecimal.
func parseSum(s string) (string, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	if b, err := hex.DecodeString(s); err != nil || len(b) != sha256.Size {
		return "", fmt.Errorf("%.80q is not a sha256 of 64 hexadecimal digits", s)
	}
	return s, nil
}

// parseSums finds the digest of the file name in the text of a checksum file:
// a digest alone, or lines as sha256sum writes them ("hex  name", "hex *name",
// or "SHA256 (name) = hex"). Other lines, as those of a signature, are skipped.
// A single digest is taken to be the right one, whatever name stands by it: the
// checksum file is named after the image, which may have been renamed.
func parseSums(text, name string) (string, error) {
	var first string
	var names []string
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		sum, of, ok := parseSumLine(strings.TrimSpace(line))
		if !ok {
			continue
		}
		if baseName(of) == name {
			return sum, nil
		}
		if first == "" {
			first = sum
		}
		names = append(names, of)
	}
	switch len(names) {
	case 0:
		return "", errors.New("there is no sha256 in it")
	case 1:
		return first, nil
	}
	const most = 5
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return "", fmt.Errorf("it has no line for %s, only for %s", name, strings.Join(names, ", "))
}

// parseSumLine parses one line of a checksum file.
func parseSumLine(line string) (sum, name string, ok bool) {
	const bsd = "SHA256 ("
	if rest, found := strings.CutPrefix(line, bsd); found {
		i := strings.LastIndex(rest, ") = ")
		if i < 0 {
			return "", "", false
		}
		sum, err := parseSum(rest[i+4:])
		return sum, rest[:i], err == nil
	}
	word, name, _ := strings.Cut(line, " ")
	sum, err := parseSum(word)
	return sum, strings.TrimPrefix(strings.TrimLeft(name, " \t"), "*"), err == nil
}

// baseName returns what stands behind the last slash of either kind.
func baseName(p string) string { return p[strings.LastIndexAny(p, `/\`)+1:] }
