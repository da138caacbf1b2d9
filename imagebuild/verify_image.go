package imagebuild

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/piimg/piimg/imagebuild/bmap"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/manifest"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/source"
)

// maxPerImage is how many problems of a kind are told of an image.
const maxPerImage = 20

// imageVerifier verifies what is in one image.
type imageVerifier struct {
	*verifier
	node   *manifest.Node
	name   string
	format string
	blocks *bmap.Map // nil without a sound one
}

// verify notes all problems. The error is that of the context.
func (v *imageVerifier) verify(ctx context.Context) (err error) {
	tmp, err := v.tempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	// What has to be unpacked is not worth keeping: it is looked at once.
	image, err := openBuilt(ctx, filepath.Join(v.dir, v.name), tmp)
	if err != nil {
		return v.unreadable(ctx, err)
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	if kind := image.Packing().Kind; kind != v.format {
		v.problem(v.name, "it is packed as %s, and in %s as %s", kind, manifest.Name, v.format)
	}
	if err := v.scan(ctx, image.Image); err != nil {
		return v.unreadable(ctx, err)
	}
	quiet := v.o
	quiet.Progress, quiet.Notice = func(string, int64, int64) {}, func(string) {}
	checked, err := checkOpened(ctx, v.name, image.layer, quiet)
	if err != nil {
		return v.unreadable(ctx, err)
	}
	v.findings(checked)
	if err := v.edits(ctx, image.layer); err != nil {
		return v.unreadable(ctx, err)
	}
	v.unmapped(image.layer)
	return ctx.Err()
}

// tempDir makes a folder for what has to be unpacked, where a build would. Of what a
// build has made, that is nothing: whoever has no cache folder verifies it all the same.
func (v *imageVerifier) tempDir() (string, error) {
	dir, err := v.o.CacheDir, error(nil)
	if dir == "" {
		dir, err = source.DefaultCacheDir()
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		if dir, err = os.MkdirTemp(dir, "verify-"); err == nil {
			return dir, nil
		}
	}
	dir, tempErr := os.MkdirTemp("", "piimg-verify-")
	if tempErr != nil {
		return "", fmt.Errorf("there is no folder to unpack images to: %w", errors.Join(err, tempErr))
	}
	return dir, nil
}

// unreadable notes an error, unless it is the context's.
func (v *imageVerifier) unreadable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	v.problem(v.name, "%v", err)
	return nil
}

