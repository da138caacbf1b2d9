package raspios

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/piimg/piimg/imagebuild/plan/plantest"
)

// The facts of every small image, as inspect prints them.
func TestDetectGolden(t *testing.T) {
	for _, name := range images {
		t.Run(name, func(t *testing.T) {
			i := loadImage(t, name)
			f, err := Detect(i.boot, i.root)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			enc := json.NewEncoder(&out)
			enc.SetIndent("", "  ")
			if err := enc.Encode(f); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".facts.json", out.Bytes())
		})
	}
}

// What piimg put in is found again.
func TestDetectAfterBuild(t *testing.T) {
	for _, name := range images {
		t.Run(name, func(t *testing.T) {
			i := loadImage(t, name)
			build(t, i, config(), 2)
			f, err := Detect(i.boot, i.root)
			if err != nil {
				t.Fatal(err)
			}
			if f.Node == nil || f.Node.Hostname != "blathers" || f.Node.Address != "10.0.0.51/24 on eth0" ||
				f.Node.Base != "base.img.xz" || f.Node.SHA256 != "abc123" || f.Node.Version != "0.1.0" || f.Node.Cluster != "villagers" {
				t.Errorf("node: %+v", f.Node)
			}
			if f.Hostname != "blathers" || f.Timezone != "Europe/Berlin" || f.Locale != "de_DE.UTF-8" || f.Keymap != "gb" {
				t.Errorf("settings: %+v", f)
			}
			if len(f.Users) != 1 || f.Users[0].Name != "owl" || f.Users[0].Home != "/home/owl" || f.Users[0].Shell != "/bin/bash" ||
				f.Users[0].Password != PasswordSet || f.Users[0].Keys != 1 {
				t.Errorf("users: %+v", f.Users)
			}
			if !f.SSH.Enabled || len(f.SSH.HostKeys) != 2 {
				t.Errorf("ssh: %+v", f.SSH)
			}
			if f.Swap.Enabled || f.Swap.By == "" {
				t.Errorf("swap: %+v", f.Swap)
			}
			if len(f.Network.Static) != 1 || f.Network.Static[0] != "eth0 10.0.0.51/24" || f.Network.Country != "DE" ||
				len(f.Network.Wifi) != 1 || f.Network.Wifi[0] != "island" {
				t.Errorf("network: %+v", f.Network)
			}
			if f.CloudInit {
				t.Error("cloud-init is not off")
			}
		})
	}
}

func TestDetectRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		osRelease string
		issue     string
		found     string
		release   bool // an UnsupportedReleaseError
	}{
		"ubuntu":  {"PRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\nID=ubuntu\nVERSION_CODENAME=noble\n", "", "Ubuntu 24.04.1 LTS (noble)", false},
		"armbian": {"PRETTY_NAME=\"Armbian 24.8 bookworm\"\nID=debian\nVERSION_CODENAME=bookworm\n", "", "Armbian 24.8 bookworm", false},
		"debian":  {"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n", "", "Debian GNU/Linux 12 (bookworm)", false},
		"nothing": {"", "Raspberry Pi reference 2024-11-19\n", "no os-release", false},
		"forky":   {"PRETTY_NAME=\"Debian GNU/Linux 14 (forky)\"\nID=debian\nVERSION_CODENAME=forky\n", "x", "forky", true},
		"jessie":  {"PRETTY_NAME=\"Raspbian GNU/Linux 8 (jessie)\"\nID=raspbian\nVERSION_ID=\"8\"\nVERSION=\"8 (jessie)\"\n", "x", "jessie", true},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{"etc/passwd": {Data: []byte("root:x:0:0:root:/root:/bin/bash\n")}}
			if c.osRelease != "" {
				root["usr/lib/os-release"] = &fstest.MapFile{Data: []byte(c.osRelease)}
			}
			if c.issue != "" {
				root["etc/rpi-issue"] = &fstest.MapFile{Data: []byte(c.issue)}
			}
			_, err := Detect(fstest.MapFS{}, root)
			var not *NotRaspberryPiOSError
			var rel *UnsupportedReleaseError
			if errors.As(err, &not) == c.release || errors.As(err, &rel) != c.release || !strings.Contains(err.Error(), c.found) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Stretch's os-release has no code name; older ones have only the number.
func TestDetectStretch(t *testing.T) {
	for _, text := range []string{
		"ID=raspbian\nVERSION=\"9 (stretch)\"\nVERSION_ID=\"9\"\n", "ID=raspbian\nVERSION_ID=\"9\"\n",
	} {
		f, err := Detect(plantest.New(), plantest.New().Put("etc/os-release", text))
		if err != nil || f.Release != Stretch || f.BootMount != "/boot" {
			t.Errorf("%q: %+v, %v", text, f, err)
		}
	}
}

// A file system that fails is an error, not a missing file.
func TestDetectReadError(t *testing.T) {
	_, err := Detect(plantest.New(), broken{plantest.New().Put("etc/os-release", "ID=raspbian\nVERSION_ID=9\n")})
	if err == nil || !strings.Contains(err.Error(), "bad block") {
		t.Errorf("got %v", err)
	}
}

type broken struct{ *plantest.FS }

func (b broken) Open(name string) (fs.File, error) {
	if name == "etc/fstab" || name == "etc/os-release" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("bad block")}
	}
	return b.FS.Open(name)
}

