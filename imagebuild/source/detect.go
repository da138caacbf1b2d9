package source

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/piimg/piimg/imagebuild/source/xzfile"
)

// headSize is how much of a file's beginning recognise looks at: up to where
// ISO 9660 has its first volume descriptor.
const headSize = 0x8000 + 6

// Where ext2, ext3 and ext4 have their magic number.
const (
	extMagicAt = 0x438
	extMagic   = "\x53\xef"
)

// recognise says by the first bytes of a file how the image in it is packed. It
// returns an *Error without a path if it is no image. With fileSystems, an ext4
// file system is one.
func recognise(head []byte, fileSystems bool) (kind string, err error) {
	at := func(off int, s string) bool {
		return len(head) >= off+len(s) && string(head[off:off+len(s)]) == s
	}
	switch {
	case xzfile.Magic(head):
		return KindXZ, nil
	case at(0, "PK\x03\x04"), at(0, "PK\x05\x06"), at(0, "PK\x07\x08"):
		return KindZip, nil
	case at(0, "\x1f\x8b"):
		return KindGzip, nil
	case at(0, "\x28\xb5\x2f\xfd"), len(head) >= 4 && head[0]&0xf0 == 0x50 && at(1, "\x2a\x4d\x18"):
		return KindZstd, nil
	case at(0x8001, "CD001"): // before partition tables: those meant for USB sticks as well have one
		return "", notDisk("an ISO 9660 image (a CD or DVD)")
	case at(510, "\x55\xaa"), fileSystems && at(extMagicAt, extMagic):
		return KindRaw, nil
	}
	for _, m := range []struct {
		off         int
		magic, name string
	}{
		{0, "\x7fELF", "an ELF program"},
		{0, "%PDF", "a PDF document"},
		{0, "7z\xbc\xaf\x27\x1c", "a 7-Zip archive"},
		{0, "BZh", "a bzip2 file"},
		{0, "Rar!\x1a\x07", "a RAR archive"},
		{0, "LZIP", "an lzip file"},
		{0, "\x04\x22\x4d\x18", "an LZ4 file"},
		{0, "\x5d\x00\x00", "an .lzma file (the format before .xz)"},
		{0, "QFI\xfb", "a QCOW image of QEMU"},
		{0, "KDMV", "a VMware image (VMDK)"},
		{0, "vhdxfile", "a Hyper-V image (VHDX)"},
		{0, "conectix", "a Virtual PC image (VHD)"},
		{0, "<<< Oracle VM VirtualBox", "a VirtualBox image (VDI)"},
		{0, "\x3a\xff\x26\xed", "an Android sparse image"},
		{0, "hsqs", "a SquashFS file system without a partition table"},
		{extMagicAt, extMagic, "an ext2, ext3 or ext4 file system without a partition table"},
		{257, "ustar", "a tar archive"},
		{0, "!<arch>", "an ar archive or Debian package"},
		{0, "MZ", "a Windows program"},
		{0, "\x89PNG", "a picture (PNG)"},
		{0, "\xff\xd8\xff", "a picture (JPEG)"},
		{0, "version https://git-lfs", "a Git LFS pointer, not the file that it stands for"},
		{0, "d8:announce", "a torrent file, which only says where the image can be had"},
	} {
		if at(m.off, m.magic) {
			return "", notDisk(m.name)
		}
	}
	if what := textKind(head); what != "" {
		return "", notDisk(what)
	}
	e := &Error{Kind: ErrNotImage, Remedy: "name an .img, .img.xz, .zip, .img.gz or .img.zst file"}
	switch {
	case len(head) < 512:
		e.Detail = fmt.Sprintf("it has only %d bytes", len(head))
	case len(bytes.Trim(head, "\x00")) == 0:
		e.Detail = "it begins with zeros only, where a partition table should be"
	default:
		e.Detail = fmt.Sprintf("it has no partition table (55 aa at byte 510) and begins with % x, which is no known packing", head[:8])
	}
	return "", e
}

// notDisk returns the error for a file of some other kind.
func notDisk(what string) error {
	return &Error{Kind: ErrNotImage, Detail: "it is " + what, Remedy: "name an .img, .img.xz, .zip, .img.gz or .img.zst file"}
}

// textKind names text, which is what a server sends instead of a file, or "".
func textKind(head []byte) string {
	p := head[:min(len(head), 512)]
	for _, c := range p {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			return ""
		}
	}
	s := strings.ToLower(string(bytes.TrimSpace(p)))
	if strings.HasPrefix(s, "<!doctype html") || strings.HasPrefix(s, "<html") {
		return "a web page (HTML), as servers send in place of a file"
	}
	return "a text file"
}

// mib prints a number of bytes for people.
func mib(n int64) string {
	switch {
	case n >= 10<<20 || n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
