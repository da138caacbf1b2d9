package artifacts

import (
	"bytes"
	"strings"
	"testing"
)

func testLock() Lock {
	return Lock{}.With(
		Locked{Rel: "images/pause.tar", From: "registry.k8s.io/pause:3.10.1", Digest: "sha256:" + strings.Repeat("1", 64), Kind: Image, Name: "registry.k8s.io/pause:3.10.1", Arch: arch, Size: 5},
		Locked{Rel: "bin/k3s", From: "https://example.net/k3s", Digest: "sha256:" + strings.Repeat("2", 64), Kind: Binary, Name: "k3s", Version: "1.34.1+k3s1", Arch: arch, Size: 1 << 40, SHA256: [32]byte{7}},
		Locked{Rel: "bin/\"odd\": #name\\", From: "https://example.net/?a=b:c", Digest: "sha256:" + strings.Repeat("3", 64), Kind: Binary, Arch: arch},
	)
}

// A lock is read as it was written, and written as it was read.
func TestLockRoundTrip(t *testing.T) {
	l := testLock()
	text := l.Format()
	got, err := ParseLock("artifacts.lock", text)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Format(), text) || len(got.Files) != 3 {
		t.Errorf("got\n%s\nwant\n%s", got.Format(), text)
	}
	for i, f := range l.Files {
		if got.Files[i] != f {
			t.Errorf("got %+v, want %+v", got.Files[i], f)
		}
	}
	if empty, err := ParseLock("artifacts.lock", Lock{}.Format()); err != nil || len(empty.Files) != 0 {
		t.Errorf("%v, %v", empty, err)
	}
	if d := l.Digest("https://example.net/k3s", arch); !strings.HasSuffix(d, "222") {
		t.Errorf("digest %q", d)
	}
	if d := l.Digest("https://example.net/k3s", "armhf"); d != "" {
		t.Errorf("another architecture has the digest %q", d)
	}
	replaced := l.With(Locked{Rel: "bin/k3s", Size: 9})
	if f, ok := replaced.File("bin/k3s"); !ok || f.Size != 9 || len(replaced.Files) != 3 || len(l.Files) != 3 {
		t.Errorf("%+v", replaced)
	}
}

func TestLockProblems(t *testing.T) {
	text := string(testLock().Format())
	for _, c := range []struct{ old, new, want string }{
		{"version: 1", "version: 2", "artifacts.lock:4:10: version: version 2 is not known"},
		{"sha256:1", "sha512:1", "the digest is not sha256:"},
		{"sha256: \"07", "sha256: \"7", "not one of 64 hexadecimal digits"},
		{"path: \"bin/k3s\"", "path: \"../k3s\"", "leads out of the folder"},
		{"path: \"bin/k3s\"", "path: \"images/pause.tar\"", "listed twice"},
		{"size: 5", "size: -5", "the size is negative"},
		{"size: 5", "size: lots", "size"},
		{"    arch:", "    ark:", "ark"},
	} {
		_, err := ParseLock("artifacts.lock", []byte(strings.Replace(text, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.new, err)
		}
	}
}

// A file that is not the one that was fetched is refused even if SHA256SUMS was
// made anew; what a file does not tell comes from the lock.
func TestOpenLock(t *testing.T) {
	f := newFolder(t)
	f.write("bin/tool", []byte("#!/bin/sh\n"))
	f.sum()
	it := f.open().Items[0]
	lock := Lock{}.With(Locked{Rel: "bin/tool", From: "https://example.net/tool", Digest: "sha256:" + strings.Repeat("0", 64), Kind: Binary, Version: "1.2.3", SHA256: it.SHA256})
	f.write(LockName, lock.Format())
	if v := f.open().Items[0].Version; v != "1.2.3" {
		t.Errorf("version %q", v)
	}
	f.write("bin/tool", []byte("#!/bin/bash\n"))
	f.sum()
	f.says(f.problems(), "bin/tool: is not the file that artifacts.lock says was fetched from https://example.net/tool")
	f.write(LockName, []byte("version: 1\n"))
	f.says(f.problems(), "artifacts.lock: ", "files")
}

func TestSums(t *testing.T) {
	f := newFolder(t)
	for _, name := range []string{"plain", "two words", "back\\slash", "line\nfeed", "debs/*star"} {
		f.write(name, []byte("#!"+name))
	}
	f.sum()
	names := map[string]bool{}
	for _, it := range f.open().Items {
		names[it.Rel] = true
	}
	if len(names) != 5 || !names["line\nfeed"] || !names["back\\slash"] {
		t.Errorf("got %v", names)
	}
	text := strings.Repeat("a", 64) + "  x\r\n\n\\" + strings.Repeat("A", 64) + " *a\\nb\\\\c\n"
	s, problems := ParseSums(text)
	if len(problems) > 0 || len(s) != 2 {
		t.Fatalf("%v, %q", s, problems)
	}
	if want := strings.ToLower("\\" + strings.Repeat("A", 64) + "  a\\nb\\\\c\n" + strings.Repeat("a", 64) + "  x\n"); string(s.Format()) != want {
		t.Errorf("got %q, want %q", s.Format(), want)
	}
	for _, bad := range []string{"SHA256 (x) = " + strings.Repeat("a", 64), strings.Repeat("g", 64) + "  x", strings.Repeat("a", 64) + "  /x", "\\" + strings.Repeat("a", 64) + "  a\\x", strings.Repeat("a", 64) + "  .",
		strings.Repeat("a", 64) + "  x\n" + strings.Repeat("b", 64) + "  ./x"} {
		if _, problems := ParseSums(bad); len(problems) != 1 {
			t.Errorf("%q: %q", bad, problems)
		}
	}
}
