package lzma2

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ulikunitz/xz/lzma"
)

// seeds are packed data of all kinds of chunks.
func seeds(f *testing.F) {
	rng := rand.New(rand.NewPCG(4, 4))
	var p Packer
	for _, n := range []int{1, 300, 5000, 70_000} {
		data := mixed(rng, n)
		f.Add(append(p.Pack(data, 0, true), 0), uint32(n))
	}
	noise := make([]byte, 3000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	f.Add(append(p.Pack(noise, 0, true), 0), uint32(len(noise)))
}

// Whatever the bytes are, decoding them ends, in what another decoder takes them for
// or in an error.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, packed []byte, n uint32) {
		n %= 1 << 20
		got, err := unpack(packed, int(n))
		if err != nil {
			return
		}
		r, err := lzma.Reader2Config{DictCap: 1 << 20}.NewReader2(bytes.NewReader(packed))
		if err != nil {
			t.Skip(err)
		}
		want, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(got, want) {
			t.Fatal("two decoders differ")
		}
	})
}

// What can be decoded can be edited.
func FuzzReplay(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, packed []byte, n uint32) {
		n %= 1 << 18
		old, err := unpack(packed, int(n))
		if err != nil || n == 0 {
			return
		}
		e := Edit{Old: slices.Clone(old), New: slices.Clone(old)}
		s := Span{int(n / 3), int(n/3 + n/7)}
		for i := s.From; i < s.To; i++ {
			e.New[i] ^= byte(i)
		}
		e.Changed = []Span{s}
		var p Packer
		parts, err := p.Replay(bytes.NewReader(packed), e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := unpack(append(slices.Clone(parts[0].Chunks), 0), int(n))
		if len(parts) != 1 || err != nil || !bytes.Equal(got, e.New) {
			t.Fatalf("%d parts, %v", len(parts), err)
		}
	})
}
