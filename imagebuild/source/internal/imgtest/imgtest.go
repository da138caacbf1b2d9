// Package imgtest has what the tests of this folder share: disk images, and the
// tools of others that pack them.
package imgtest

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// Pipe runs a program with in as its input, and returns its output.
func Pipe(t testing.TB, in []byte, name string, args ...string) []byte {
	t.Helper()
	tooltest.Need(t, name)
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, &stderr)
	}
	return out
}

// Image returns a disk image of size bytes, the same for the same arguments: a
// boot sector, then pieces that can't be packed, pieces that can, and zeros,
// which do not begin or end at round numbers.
func Image(size int, seed uint64) []byte {
	img := make([]byte, size)
	rng := rand.New(rand.NewPCG(seed, 1))
	for off := 0; off < size; {
		n := min(size-off, 1+rng.IntN(200<<10))
		p := img[off : off+n]
		switch rng.IntN(4) {
		case 0:
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
		case 1:
			for i := range p {
				p[i] = "piimg "[rng.IntN(6)]
			}
		}
		off += n
	}
	if size >= 512 {
		copy(img, "\xeb\x63\x90 boot code")
		copy(img[510:], "\x55\xaa")
	}
	return img
}

// Write makes a file in a temporary folder and returns its path.
func Write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
