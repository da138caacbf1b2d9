package artifacts

import (
	"debug/elf"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/artifacts/artifactstest"
)

// No bytes of a file make it panic, hang or take much memory.
func FuzzIdentify(f *testing.F) {
	docker := artifactstest.DockerArchive("arm64", "a:1", "b:2")
	for _, seed := range [][]byte{
		artifactstest.Program(elf.EM_AARCH64), docker, artifactstest.Gzip(docker), artifactstest.Zstd(docker),
		artifactstest.OCIArchive("arm", "a:1"), []byte("#!/bin/sh"), []byte(arMagic),
	} {
		f.Add(seed)
	}
	control := artifactstest.Tar(artifactstest.Entry{Name: "./control", Content: "Package: a\nVersion: 1\nArchitecture: all\nDepends: b (>= 2) | c\n"})
	for _, packed := range []struct {
		name    string
		content []byte
	}{{"control.tar", control}, {"control.tar.gz", artifactstest.Gzip(control)}, {"control.tar.zst", artifactstest.Zstd(control)}} {
		f.Add(ar("debian-binary", "2.0\n", packed.name, string(packed.content), "data.tar", ""))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		it, err := identified(t, "bin/x", content)
		if err != nil {
			return
		}
		if it.Kind == "" || it.Name == "" || it.Arch == "" {
			t.Errorf("%+v", it)
		}
		_ = it.gives(Requirement{Kind: Image, Name: "a"})
		_ = it.unfit(Requirement{Kind: Deb, Name: "a", Version: "1"})
		parseDepends(it.Depends)
	})
}

// Documents that point to each other many times, each small enough, end in an error
// and not in a search without an end.
func TestManyPointers(t *testing.T) {
	list := func(name string) string {
		return `{"manifests":[` + strings.Repeat(`{"digest":"sha256:`+name+`"},`, 3000) + `{"digest":"sha256:` + name + `"}]}`
	}
	layout := artifactstest.Tar(
		artifactstest.Entry{Name: "oci-layout", Content: `{"imageLayoutVersion":"1.0.0"}`},
		artifactstest.Entry{Name: "index.json", Content: list("a")},
		artifactstest.Entry{Name: "blobs/sha256/a", Content: list("b")},
		artifactstest.Entry{Name: "blobs/sha256/b", Content: list("c")},
		artifactstest.Entry{Name: "blobs/sha256/c", Content: `{"manifests":[]}`})
	docker := artifactstest.Tar(
		artifactstest.Entry{Name: "c.json", Content: `{"architecture":"arm64","os":"linux","x":"` + strings.Repeat("x", 1<<20) + `"}`},
		artifactstest.Entry{Name: "manifest.json", Content: `[` + strings.Repeat(`{"Config":"c.json"},`, 9999) + `{"Config":"c.json"}]`})
	for _, content := range [][]byte{layout, docker} {
		if _, err := identified(t, "images/x.tar", content); err == nil || !strings.Contains(err.Error(), "too often") {
			t.Errorf("got %v", err)
		}
	}
}

// ar returns an archive of names and contents in turn.
func ar(members ...string) []byte {
	var b strings.Builder
	b.WriteString(arMagic)
	for i := 0; i < len(members); i += 2 {
		b.WriteString(arHeaderOf(members[i], len(members[i+1])))
		b.WriteString(members[i+1])
		if len(members[i+1])%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return []byte(b.String())
}

func FuzzLists(f *testing.F) {
	f.Add(string(testLock().Format()))
	f.Add(strings.Repeat("a", 64) + "  x\n\\" + strings.Repeat("b", 64) + " *a\\nb\n")
	f.Fuzz(func(t *testing.T, text string) {
		if s, problems := ParseSums(text); len(problems) == 0 {
			again, problems := ParseSums(string(s.Format()))
			if len(problems) > 0 || len(again) != len(s) {
				t.Errorf("%q is written as %q", text, s.Format())
			}
		}
		if l, err := ParseLock("artifacts.lock", []byte(text)); err == nil {
			again, err := ParseLock("artifacts.lock", l.Format())
			if err != nil || string(again.Format()) != string(l.Format()) {
				t.Errorf("%q is written as %q: %v", text, l.Format(), err)
			}
		}
	})
}