// The file is the beginning of an archive that glibc 2.36 made.
func TestArchiveNames(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "locale-archive"))
	if err != nil {
		t.Fatal(err)
	}
	names, ok, err := archiveNames(bytes.NewReader(data))
	if err != nil || !ok || strings.Join(names, " ") != "en_GB.utf8" {
		t.Errorf("got %v, %v, %v", names, ok, err)
	}
	for n := range archiveHead {
		if names, ok, err := archiveNames(bytes.NewReader(data[:n])); ok || err != nil {
			t.Errorf("%d bytes: %v, %v, %v", n, names, ok, err)
		}
	}
}

func FuzzArchiveNames(f *testing.F) {
	head := make([]byte, archiveHead+archiveEntry)
	for i, v := range []uint32{archiveMagic, 0, archiveHead, 1, 1, archiveHead + archiveEntry, 8} {
		for j := range 4 {
			head[4*i+j] = byte(v >> (8 * j))
		}
	}
	f.Add(append(head, "en_GB\x00\x00\x00"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		names, ok, err := archiveNames(bytes.NewReader(data))
		if err != nil || !ok && len(names) > 0 {
			t.Errorf("%v %v %v", names, ok, err)
		}
	})
}

func FuzzScanStatus(f *testing.F) {
	f.Add([]byte("Package: dpkg\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\nDescription: x\n y: z\n\nPackage: a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = scanStatus(bytes.NewReader(data), func(e statusEntry) {
			if e.pkg == "" {
				t.Error("a paragraph without a package")
			}
		})
	})
}

// Long lines are skipped, not taken apart.
func TestScanStatusLongLines(t *testing.T) {
	long := "Depends: " + strings.Repeat("x, ", 1<<17) + "\nPackage: no\n"
	var got []string
	err := scanStatus(strings.NewReader("Package: a\n"+strings.ReplaceAll(long, "\nPackage: no\n", "\n")+"Version: 1\n\nPackage: b\nVersion: 2"),
		func(e statusEntry) { got = append(got, e.pkg+e.version) })
	if err != nil || strings.Join(got, " ") != "a1 b2" {
		t.Errorf("got %v, %v", got, err)
	}
}

// What other architectures have installed does not count, and what packages
// provide does, unless there is a package of that name.
func TestInstalled(t *testing.T) {
	var all []statusEntry
	err := scanStatus(strings.NewReader(`Package: mawk
Architecture: arm64
Version: 1.3
Provides: awk, libfoo (= 2:1-1), c

Package: libc6
Architecture: armhf
Version: 9

Package: c
Architecture: all
Version: 3
`), func(e statusEntry) { all = append(all, e) })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"mawk": "1.3", "awk": "", "libfoo": "2:1-1", "c": "3"}
	if got := installed(all, "arm64"); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The bootable images, where they are: PIIMG_E2E_IMAGES names their folder.
func TestBootableImages(t *testing.T) {
	dir := os.Getenv("PIIMG_E2E_IMAGES")
	if dir == "" {
		t.Skip("PIIMG_E2E_IMAGES is not set")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.img"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no images in %s: %v", dir, err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			i := openImage(t, name)
			for node := range 3 {
				c := config()
				in := Input{Config: c, Node: c.Nodes[node], Boot: i.Boot, Root: i.Root, Secrets: i.Secrets, Time: buildTime}
				if in.Facts, err = Detect(in.Boot, in.Root); err != nil {
					t.Fatal(err)
				}
				p, err := Plan(in)
				if err != nil {
					t.Fatal(err)
				}
				if node == 0 {
					j, _ := json.MarshalIndent(in.Facts, "", " ")
					t.Logf("%s", j)
				}
				t.Logf("%d edits, %q", len(p.Edits), p.Notices)
			}
		})
	}
}
