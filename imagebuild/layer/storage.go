package layer

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/diskfs/go-diskfs/backend"
)

// Writable returns the layer for writing, or [ErrFrozen].
func (l *Layer) Writable() (backend.WritableFile, error) {
	if l.frozen.Load() {
		return nil, ErrFrozen
	}
	return writable{l}, nil
}

// Sys returns an error: there is no file of the operating system behind a layer.
func (l *Layer) Sys() (*os.File, error) { return nil, backend.ErrNotSuitable }

// Path returns "", for the same reason.
func (l *Layer) Path() string { return "" }

// Read reads as [io.Reader] says, from where the last Read or Seek ended.
func (l *Layer) Read(p []byte) (int, error) {
	l.posMu.Lock()
	defer l.posMu.Unlock()
	n, err := l.ReadAt(p, l.pos)
	l.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Seek sets where the next Read begins, as [io.Seeker] says.
func (l *Layer) Seek(offset int64, whence int) (int64, error) {
	l.posMu.Lock()
	defer l.posMu.Unlock()
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += l.pos
	case io.SeekEnd:
		offset += l.size
	default:
		return 0, fmt.Errorf("failed to seek in layer: unknown whence %d", whence)
	}
	if offset < 0 {
		return 0, fmt.Errorf("failed to seek in layer: negative position %d", offset)
	}
	l.pos = offset
	return offset, nil
}

// Stat describes the layer as a regular file without a time.
func (l *Layer) Stat() (fs.FileInfo, error) { return info{l.size}, nil }

type info struct{ size int64 }

func (info) Name() string       { return "layer" }
func (i info) Size() int64      { return i.size }
func (info) Mode() fs.FileMode  { return 0o600 }
func (info) ModTime() time.Time { return time.Time{} }
func (info) IsDir() bool        { return false }
func (info) Sys() any           { return nil }
