package xzfile

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/piimg/piimg/imagebuild/lzma2"
	"github.com/piimg/piimg/imagebuild/source/internal/imgtest"
)

// The check of two parts is combined to that of the whole.
func TestCombine(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []Check{CheckCRC32, CheckCRC64} {
		for range 200 {
			p := make([]byte, rng.IntN(1+rng.IntN(5000)))
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			cut := rng.IntN(len(p) + 1)
			got := c.Combine(c.Sum(p[:cut]), c.Sum(p[cut:]), int64(len(p)-cut))
			if !bytes.Equal(got, c.Sum(p)) {
				t.Fatalf("%s of %d + %d bytes: %x instead of %x", c, cut, len(p)-cut, got, c.Sum(p))
			}
		}
	}
}

// What a Writer says of blocks is a file to xz, and to this package.
func TestWriter(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var packer lzma2.Packer
	for _, check := range []Check{CheckNone, CheckCRC32, CheckCRC64, CheckSHA256} {
		for _, blocks := range []int{0, 1, 2, 40} {
			w := Writer{Check: check}
			file := w.Header()
			var want []byte
			for range blocks {
				data := bytes.Repeat([]byte("piimg"), 1+rng.IntN(9000))
				packed := append(packer.Pack(data, 0, true), 0)
				n := int64(len(packed))
				head := BlockHeader(n, int64(len(data)), int64(len(data)))
				file = append(append(append(file, head...), packed...), w.BlockTail(n, check.Sum(data))...)
				w.Block(int64(len(head)+check.Size())+n, int64(len(data)))
				want = append(want, data...)
			}
			file = append(file, w.End()...)
			if got := imgtest.Pipe(t, file, "xz", "-dc"); !bytes.Equal(got, want) {
				t.Fatalf("%s, %d blocks: xz gives something else", check, blocks)
			}
			f, err := Open(bytes.NewReader(file), int64(len(file)))
			if err != nil || len(f.Blocks) != blocks || f.Size != int64(len(want)) {
				t.Fatalf("%s, %d blocks: %v, %v", check, blocks, f, err)
			}
		}
	}
}
