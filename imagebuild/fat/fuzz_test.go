package fat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/layer"
)

// smallest returns a FAT32 file system of 64 sectors, with a few files in it.
func smallest(t testing.TB) []byte {
	le := binary.LittleEndian
	b := make([]byte, 64*512)
	copy(b, "\xeb\x58\x90piimg   ")
	le.PutUint16(b[11:], 512)
	b[13] = 1               // sectors per cluster
	le.PutUint16(b[14:], 4) // reserved
	b[16] = 2               // FATs
	b[21] = 0xf8
	le.PutUint32(b[32:], 64)
	le.PutUint32(b[36:], 1)
	le.PutUint32(b[44:], 2)
	le.PutUint16(b[48:], 1)
	le.PutUint16(b[50:], 2)
	b[66] = 0x29
	copy(b[71:], noLabel+"FAT32   ")
	b[510], b[511] = 0x55, 0xaa
	le.PutUint32(b[512:], infoSignature1)
	le.PutUint32(b[512+484:], infoSignature2)
	copy(b[1024:], b[:512])
	for _, fat := range []int{4 * 512, 5 * 512} {
		le.PutUint32(b[fat:], 0x0ffffff8)
		le.PutUint32(b[fat+4:], 0x0fffffff)
		le.PutUint32(b[fat+8:], 0x0fffffff)
	}
	l := layer.New(bytes.NewReader(b), int64(len(b)))
	defer l.Close()
	f := open(t, l)
	if err := errors.Join(f.SetLabel("boot"), f.Mkdir("overlays"), f.Mkdir("overlays/more")); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		writeString(t, f, fmt.Sprintf("overlays/a long name %d.txt", i), strings.Repeat("x", i*100))
	}
	writeString(t, f, "cmdline.txt", "console=tty1\n")
	if err := errors.Join(f.Remove("overlays/a long name 7.txt"), f.Close()); err != nil {
		t.Fatal(err)
	}
	out := make([]byte, len(b))
	if _, err := l.ReadAt(out, 0); err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzOpen opens anything; what can be opened can also be read and edited, and opened again.
func FuzzOpen(f *testing.F) {
	sound := smallest(f)
	f.Add(sound)
	for _, at := range []int{13, 16, 44, 4*512 + 12, 5*512 + 12, 6*512 + 26, 6*512 + 11} {
		b := bytes.Clone(sound)
		b[at]++
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l := layer.New(bytes.NewReader(b), int64(len(b)))
		defer l.Close()
		v, err := Open(l, 0, int64(len(b)), Options{Time: buildTime})
		if err != nil {
			return
		}
		var names []string
		err = fs.WalkDir(v, ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil || len(names) > 100 {
				return errors.Join(err, fs.SkipAll)
			}
			if names = append(names, p); d.IsDir() {
				return nil
			}
			_, err = fs.ReadFile(v, p)
			return err
		})
		if err != nil && !errors.Is(err, fs.SkipAll) {
			t.Fatalf("what was opened cannot be read: %v", err)
		}
		v.Info()
		for i, p := range names {
			switch i % 5 {
			case 0:
				v.WriteFile(p, io.LimitReader(zeros{}, int64(i*300)), int64(i*300))
			case 1:
				v.Remove(p)
			case 2:
				v.Rename(p, fmt.Sprintf("renamed %d", i))
			case 3:
				v.Mkdir(p + "/new directory")
			case 4:
				if h, err := v.OpenFile(p, os.O_RDWR|os.O_APPEND); err == nil {
					h.Write(make([]byte, i*100))
				}
			}
		}
		v.SetLabel("fuzz")
		v.RemoveAll("overlays")
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(l, 0, int64(len(b)), Options{}); err != nil {
			t.Fatalf("what was edited cannot be opened: %v", err)
		}
	})
}
