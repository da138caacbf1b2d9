package lzma2

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// blockOf returns a block's worth of data: of the file named by PIIMG_BENCH_IMAGE, or
// made up.
func blockOf(b *testing.B) []byte {
	const size = 24 << 20
	name := os.Getenv("PIIMG_BENCH_IMAGE")
	if name == "" {
		return mixed(rand.New(rand.NewPCG(3, 3)), size)
	}
	f, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 1560<<20); err != nil {
		b.Fatal(err)
	}
	return data
}

func BenchmarkDecode(b *testing.B) {
	data := blockOf(b)
	packed := xz(b, data, rawArgs("preset=6")...)
	b.Logf("%d bytes packed", len(packed))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		got, err := unpack(packed, len(data))
		if err != nil || !bytes.Equal(got, data) {
			b.Fatal("wrong data", err)
		}
	}
}

func BenchmarkPack(b *testing.B) {
	data := blockOf(b)
	var p Packer
	b.SetBytes(int64(len(data)))
	var packed []byte
	for b.Loop() {
		packed = p.Pack(data, 0, true)
	}
	b.ReportMetric(float64(len(packed))/float64(len(xz(b, data, rawArgs("preset=6")...))), "times-xz-6")
}

func BenchmarkReplay(b *testing.B) {
	data := blockOf(b)
	packed := xz(b, data, rawArgs("preset=6")...)
	var p Packer
	e := Edit{Old: data, New: slices.Clone(data), Holes: []Span{{64 << 10, 128 << 10}}}
	b.SetBytes(int64(len(data)))
	var parts []Part
	for b.Loop() {
		var err error
		if parts, err = p.Replay(bytes.NewReader(packed), e); err != nil {
			b.Fatal(err)
		}
	}
	n := 0
	for _, part := range parts {
		n += len(part.Chunks)
	}
	b.ReportMetric(float64(n)/float64(len(packed)), "times-xz-6")
}
