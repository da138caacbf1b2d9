package artifacts

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// readProgram reads an ELF file's architecture, and its version if the Go
// toolchain wrote one into it.
func readProgram(r io.ReaderAt, size int64) (Item, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return Item{}, fmt.Errorf("damaged ELF file: %w", unexpected(err))
	}
	defer f.Close()
	arch, err := elfArch(f)
	if err != nil {
		return Item{}, err
	}
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return Item{}, fmt.Errorf("an ELF file, but no program (%v)", f.Type)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && (p.Filesz > uint64(size) || p.Off > uint64(size)-p.Filesz) {
			return Item{}, io.ErrUnexpectedEOF
		}
	}
	it := Item{Kind: Binary, Arch: arch}
	if info, err := buildinfo.Read(r); err == nil {
		it.Version = builtVersion(info)
	}
	return it, nil
}

// elfArch names the architecture as dpkg does.
func elfArch(f *elf.File) (string, error) {
	type machine struct {
		elf.Machine
		elf.Class
		elf.Data
	}
	known := map[machine]string{
		{elf.EM_AARCH64, elf.ELFCLASS64, elf.ELFDATA2LSB}: "arm64",
		{elf.EM_ARM, elf.ELFCLASS32, elf.ELFDATA2LSB}:     "armhf",
		{elf.EM_X86_64, elf.ELFCLASS64, elf.ELFDATA2LSB}:  "amd64",
		{elf.EM_386, elf.ELFCLASS32, elf.ELFDATA2LSB}:     "i386",
		{elf.EM_RISCV, elf.ELFCLASS64, elf.ELFDATA2LSB}:   "riscv64",
		{elf.EM_PPC64, elf.ELFCLASS64, elf.ELFDATA2LSB}:   "ppc64el",
		{elf.EM_S390, elf.ELFCLASS64, elf.ELFDATA2MSB}:    "s390x",
	}
	if arch, ok := known[machine{f.Machine, f.Class, f.Data}]; ok {
		return arch, nil
	}
	return "", fmt.Errorf("a program for %v, %v, %v, which no Raspberry Pi runs", f.Machine, f.Class, f.Data)
}

// exactVersion is a version that names a release.
var exactVersion = regexp.MustCompile(`^v?(\d+\.\d+\.\d+(?:[-+~.][0-9A-Za-z.+~-]*)?)$`)

// moduleVersion is that of a module's release, not one that Go made up for a
// commit, nor one of a work tree that was changed.
var moduleVersion = regexp.MustCompile(`^v(\d+\.\d+\.\d+(?:\+[a-z0-9]+)?)$`)

// builtVersion returns the version of a Go program: what the linker was told to
// set, or else that of the main module. It is "" for a program that does not tell,
// as those of Kubernetes' own releases.
func builtVersion(info *buildinfo.BuildInfo) string {
	for _, s := range info.Settings {
		if s.Key != "-ldflags" {
			continue
		}
		for _, flag := range strings.Fields(s.Value) {
			name, value, ok := strings.Cut(strings.Trim(flag, `"'`), "=")
			name = strings.ToLower(name[strings.LastIndexByte(name, '/')+1:])
			switch name {
			case "version.gitversion", "version.version", "main.gitversion", "main.version":
				if v := exactVersion.FindStringSubmatch(value); ok && v != nil {
					return v[1]
				}
			}
		}
	}
	if v := moduleVersion.FindStringSubmatch(strings.TrimSuffix(info.Main.Version, "+dirty")); v != nil {
		return v[1]
	}
	return ""
}

// namesVersion reports whether a program that does not state its version has it
// among its strings, as v1.34.1. That it has does not prove its version; that it
// has not proves another one, of programs that are known to have.
func namesVersion(r io.Reader, version string) (bool, error) {
	want := []byte("v" + version)
	const step = 256 << 10
	buf := make([]byte, 0, step+len(want))
	for {
		n, err := io.ReadFull(r, buf[len(buf):len(buf)+step])
		buf = buf[:len(buf)+n]
		if bytes.Contains(buf, want) {
			return true, nil
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		keep := min(len(buf), len(want)-1)
		buf = append(buf[:0], buf[len(buf)-keep:]...)
	}
}

// printsVersion reports whether a program is one that is known to have its
// version among its strings.
func printsVersion(name string) bool {
	switch name {
	case "kubeadm", "kubelet", "kubectl", "k3s":
		return true
	}
	return false
}
