package ext4

import (
	"io/fs"
	"os"
	"time"

	"github.com/diskfs/go-diskfs/filesystem"
)

func (f *FS) Mkdir(string) error              { return filesystem.ErrNotImplemented }
func (f *FS) Mknod(string, uint32, int) error { return filesystem.ErrNotImplemented }
func (f *FS) Link(string, string) error       { return filesystem.ErrNotImplemented }
func (f *FS) Symlink(string, string) error    { return filesystem.ErrNotImplemented }
func (f *FS) Chmod(string, fs.FileMode) error { return filesystem.ErrNotImplemented }
func (f *FS) Chown(string, int, int) error    { return filesystem.ErrNotImplemented }
func (f *FS) Lchown(string, int, int) error   { return filesystem.ErrNotImplemented }
func (f *FS) Chtimes(string, time.Time, time.Time, time.Time) error {
	return filesystem.ErrNotImplemented
}
func (f *FS) Rename(string, string) error { return filesystem.ErrNotImplemented }
func (f *FS) Remove(string) error         { return filesystem.ErrNotImplemented }
func (f *FS) SetLabel(string) error       { return filesystem.ErrNotImplemented }

// OpenFile is not written yet, but for reading.
func (f *FS) OpenFile(name string, flag int) (filesystem.File, error) {
	if flag != os.O_RDONLY {
		return nil, filesystem.ErrNotImplemented
	}
	return f.openFile(slashed(name), flag)
}
func (f *File) Write([]byte) (int, error)          { return 0, filesystem.ErrNotImplemented }
func (f *File) WriteAt([]byte, int64) (int, error) { return 0, filesystem.ErrNotImplemented }
func (in *inode) settle() error                    { return filesystem.ErrNotImplemented }
func (m *blockMap) store(*inode) error             { return filesystem.ErrNotImplemented }

type allocator struct{}

const (
	dxRootEntries = 0x20
	dxNodeEntries = 8
	dxEntry       = 8
	dxTail        = 8
)

// dxChecksum computes the checksum of an index block: of its entries in use, and of the unused half of its tail.
func (in *inode) dxChecksum(data []byte, off, count, tail int) uint32 {
	c := crc32c(in.seed(), data[:off+count*dxEntry])
	c = crc32c(c, data[tail:tail+4])
	return crc32c(c, []byte{0, 0, 0, 0})
}
