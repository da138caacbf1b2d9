package pull

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/source"
)

// maxMember bounds the size of a program within an archive, in bytes.
const maxMember = 2 << 30

// download fetches a file of a release, and takes the wanted files from it.
func (p *puller) download(ctx context.Context, j job) error {
	sum, locked, err := p.expected(ctx, j)
	if err != nil {
		return err
	}
	file, err := source.Fetch(ctx, j.source.URL, source.Options{
		CacheDir: p.CacheDir, SHA256: sum, Client: p.client, Notice: p.Notice,
		Progress: func(_ string, done, total int64) { p.Progress("fetch "+path.Base(j.source.URL), done, total) },
	})
	var wrong *source.ChecksumError
	switch {
	case errors.As(err, &wrong) && locked:
		return fmt.Errorf("it has the sha256 %s, but %s names %s: it is damaged, or was replaced; if it is to be the new one, run piimg artifacts pull --update", wrong.Got, artifacts.LockName, wrong.Want)
	case errors.As(err, &wrong):
		return fmt.Errorf("it has the sha256 %s, but %s says %s: try again later", wrong.Got, j.source.SumsURL, wrong.Want)
	case err != nil:
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	digest := "sha256:" + sum
	if len(j.parts) == 1 && j.parts[0].member == "" {
		return p.take(ctx, j, j.parts[0], f, digest)
	}
	return p.unpack(ctx, j, f, digest)
}

// expected returns the SHA-256 that a download must have, and whether it is locked.
func (p *puller) expected(ctx context.Context, j job) (sum string, locked bool, err error) {
	if d := p.lock.Digest(j.source.URL, j.arch); d != "" && !p.Update {
		return strings.TrimPrefix(d, "sha256:"), true, nil
	}
	text, err := p.text(ctx, j.source.SumsURL)
	if err != nil {
		return "", false, err
	}
	name, err := url.PathUnescape(path.Base(j.source.URL))
	if err != nil {
		return "", false, err
	}
	if sum = findSum(text, name); sum == "" {
		return "", false, fmt.Errorf("%s has no sha256 of %s", j.source.SumsURL, name)
	}
	return sum, false, nil
}

// findSum returns the digest of a file in what its publisher states: the digest
// alone, or lines of sha256sum. Names may have folders.
func findSum(text, name string) string {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		alone := len(fields) == 1 && strings.TrimSpace(text) == fields[0]
		if alone || len(fields) == 2 && path.Base(strings.TrimPrefix(fields[1], "*")) == name {
			if b, err := hex.DecodeString(fields[0]); err == nil && len(b) == 32 {
				return strings.ToLower(fields[0])
			}
		}
	}
	return ""
}

// take makes a file of what r holds.
func (p *puller) take(ctx context.Context, j job, part part, r io.Reader, digest string) error {
	f, err := p.create(part.rel)
	if err != nil {
		return err
	}
	defer discard(f)
	if _, err := io.Copy(f, contextReader{ctx, r}); err != nil {
		return err
	}
	l, err := accept(ctx, f, j, part, digest)
	if err != nil {
		return err
	}
	return p.publish(f, l)
}

// unpack takes the wanted files from a .tar.gz.
func (p *puller) unpack(ctx context.Context, j job, r io.Reader, digest string) error {
	z, err := gzip.NewReader(bufio.NewReaderSize(r, 256<<10))
	if err != nil {
		return fmt.Errorf("it is no .tar.gz: %w", err)
	}
	missing := map[string]part{}
	for _, part := range j.parts {
		missing[part.member] = part
	}
	t := tar.NewReader(contextReader{ctx, z})
	for len(missing) > 0 {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("it is no .tar.gz, or damaged: %w", err)
		}
		part, ok := missing[path.Clean(h.Name)]
		if !ok || h.Typeflag != tar.TypeReg {
			continue
		}
		if h.Size > maxMember {
			return fmt.Errorf("its file %s has %d bytes, more than any program", h.Name, h.Size)
		}
		if err := p.take(ctx, j, part, t, digest); err != nil {
			return err
		}
		delete(missing, path.Clean(h.Name))
	}
	var errs []error
	for _, part := range j.parts {
		if _, ok := missing[part.member]; ok {
			errs = append(errs, fmt.Errorf("it has no file %s", part.member))
		}
	}
	return errors.Join(errs...)
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
