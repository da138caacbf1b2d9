// Package artifactstest makes the smallest files that a folder of artifacts takes,
// for tests.
package artifactstest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Program returns the least that is an ELF program.
func Program(m elf.Machine) []byte {
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(m), Version: 1, Ehsize: 64, Phentsize: 56, Shentsize: 64,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// Entry is a file of an archive.
type Entry struct{ Name, Content string }

// Tar returns an archive.
func Tar(entries ...Entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&tar.Header{Name: e.Name, Size: int64(len(e.Content)), Mode: 0o644, Format: tar.FormatUSTAR}); err != nil {
			panic(err)
		}
		if _, err := w.Write([]byte(e.Content)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// Config returns an image's configuration; arch is Go's.
func Config(arch string) string {
	return fmt.Sprintf(`{"architecture":%q,"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`, arch)
}

// DockerArchive returns what docker save writes of images with one configuration.
func DockerArchive(arch string, refs ...string) []byte {
	tags, err := json.Marshal(refs)
	if err != nil {
		panic(err)
	}
	return Tar(
		Entry{"layer.tar", strings.Repeat("\x00", 10240)},
		Entry{"config.json", Config(arch)},
		Entry{"manifest.json", fmt.Sprintf(`[{"Config":"config.json","RepoTags":%s,"Layers":["layer.tar"]}]`, tags)},
	)
}

// OCIArchive returns an OCI layout with an image in an index of its own, as
// builders write it, with a statement about the image beside it.
func OCIArchive(arch, ref string) []byte {
	var entries []Entry
	blob := func(kind, content, more string) string {
		d := digest([]byte(content))
		entries = append(entries, Entry{"blobs/" + strings.Replace(d, ":", "/", 1), content})
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, kind, d, len(content), more)
	}
	elsewhere := func(arch, os string) string { // not in the archive
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":7,"platform":{"architecture":%q,"os":%q}}`, manifestType, digest([]byte(arch)), arch, os)
	}
	layer := blob(layerType, string(Gzip(Tar())), "")
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, manifestType, blob(configType, Config(arch), ""), layer)
	image := blob(manifestType, manifest, fmt.Sprintf(`,"platform":{"architecture":%q,"os":"linux"}`, arch))
	index := blob(indexType, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s,%s,%s]}`, indexType,
		image, elsewhere("unknown", "unknown"), elsewhere("s390x", "linux")),
		fmt.Sprintf(`,"annotations":{"org.opencontainers.image.ref.name":%q}`, ref))
	return Tar(append(entries,
		Entry{"./oci-layout", `{"imageLayoutVersion":"1.0.0"}`},
		Entry{"./index.json", fmt.Sprintf(`{"schemaVersion":2,"manifests":[%s]}`, index)},
	)...)
}

// Gzip packs b.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// Zstd packs b.
func Zstd(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)
}
