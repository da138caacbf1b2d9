package disk_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/partition/gpt"

	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

const mib = 1 << 20

func execute(t testing.TB, stdin, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(tooltest.Path(t, name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, stderr.Bytes())
	}
	return out
}

// newImage makes an image with the partitions of an sfdisk script.
func newImage(t testing.TB, size int64, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	execute(t, script, "sfdisk", "-q", path)
	return path
}

func open(t testing.TB, path string) (*disk.Disk, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	l := layer.New(f, st.Size())
	t.Cleanup(func() { l.Close(); f.Close() })
	return disk.Open(l, l.Size())
}

func openBytes(t testing.TB, b []byte) (*disk.Disk, error) {
	l := layer.New(bytes.NewReader(b), int64(len(b)))
	t.Cleanup(func() { l.Close() })
	return disk.Open(l, l.Size())
}

// asSfdisk compares with what sfdisk says.
func asSfdisk(t *testing.T, d *disk.Disk, path string) {
	t.Helper()
	var want struct {
		PartitionTable struct {
			Label, ID  string
			Sectorsize int64
			Partitions []struct {
				Node, Type, UUID, Name string
				Start, Size            int64
			}
		}
	}
	if err := json.Unmarshal(execute(t, "", "sfdisk", "-J", path), &want); err != nil {
		t.Fatal(err)
	}
	w := want.PartitionTable
	if id := strings.TrimPrefix(strings.ToLower(w.ID), "0x"); d.ID != id {
		t.Errorf("ID %s, want %s", d.ID, id)
	}
	if table := strings.Replace(w.Label, "dos", "mbr", 1); d.Table != table {
		t.Errorf("table %s, want %s", d.Table, table)
	}
	if len(d.Partitions) != len(w.Partitions) {
		t.Fatalf("%d partitions, want %d", len(d.Partitions), len(w.Partitions))
	}
	for i, p := range d.Partitions {
		q := w.Partitions[i]
		index := p.Index
		uuid := strings.ToLower(q.UUID)
		if d.Table == "mbr" {
			uuid = fmt.Sprintf("%s-%02x", d.ID, index)
			q.Type = fmt.Sprintf("%02s", q.Type)
		}
		got := fmt.Sprint(p.Start, p.Size, p.Type, p.PARTUUID, p.Label)
		wanted := fmt.Sprint(q.Start*w.Sectorsize, q.Size*w.Sectorsize, strings.ToLower(q.Type), uuid, q.Name)
		if got != wanted || !strings.HasSuffix(q.Node, fmt.Sprint(index)) {
			t.Errorf("partition %d: %s, want %s %s", index, got, q.Node, wanted)
		}
	}
}

func TestTables(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		parts  int
	}{
		"stretch":  {"label: dos\nlabel-id: 0xabcdef01\nstart=8192,size=20480,type=c\nstart=32768,type=83\n", 2},
		"gap":      {"label: dos\nlabel-id: 0x00000001\n1: size=8M,type=c\n4: type=83,bootable\n", 2},
		"gpt":      {"label: gpt\nsize=8M,type=uefi,name=boot\nsize=8M,name=\"Größe 😀\"\n", 2},
		"gpt, 200": {"label: gpt\ntable-length: 200\n150: size=8M\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			path := newImage(t, 64*mib, c.script)
			d, err := open(t, path)
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Partitions) != c.parts {
				t.Errorf("%d partitions, want %d", len(d.Partitions), c.parts)
			}
			asSfdisk(t, d, path)
		})
	}
}

// writeGPT has go-diskfs write a GPT with one partition, from sector 40 to 44.
func writeGPT(t testing.TB, size int64, block int) []byte {
	t.Helper()
	l := layer.New(bytes.NewReader(make([]byte, size)), size)
	defer l.Close()
	w, err := l.Writable()
	if err != nil {
		t.Fatal(err)
	}
	table := gpt.Table{
		GUID: "43E51892-3273-42F7-BCDA-B43B80CDFC48", ProtectiveMBR: true, LogicalSectorSize: block, PhysicalSectorSize: block,
		Partitions: []*gpt.Partition{{Index: 1, Start: 40, End: 44, Type: gpt.LinuxFilesystem, GUID: "5CA3360B-5DE6-4FCF-B4CE-419CEE433B51", Name: "boot"}},
	}
	if err := table.Write(w, size); err != nil {
		t.Fatal(err)
	}
	image := make([]byte, size)
	if _, err := l.ReadAt(image, 0); err != nil {
		t.Fatal(err)
	}
	return image
}

