package ext4

import (
	"bytes"
	"fmt"
	"os"
	"testing"
)

func benchImage(b *testing.B) []byte {
	b.Helper()
	img := mkfs(b, layout{"", []string{"-b", "4096", "-O", "^64bit,^huge_file"}, "256M", nil}, tree(b))
	data, err := os.ReadFile(img)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

func BenchmarkOpen(b *testing.B) {
	data := benchImage(b)
	for b.Loop() {
		f, err := Open(newMemory(data), 0, int64(len(data)), Options{Time: testTime()})
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEditOneFile(b *testing.B) {
	data := benchImage(b)
	i := 0
	for b.Loop() {
		f, err := Open(newMemory(data), 0, int64(len(data)), Options{Time: testTime()})
		if err != nil {
			b.Fatal(err)
		}
		i++
		put(b, f, "etc/hostname", []byte(fmt.Sprintf("node-%d\n", i)))
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreate1000Files(b *testing.B) {
	original := benchImage(b)
	data := bytes.Clone(original)
	content := noise(3000, 1)
	for b.Loop() {
		b.StopTimer()
		copy(data, original)
		b.StartTimer()
		f, err := Open(newMemory(data), 0, int64(len(data)), Options{Time: testTime()})
		if err != nil {
			b.Fatal(err)
		}
		for i := range 1000 {
			put(b, f, fmt.Sprintf("etc/file-%d", i), content)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
