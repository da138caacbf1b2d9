package disk_test

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/disk"
	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// grown enlarges a partition of the image at path, and the image as needed.
func grown(t *testing.T, path string, index int, size int64) error {
	t.Helper()
	old, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	need, err := old.GrownSize(index, size)
	if err != nil {
		return err
	}
	if err := os.Truncate(path, need); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := layer.New(f, need)
	defer l.Close()
	d, err := disk.Open(l, need)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Grow(index, size); err != nil {
		return err
	}
	var changed []byte
	for _, e := range l.Extents() {
		p := make([]byte, e.Len)
		if _, err := l.ReadAt(p, e.Off); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(p, e.Off); err != nil {
			t.Fatal(err)
		}
		changed = append(changed, p...)
	}
	if len(changed) > 128<<10 {
		t.Errorf("%d bytes were written for a partition table", len(changed))
	}
	return nil
}

func TestGrow(t *testing.T) {
	const boot = "boot code, and what else precedes the table"
	for name, c := range map[string]struct {
		script string
		index  int
		size   int64
	}{
		"raspios":        {"label: dos\nlabel-id: 0xabcdef01\nstart=8192,size=20480,type=c,bootable\nstart=32768,type=83\n", 2, 512 * mib},
		"beyond CHS":     {"label: dos\nlabel-id: 0xabcdef01\nstart=8192,size=20480,type=c\nstart=32768,type=83\n", 2, 40960 * mib},
		"largest of MBR": {"label: dos\nlabel-id: 0xabcdef01\nstart=32768,type=83\n", 1, 0xFFFFFFFF*512 - 32768*512},
		"as it is":       {"label: dos\nlabel-id: 0xabcdef01\nstart=32768,size=32768,type=83\n", 1, 16 * mib},
		"gap in slots":   {"label: dos\n1: size=8M,type=c\n4: type=83,bootable\n", 4, 100 * mib},
		"gpt":            {"label: gpt\nsize=8M,type=uefi,name=boot,attrs=\"RequiredPartition,GUID:60\"\nsize=8M,name=\"Größe 😀\"\n", 2, 300 * mib},
		"gpt, full":      {"label: gpt\nfirst-lba: 34\nsize=8M,type=uefi\n7: type=linux\n", 7, 300*mib + 512},
		"gpt, as it is":  {"label: gpt\nsize=8M\n", 1, 8 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			path := newImage(t, 64*mib, c.script)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte(boot), 0); err != nil {
				t.Fatal(err)
			}
			f.Close()
			before := string(execute(t, "", "sfdisk", "-d", path))
			if err := grown(t, path, c.index, c.size); err != nil {
				t.Fatal(err)
			}
			d, err := open(t, path)
			if err != nil {
				t.Fatal(err)
			}
			asSfdisk(t, d, path)
			if err := d.CheckCopy(); err != nil {
				t.Error(err)
			}
			if p := d.Partitions[len(d.Partitions)-1]; p.Index != c.index || p.Size != c.size {
				t.Errorf("partition %d of %d bytes, want %d of %d", p.Index, p.Size, c.index, c.size)
			}
			// Beside the size of one partition nothing has changed.
			after := string(execute(t, "", "sfdisk", "-d", path))
			sizes := regexp.MustCompile(`size= *\d+`)
			old, now := sizes.FindAllString(before, -1), sizes.FindAllString(after, -1)
			for i := range old[:len(old)-1] {
				if old[i] != now[i] {
					t.Errorf("%s became %s", old[i], now[i])
				}
			}
			bounds := regexp.MustCompile(`(?m)^(last|first)-lba: .*\n`)
			strip := func(s string) string { return bounds.ReplaceAllString(sizes.ReplaceAllString(s, ""), "") }
			if strip(before) != strip(after) {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			head := make([]byte, len(boot))
			if f, err = os.Open(path); err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.ReadAt(head, 0); err != nil || string(head) != boot {
				t.Errorf("%q, %v", head, err)
			}
			if strings.HasPrefix(name, "gpt") {
				if out := execute(t, "", "sgdisk", "-v", path); !bytes.Contains(out, []byte("No problems found")) {
					t.Errorf("%s", out)
				}
				// The copy of before would be mistaken for one by tools that look for it.
				old := make([]byte, 8)
				if _, err := f.ReadAt(old, 64*mib-512); err != nil || (c.size > 64*mib) && string(old) == "EFI PART" {
					t.Errorf("the old copy of the GPT is still there (%v)", err)
				}
			}
		})
	}
}

func TestGrowRefused(t *testing.T) {
	raspios := "label: dos\nstart=8192,size=20480,type=c\nstart=32768,type=83\n"
	for name, c := range map[string]struct {
		script string
		index  int
		size   int64
		want   string
	}{
		"smaller":      {raspios, 2, 8 * mib, "cannot be made smaller"},
		"not the last": {raspios, 1, 48 * mib, "partition 2 lies behind it"},
		"none":         {raspios, 3, 48 * mib, "no partition 3"},
		"odd":          {raspios, 2, 64*mib + 1, "not a multiple of 512"},
		"2 TiB":        {raspios, 2, 2 << 40, "2 TiB of an MBR"},
		"absurd":       {raspios, 2, 1<<63 - 512, "too many"},
		"200 entries":  {"label: gpt\ntable-length: 200\nsize=8M\n", 1, 80 * mib, "the GPT has 200 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			path := newImage(t, 64*mib, c.script)
			if err := grown(t, path, c.index, c.size); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want one that says %q", err, c.want)
			}
		})
	}
	path := newImage(t, 64*mib, "label: gpt\nsize=8M,type=uefi\nsize=8M\n")
	execute(t, "", "sgdisk", "-h", "1:EE", path)
	if err := grown(t, path, 2, 80*mib); err == nil || !strings.Contains(err.Error(), "hybrid") {
		t.Errorf("a hybrid MBR: %v", err)
	}
	// The room has to be there.
	d, err := open(t, newImage(t, 64*mib, raspios))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Grow(2, 64*mib); err == nil || !strings.Contains(err.Error(), "needs an image of") {
		t.Errorf("without the room: %v", err)
	}
}

// The copy of a GPT is compared with it; sgdisk agrees that something is wrong.
func TestCheckCopy(t *testing.T) {
	script := "label: gpt\nsize=8M,type=uefi\nsize=8M\n"
	for name, damage := range map[string]func(f *os.File) error{
		"header zeroed": func(f *os.File) error { _, err := f.WriteAt(make([]byte, 512), 64*mib-512); return err },
		"entry changed": func(f *os.File) error { _, err := f.WriteAt([]byte{1}, 64*mib-33*512+60); return err },
		"image longer":  func(f *os.File) error { return f.Truncate(65 * mib) },
	} {
		t.Run(name, func(t *testing.T) {
			path := newImage(t, 64*mib, script)
			d, err := open(t, path)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.CheckCopy(); err != nil {
				t.Fatalf("undamaged: %v", err)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := damage(f); err != nil {
				t.Fatal(err)
			}
			if d, err = open(t, path); err != nil {
				t.Fatal(err)
			}
			if err := d.CheckCopy(); err == nil || !strings.Contains(err.Error(), "copy of the GPT") {
				t.Errorf("%v", err)
			}
			if out, _ := exec.Command(tooltest.Path(t, "sgdisk"), "-v", path).CombinedOutput(); !bytes.Contains(out, []byte("ERROR")) && bytes.Contains(out, []byte("No problems found")) {
				t.Errorf("sgdisk finds nothing:\n%s", out)
			}
		})
	}
}