// scan reads all of the image once, for its digest and its block map.
func (v *imageVerifier) scan(ctx context.Context, image *source.Image) error {
	h := sha256.New()
	var blocks *bmap.Checker
	bad := 0
	if v.blocks != nil {
		blocks = bmap.NewChecker(v.blocks, func(r bmap.Range) {
			if bad++; bad <= maxPerImage {
				v.problem(v.name, "its blocks %d-%d are not those of %s", r.First, r.Last, v.node.Map.Name)
			}
		}, func(off int64) {
			if bad++; bad <= maxPerImage {
				v.problem(v.name, "%s leaves out bytes at %d that are not zero", v.node.Map.Name, off)
			}
		})
	}
	zeros := make([]byte, 64<<10)
	err := image.Scan(ctx, func(c source.Chunk) error {
		v.progress(c.Len)
		if c.Data != nil {
			h.Write(c.Data)
			if blocks != nil {
				_, _ = blocks.Write(c.Data) // which has no errors
			}
			return nil
		}
		for left := c.Len; left > 0; left -= int64(len(zeros)) {
			h.Write(zeros[:min(left, int64(len(zeros)))])
		}
		if blocks != nil {
			blocks.Zeros(c.Len)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if blocks != nil {
		blocks.End()
	}
	if bad > maxPerImage {
		v.problem(v.name, "%d more of its blocks are not those of %s", bad-maxPerImage, v.node.Map.Name)
	}
	if size := image.Size(); size != v.node.Unpacked.Size {
		v.problem(v.name, "unpacked it has %d bytes, and %d in %s", size, v.node.Unpacked.Size, manifest.Name)
	} else if sum := hex.EncodeToString(h.Sum(nil)); sum != v.node.Unpacked.SHA256 {
		v.problem(v.name, "unpacked its sha256 is %s, and %s in %s", sum, v.node.Unpacked.SHA256, manifest.Name)
	}
	return nil
}

// findings notes what is wrong with the partition table and the file systems.
func (v *imageVerifier) findings(r *CheckReport) {
	tell := func(where string, all []Finding, more int) {
		for i, f := range all {
			if i == maxPerImage {
				more += len(all) - i
				break
			}
			v.problem(v.name, "%s: %s", where, f)
		}
		if more > 0 {
			v.problem(v.name, "%s: %d more findings; piimg check lists them", where, more)
		}
	}
	tell("partition table", r.Findings, 0)
	for _, p := range r.Partitions {
		if p.Problem != "" {
			v.problem(v.name, "%s: %s", p.name(), p.Problem)
		}
		tell(p.name(), p.Findings, p.Omitted)
	}
}

// edits finds every edit of the manifest in the image.
func (v *imageVerifier) edits(ctx context.Context, l *layer.Layer) error {
	parts, err := locate(l)
	if err != nil {
		return err
	}
	files, err := parts.open(l, true, time.Time{})
	if err != nil {
		return err
	}
	bad := 0
	tell := func(err error) {
		if bad++; bad <= maxPerImage {
			v.problem(v.name, "%v", err)
		}
	}
	wrong := plan.VerifyRecords(ctx, files.boot, files.root, tell, v.manifest.Edits, v.node.Edits)
	if err := files.close(); err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	for _, err := range unjoin(wrong) {
		tell(err)
	}
	if bad > maxPerImage {
		v.problem(v.name, "%d more edits are not there", bad-maxPerImage)
	}
	return nil
}

// unjoin returns the errors that were joined.
func unjoin(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// unmapped sees to it that the block map leaves out nothing that is in use.
func (v *imageVerifier) unmapped(l *layer.Layer) {
	if v.blocks == nil || v.blocks.BlockSize != bmap.BlockSize || v.blocks.Size != l.Size() {
		return
	}
	free, err := freeAround(l)
	if err != nil {
		v.problem(v.name, "%v", err)
		return
	}
	bad, next := 0, int64(0)
	gap := func(end int64) {
		for ; next < end; next++ {
			if !free.Has(next) {
				if bad++; bad <= maxPerImage {
					v.problem(v.node.Map.Name, "it leaves out block %d of the image, which is in use", next)
				}
			}
		}
	}
	for _, r := range v.blocks.Ranges {
		gap(r.First)
		next = r.Last + 1
	}
	gap(bmap.Blocks(v.blocks.Size, bmap.BlockSize))
	if bad > maxPerImage {
		v.problem(v.node.Map.Name, "it leaves out %d more blocks that are in use", bad-maxPerImage)
	}
}

// hashFile returns the SHA-256 of a file in hex, and its size.
func hashFile(ctx context.Context, path string) (sum string, size int64, err error) {
	if info, err := os.Stat(path); err != nil {
		return "", 0, err
	} else if !info.Mode().IsRegular() { // a pipe would be waited for without an end
		return "", 0, errors.New("it is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.CopyBuffer(h, readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return f.Read(p)
	}), make([]byte, 1<<20))
	return hex.EncodeToString(h.Sum(nil)), size, err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// WriteText prints the report for people: a line for each problem, and one that says
// what was looked at. The form may change.
func (r *VerifyReport) WriteText(w io.Writer) error {
	for _, p := range r.Problems {
		if _, err := fmt.Fprintln(w, p); err != nil {
			return err
		}
	}
	count := func(n int, what string) string {
		if n != 1 {
			what += "s"
		}
		return fmt.Sprintf("%d %s", n, what)
	}
	result := "all is as it was built"
	if !r.Clean() {
		result = count(len(r.Problems), "problem")
	}
	_, err := fmt.Fprintf(w, "%s: %s, %s: %s\n", r.Dir, count(r.Files, "file"), count(r.Images, "image"), result)
	return err
}