// TestLargeSectors is about images of disks with sectors of 4 KiB.
func TestLargeSectors(t *testing.T) {
	d, err := openBytes(t, writeGPT(t, mib, 4096))
	if err != nil {
		t.Fatal(err)
	}
	want := disk.Partition{Index: 1, Start: 40 * 4096, Size: 5 * 4096, Type: "0fc63daf-8483-4772-8e79-3d69d8477de4", PARTUUID: "5ca3360b-5de6-4fcf-b4ce-419cee433b51", Label: "boot"}
	if len(d.Partitions) != 1 || d.Partitions[0] != want {
		t.Errorf("got %+v, want %+v", d.Partitions, want)
	}
}

func TestHybrid(t *testing.T) {
	path := newImage(t, 64*mib, "label: gpt\nsize=8M,type=uefi\nsize=8M\n")
	execute(t, "", "sgdisk", "-h", "1:EE", path)
	d, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if d.Table != "gpt" || len(d.Partitions) != 2 {
		t.Errorf("a hybrid MBR: %+v", d)
	}
}

// TestStaleGPT is about a disk that had a GPT once, of which a copy is left: go-diskfs would take it.
func TestStaleGPT(t *testing.T) {
	path := newImage(t, 64*mib, "label: gpt\nsize=8M\nsize=8M\n")
	gptImage, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	path = newImage(t, 64*mib, "label: dos\nstart=8192,type=c\n")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[512:], gptImage[512:34*512])
	copy(b[len(b)-33*512:], gptImage[len(b)-33*512:])
	d, err := openBytes(t, b)
	if err != nil {
		t.Fatal(err)
	}
	if d.Table != "mbr" || len(d.Partitions) != 1 {
		t.Errorf("a stale GPT counts: %+v", d)
	}
}

