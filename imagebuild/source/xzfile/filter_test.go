package xzfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/piimg/piimg/imagebuild/source/internal/imgtest"
)

// code returns bytes that are full of what the filters take for instructions, or
// just not, of all the machines.
func code(n int, seed uint64) []byte {
	const parts = "\xe8\xe9\x00\xff\x00\xff" + "\x48\x01\x4b\xfd" + "\xeb\x03" + "\xf0\xf8\xf7\xff" + "\x40\x7f\xc0\x3f" + "\x94\x97\x90\xb0\xd0\x1f" + "\xef\x97\x17\x11\x13\x33\x31"
	rng := rand.New(rand.NewPCG(seed, 3))
	p := make([]byte, n)
	for i := range p {
		if p[i] = parts[rng.IntN(len(parts))]; rng.IntN(3) == 0 {
			p[i] = byte(rng.Uint32())
		}
	}
	return p
}

// TestFilters unpacks what xz has packed with each filter, and with several.
func TestFilters(t *testing.T) {
	t.Parallel()
	inputs := map[string][]byte{"code": code(300_007, 5), "few": code(9, 6), "image": imgtest.Image(100_000, 5)}
	if path, err := os.Executable(); err == nil {
		if program, err := os.ReadFile(path); err == nil {
			inputs["program"] = program[:min(len(program), 2<<20)]
		}
	}
	for args, want := range map[string]string{
		"--x86 --lzma2":                                  "x86+lzma2",
		"--powerpc --lzma2":                              "powerpc+lzma2",
		"--ia64 --lzma2":                                 "ia64+lzma2",
		"--arm --lzma2":                                  "arm+lzma2",
		"--armthumb --lzma2":                             "armthumb+lzma2",
		"--arm64 --lzma2":                                "arm64+lzma2",
		"--sparc --lzma2":                                "sparc+lzma2",
		"--delta --lzma2":                                "delta+lzma2",
		"--delta=dist=256 --lzma2":                       "delta+lzma2",
		"--arm64=start=4096 --lzma2":                     "arm64+lzma2",
		"--x86=start=4294967295 --lzma2":                 "x86+lzma2",
		"--delta=dist=4 --arm --lzma2":                   "delta+arm+lzma2",
		"--x86 --arm64 --delta=dist=3 --lzma2=dict=4KiB": "x86+arm64+delta+lzma2",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			for name, data := range inputs {
				packed := pack(t, data, append(strings.Fields(args), "--block-size=120000")...)
				f := mustUnpack(t, packed, data)
				if b := f.Filtered(); b == nil || b.Filters != want || f.Undecodable() != nil {
					t.Errorf("%s: Filtered is %+v", name, b)
				}
			}
		})
	}
}

// TestFilterRISCV unpacks a file that liblzma 5.8 has packed with --riscv --lzma2.
func TestFilterRISCV(t *testing.T) {
	t.Parallel()
	packed, err := os.ReadFile("testdata/riscv.xz")
	if err != nil {
		t.Fatal(err)
	}
	f := mustUnpack(t, packed, riscvCode())
	if b := f.Filtered(); b == nil || b.Filters != "riscv+lzma2" {
		t.Errorf("Filtered is %+v", b)
	}
}

// riscvCode returns what testdata/riscv.xz unpacks to: JAL and AUIPC with what may
// follow it, at even addresses, and what looks like the encoder's output.
func riscvCode() []byte {
	rng := rand.New(rand.NewPCG(8, 8))
	var p []byte
	for len(p) < 6000 {
		v := rng.Uint32()
		switch rng.IntN(6) {
		case 0:
			p = binary.LittleEndian.AppendUint32(p, v&^0xfff|[]uint32{0xef, 0x2ef, 0x6f, 0x1ef}[rng.IntN(4)])
		case 1, 2:
			rd := []uint32{0, 1, 2, 2, 5, 10}[rng.IntN(6)]
			p = binary.LittleEndian.AppendUint32(p, v&^0xfff|3<<12|rd<<7|0x17)
			p = binary.LittleEndian.AppendUint32(p, rng.Uint32()&^0xf8003|rd<<15|3)
		case 3:
			p = binary.LittleEndian.AppendUint32(p, v&^0xfff|0x517)
		default:
			p = binary.LittleEndian.AppendUint16(p, uint16(v))
		}
	}
	return p
}

// TestFilterPieces reads in pieces of all sizes.
func TestFilterPieces(t *testing.T) {
	t.Parallel()
	data := code(filterBuffer*3+5, 7)
	for id := int64(filterDelta); id <= filterRISCV; id++ {
		var props []byte
		if id == filterDelta {
			props = []byte{9}
		}
		f, known, valid := parseFilter(id, props)
		if !known || !valid {
			t.Fatalf("%s: known %v, valid %v", filterName(id), known, valid)
		}
		want, err := io.ReadAll(newFilterReader(bytes.NewReader(data), f))
		if err != nil || len(want) != len(data) || bytes.Equal(want, data) {
			t.Fatalf("%s: %d of %d bytes, error %v", filterName(id), len(want), len(data), err)
		}
		for name, r := range map[string]io.Reader{
			"one byte in":         newFilterReader(iotest.OneByteReader(bytes.NewReader(data)), f),
			"one byte out":        iotest.OneByteReader(newFilterReader(bytes.NewReader(data), f)),
			"halves, end at once": iotest.HalfReader(newFilterReader(iotest.DataErrReader(bytes.NewReader(data)), f)),
		} {
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %s: other bytes, or error %v", filterName(id), name, err)
			}
		}
		bad := errors.New("bad")
		if _, err := io.ReadAll(newFilterReader(io.MultiReader(bytes.NewReader(data), iotest.ErrReader(bad)), f)); err != bad {
			t.Errorf("%s: error is %v", filterName(id), err)
		}
	}
}

// TestWrongFilters changes the filters in a block's header, with right checksums.
func TestWrongFilters(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(1000, 5)
	packed := pack(t, img, "--x86=start=16", "--lzma2", "-T1")
	// Behind the stream's header: size, flags, x86 with four bytes, lzma2 with one.
	head := packed[12:28]
	if !bytes.HasPrefix(head[1:], []byte{1, filterX86, 4, 16, 0, 0, 0, filterLZMA2, 1}) {
		t.Fatalf("xz writes another header: % x", head)
	}
	for name, c := range map[string]struct {
		at     int
		bytes  string
		kind   error
		detail string
	}{
		"unknown filter":     {2, "\x0c", ErrUnsupported, "0xc+lzma2"},
		"not aligned":        {2, "\x05\x04\x01", ErrCorrupt, "properties of the powerpc filter"},
		"too long a delta":   {2, "\x03", ErrCorrupt, "properties of the delta filter"},
		"lzma2 twice":        {2, "\x21\x01\x16\x21\x01\x16", ErrUnsupported, "lzma2+lzma2"},
		"not compressed":     {1, "\x00", ErrCorrupt, "header"},
		"lzma2 not the last": {2, "\x21\x01\x16\x04\x00\x00\x00\x00", ErrUnsupported, "lzma2+x86"},
	} {
		bad := bytes.Clone(packed)
		h := bad[12:28]
		copy(h[c.at:], c.bytes)
		if strings.HasPrefix(c.bytes, "\x21") {
			clear(h[c.at+len(c.bytes) : 12])
		}
		binary.LittleEndian.PutUint32(h[12:], crc32.ChecksumIEEE(h[:12]))
		_, _, err := unpack(bad)
		if name == "not compressed" {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
			continue
		}
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.detail) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
