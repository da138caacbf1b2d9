package ext4

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// Each image is checked by a process of its own, with so much memory and time.
const (
	publishedMemory = 1 << 20 // KiB of address space
	publishedTime   = time.Minute
)

// TestPublishedImages compares Check with e2fsck -fn on the images of damaged
// file systems that e2fsprogs is tested with. EXT4_E2FSPROGS_TESTS names its
// folder tests; testdata/e2fsprogs/run.sh fetches it. EXT4_E2FSPROGS_RESULTS
// is where the table is written to. Differences must be explained in
// testdata/e2fsprogs/differences.txt.
func TestPublishedImages(t *testing.T) {
	if img := os.Getenv("EXT4_CHECK_ONE"); img != "" {
		fmt.Print("VERDICT " + verdict(t, img) + "\n")
		return
	}
	dir := os.Getenv("EXT4_E2FSPROGS_TESTS")
	if dir == "" {
		t.Skip("EXT4_E2FSPROGS_TESTS names no folder")
	}
	explained := differences(t)
	images, err := filepath.Glob(filepath.Join(dir, "*", "image.*z*"))
	if err != nil || len(images) == 0 {
		t.Fatalf("no images in %s (%v)", dir, err)
	}
	var table strings.Builder
	same, total := 0, 0
	for _, packed := range images {
		name := filepath.Base(filepath.Dir(packed))
		img := filepath.Join(t.TempDir(), "image")
		if err := unpack(packed, img); err != nil {
			t.Logf("%s: left out: %v", name, err)
			continue
		}
		total++
		peer, peerClean := peerVerdict(t, img)
		ours, oursClean := childVerdict(t, img)
		if err := os.Remove(img); err != nil {
			t.Error(err)
		}
		agree, why := "yes", ""
		switch {
		case peerClean == oursClean:
			same++
			if explained[name] != "" {
				t.Errorf("%s: differences.txt explains a difference that is none", name)
			}
		default:
			agree, why = "no", explained[name]
			if why == "" {
				t.Errorf("%s: e2fsck %s, Check %s", name, peer, ours)
			}
		}
		delete(explained, name)
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s |\n", name, peer, ours, agree, why)
	}
	for _, name := range slices.Sorted(maps.Keys(explained)) {
		t.Errorf("differences.txt explains %s, which is no image", name)
	}
	t.Logf("%d images, %d verdicts agree", total, same)
	if out := os.Getenv("EXT4_E2FSPROGS_RESULTS"); out != "" {
		head := fmt.Sprintf("%d images; on %d of them the verdicts agree.\n\n| image | e2fsck -fn | Check | same? | why not |\n|---|---|---|---|---|\n", total, same)
		if err := os.WriteFile(out, []byte(head+table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// verdict is what Check says of the image, in a line.
func verdict(t *testing.T, img string) string {
	r, err := checkImage(t, img)
	var unsupported *UnsupportedError
	var damaged *CorruptError
	switch {
	case errors.As(err, &unsupported):
		return "refused: " + strings.Join(unsupported.Features, ", ")
	case errors.As(err, &damaged):
		return "refused: " + damaged.Structure
	case err != nil:
		return "error: " + err.Error()
	case r.Clean():
		return "clean"
	}
	count := map[Code]int{}
	for _, f := range r.Findings {
		count[f.Code]++
	}
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%s %d", code, count[code]))
	}
	return strings.Join(parts, ", ")
}

// childVerdict has another process check the image, within bounds.
func childVerdict(t *testing.T, img string) (text string, clean bool) {
	ctx, cancel := context.WithTimeout(context.Background(), publishedTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", fmt.Sprintf(`ulimit -v %d; exec "$0" -test.run '^TestPublishedImages$'`, publishedMemory), os.Args[0])
	cmd.Env = append(os.Environ(), "EXT4_CHECK_ONE="+img)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("Check of %s: %v\n%.2000s", img, err, out)
		return "failed", false
	}
	_, rest, _ := strings.Cut(string(out), "VERDICT ")
	text, _, _ = strings.Cut(rest, "\n")
	return text, text == "clean"
}

// peerVerdict is what e2fsck says: its exit code, and whether it is content.
func peerVerdict(t *testing.T, img string) (text string, clean bool) {
	ctx, cancel := context.WithTimeout(context.Background(), publishedTime/4)
	defer cancel()
	out, err := exec.CommandContext(ctx, tooltest.Path(t, "e2fsck"), "-fn", img).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "does not end", false
	case err == nil && !offersToMend(out):
		return "clean", true
	case errors.As(err, &exit):
		return fmt.Sprintf("exit %d", exit.ExitCode()), false
	}
	return fmt.Sprintf("clean, but %d offers to mend", bytes.Count(out, []byte("? no"))), false
}

// differences reads the explanations: a name, a colon, and why the verdicts differ.
func differences(t *testing.T) map[string]string {
	data, err := os.ReadFile("../../testdata/e2fsprogs/differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if name, why, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.HasPrefix(name, "#") {
			out[name] = why
		}
	}
	return out
}

func unpack(packed, img string) error {
	data, err := os.ReadFile(packed)
	if err != nil {
		return err
	}
	var r io.Reader
	switch {
	case strings.HasSuffix(packed, ".tar.bz2"):
		return errors.New("its script unpacks an archive")
	case strings.HasSuffix(packed, ".bz2"):
		r = bzip2.NewReader(bytes.NewReader(data))
	default:
		if r, err = gzip.NewReader(bytes.NewReader(data)); err != nil {
			return err
		}
	}
	out, err := os.Create(img)
	if err != nil {
		return err
	}
	// Most of these images are zeros, which are left as holes.
	buf := make([]byte, 1<<16)
	size := int64(0)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 && !isZero(buf[:n]) {
			if _, err := out.WriteAt(buf[:n], size); err != nil {
				return errors.Join(err, out.Close())
			}
		}
		size += int64(n)
		if err != nil {
			break
		}
	}
	return errors.Join(out.Truncate(size), out.Close())
}