func TestDamagedGPT(t *testing.T) {
	sound, err := os.ReadFile(newImage(t, 8*mib, "label: gpt\nsize=2M\nsize=2M\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want   string
		damage func(b []byte)
	}{
		{"only the copy at the end", func(b []byte) { b[512+60]++ }},
		{"only the copy at the end", func(b []byte) { b[1024]++ }},
		{"and damaged", func(b []byte) { b[512+60]++; b[len(b)-512+60]++ }},
		{"there is none at sector 1", func(b []byte) { clear(b[512:1024]); clear(b[len(b)-512:]) }},
		{"4294967295 entries of 128 bytes", func(b []byte) { binary.LittleEndian.PutUint32(b[512+80:], 1<<32-1) }},
		{"128 entries of 0 bytes", func(b []byte) { binary.LittleEndian.PutUint32(b[len(b)-512+84:], 0) }},
	} {
		b := bytes.Clone(sound)
		c.damage(b)
		if _, err := openBytes(t, b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	_, err = openBytes(t, sound[:4*mib])
	var truncated *disk.TruncatedError
	if !errors.As(err, &truncated) || truncated.Index != 2 {
		t.Errorf("a GPT image cut off: %v", err)
	}
}

// mbr returns an image of 1 MiB with an MBR.
func mbr(parts ...[3]uint32) []byte {
	b := make([]byte, mib)
	b[510], b[511] = 0x55, 0xaa
	for i, p := range parts {
		e := b[446+16*i:]
		e[4] = byte(p[0])
		binary.LittleEndian.PutUint32(e[8:], p[1])
		binary.LittleEndian.PutUint32(e[12:], p[2])
	}
	return b
}

func TestRefuse(t *testing.T) {
	fatImage, ext4Image := filepath.Join(t.TempDir(), "fat"), filepath.Join(t.TempDir(), "ext4")
	execute(t, "", "mkfs.fat", "-C", "-F", "16", fatImage, "20480")
	execute(t, "", "mke2fs", "-q", "-t", "ext4", ext4Image, "8M")
	bareFAT, _ := os.ReadFile(fatImage)
	bareExt4, _ := os.ReadFile(ext4Image)
	for _, c := range []struct {
		image []byte
		want  string
	}{
		{nil, "0 bytes, less than a sector"},
		{make([]byte, mib), "no partition table: the image is empty; its first 2048 bytes are zeros"},
		{bareFAT, "no partition table: the image is a bare fat16 file system"},
		{bareExt4, "no partition table: the image is a bare ext4 file system"},
		{append([]byte("\xfd7zXZ\x00"), make([]byte, mib)...), "packed by xz"},
		{append([]byte("hello, world, 16"), make([]byte, mib)...), "begins with 68 65 6c 6c 6f"},
		{mbr(), "no partition table"},
		{mbr([3]uint32{12, 64, 4096}), "partition 1 goes from byte 32768 to byte 2129920, but the image has 1048576 bytes: the image is truncated"},
		{mbr([3]uint32{12, 1<<32 - 1, 1<<32 - 1}), "the image is truncated"},
		{mbr([3]uint32{12, 64, 100}, [3]uint32{0x83, 163, 100}), "partitions 1 and 2 overlap: one ends at byte 83968, the other begins at byte 83456"},
		{mbr([3]uint32{12, 64, 100}, [3]uint32{0x83, 64, 1}), "partitions 1 and 2 overlap"},
		{mbr([3]uint32{12, 0, 100}), "partition 1 begins at byte 0"},
	} {
		_, err := openBytes(t, c.image)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// piImage makes an image with a boot and a root file system, in the order that
// script puts them: boot is at bootStart, root at rootStart.
func piImage(t *testing.T, script string, bootStart, rootStart int64, bootFiles, rootFiles []string) string {
	t.Helper()
	path := newImage(t, 96*mib, script)
	root := t.TempDir()
	for _, name := range rootFiles {
		p := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	execute(t, "", "mke2fs", "-q", "-F", "-t", "ext4", "-d", root, "-E", fmt.Sprint("offset=", rootStart), path, "20M")
	execute(t, "", "mkfs.fat", "--offset", fmt.Sprint(bootStart/512), "-F", "16", path, "20480")
	for _, name := range bootFiles {
		execute(t, "x", "mcopy", "-i", fmt.Sprintf("%s@@%d", path, bootStart), "-", "::"+name)
	}
	return path
}

func TestFind(t *testing.T) {
	boot, root := []string{"cmdline.txt", "config.txt"}, []string{"etc/passwd", "usr/lib/os-release"}
	for _, c := range []struct {
		name, script         string
		bootStart, rootStart int64
		boot, root           int
	}{
		{"as usual", "label: dos\nstart=2048,size=20M,type=c\nsize=20M,type=83\n", mib, 21 * mib, 1, 2},
		{"the other way round", "label: dos\nstart=2048,size=20M,type=c\nsize=20M,type=82\nsize=20M,type=83\n", 41 * mib, mib, 3, 1},
		{"gpt", "label: gpt\nstart=2048,size=20M\nsize=20M\nsize=20M\n", 41 * mib, 21 * mib, 3, 2},
	} {
		path := piImage(t, c.script, c.bootStart, c.rootStart, boot, root)
		d, err := open(t, path)
		if err != nil {
			t.Fatal(err)
		}
		b, err1 := d.FindBoot()
		r, err2 := d.FindRoot()
		if err := errors.Join(err1, err2); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if b.Index != c.boot || r.Index != c.root || b.Content != "fat16" || r.Content != "ext4" {
			t.Errorf("%s: boot %+v, root %+v", c.name, b, r)
		}
	}
}

func TestFindNothing(t *testing.T) {
	const script = "label: dos\nstart=2048,size=20M,type=c\nsize=20M,type=83\nsize=20M,type=82\n"
	path := piImage(t, script, mib, 21*mib, []string{"config.txt"}, []string{"etc/passwd"})
	d, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.FindBoot()
	const want = "the image has no boot partition (FAT with cmdline.txt and config.txt): partition 1 (fat16, 20.0 MiB): no cmdline.txt; " +
		"partition 2 (ext4, 20.0 MiB): no FAT file system; partition 3 (type 82, 20.0 MiB): no FAT file system"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err = d.FindRoot(); err == nil || !strings.Contains(err.Error(), "partition 2 (ext4, 20.0 MiB): no etc/os-release") {
		t.Errorf("FindRoot: %v", err)
	}
}

func TestFindSeveral(t *testing.T) {
	const script = "label: dos\nstart=2048,size=20M,type=c\nsize=20M,type=83\nsize=20M,type=83\n"
	path := piImage(t, script, mib, 21*mib, []string{"config.txt", "cmdline.txt"}, []string{"etc/os-release"})
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[41*mib:61*mib], b[21*mib:])
	d, err := openBytes(t, b)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.FindRoot()
	var e *disk.NotFoundError
	if !errors.As(err, &e) || !e.Several || !strings.Contains(err.Error(), "partition 2 (ext4, 20.0 MiB): it would do; partition 3 (ext4, 20.0 MiB): it would do") {
		t.Errorf("FindRoot with two of them: %v", err)
	}
}

// TestFindCorrupt is about a file system that cannot be opened: callers get its error.
func TestFindCorrupt(t *testing.T) {
	const script = "label: dos\nstart=2048,size=20M,type=c\nsize=20M,type=83\n"
	path := piImage(t, script, mib, 21*mib, nil, []string{"etc/os-release"})
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[21*mib+1024+0x60] ^= 0xff // features
	d, err := openBytes(t, b)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.FindRoot()
	var unsupported *ext4.UnsupportedError
	var corrupt *ext4.CorruptError
	if !errors.As(err, &unsupported) && !errors.As(err, &corrupt) {
		t.Errorf("FindRoot of a damaged file system: %v", err)
	}
}

// FuzzOpen opens anything.
func FuzzOpen(f *testing.F) {
	f.Add(mbr([3]uint32{12, 64, 100}, [3]uint32{0x83, 164, 100})[:4096])
	f.Add(writeGPT(f, 40<<10, 512))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := layer.New(bytes.NewReader(b), int64(len(b)))
		defer l.Close()
		d, err := disk.Open(l, int64(len(b)))
		if err != nil {
			return
		}
		for _, p := range d.Partitions {
			if p.Start < 512 || p.Size < 0 || p.Start+p.Size > int64(len(b)) {
				t.Fatalf("partition %+v of an image of %d bytes", p, len(b))
			}
		}
		d.FindBoot()
		d.FindRoot()
	})
}

// TestRealImages looks at the images that PIIMG_TEST_IMAGES names, separated as in PATH.
func TestRealImages(t *testing.T) {
	images := filepath.SplitList(os.Getenv("PIIMG_TEST_IMAGES"))
	if len(images) == 0 {
		t.Skip("PIIMG_TEST_IMAGES names no images of Raspberry Pi OS")
	}
	for _, path := range images {
		d, err := open(t, path)
		if err != nil {
			t.Fatal(err)
		}
		asSfdisk(t, d, path)
		boot, err1 := d.FindBoot()
		root, err2 := d.FindRoot()
		if err := errors.Join(err1, err2); err != nil || boot.Index != 1 || root.Index != 2 {
			t.Errorf("%s: boot %+v, root %+v, %v", path, boot, root, err)
		}
	}
}

// Free is what neither a partition nor the table has.
func TestEachFree(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"label: dos\nstart=4096,size=2048,type=c\nstart=9000,size=100\n", "1+4095 6144+2856 9100+11380 "},
		{"label: dos\nstart=1,size=20479\n", ""},
		{"label: dos\nstart=2048,size=8192,type=5\nstart=4096,size=100\n", "1+2047 10240+10240 "},
		// The usable sectors are 2048 to 20446.
		{"label: gpt\nstart=4096,size=2048\nstart=9000,size=100\n", "2048+2048 6144+2856 9100+11347 "},
		{"label: gpt\nfirst-lba: 34\nstart=34,size=20413\n", ""},
	} {
		d, err := open(t, newImage(t, 20480*512, c.script))
		if err != nil {
			t.Fatalf("%s: %v", c.script, err)
		}
		got := ""
		if err := d.EachFree(func(off, n int64) { got += fmt.Sprintf("%d+%d ", off/512, n/512) }); err != nil {
			t.Fatal(err)
		}
		if got != c.want {
			t.Errorf("%sfree sectors are %s, want %s", c.script, got, c.want)
		}
	}
}
