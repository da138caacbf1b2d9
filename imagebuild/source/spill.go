package source

import (
	"errors"
	"io/fs"
	"os"
	"sync"

	"github.com/piimg/piimg/imagebuild/hostfile"
)

// spill keeps decoded blocks in a temporary file, sparsely, each at its place
// in the image. Reading the metadata of a file system goes back and forth
// through the image; without it, a cache of few large blocks would decode the
// same blocks over and over. It is a convenience: if the file can't be written,
// blocks are decoded again.
type spill struct {
	dir func() (string, error)

	mu     sync.Mutex
	file   *os.File
	remove bool // the file could not be removed while open
	failed bool
	have   map[int]bool // blocks in the file
}

// put stores block i, which stands at off in the image.
func (s *spill) put(i int, off int64, data []byte) {
	f := s.open()
	if f == nil {
		return
	}
	err := writeSparse(f, off, data)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = true // what has been stored can still be read
		return
	}
	if s.have == nil {
		s.have = make(map[int]bool)
	}
	s.have[i] = true
}

// get reads block i into data and says whether it was there.
func (s *spill) get(i int, off int64, data []byte) bool {
	s.mu.Lock()
	f, have := s.file, s.have[i]
	s.mu.Unlock()
	if !have {
		return false
	}
	// The file ends with the last byte that isn't in a hole.
	clear(data)
	_, err := f.ReadAt(data, off)
	return err == nil || isEOF(err)
}

// open returns the file, which it makes, or nil.
func (s *spill) open() *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil || s.failed {
		if s.failed {
			return nil
		}
		return s.file
	}
	dir, err := s.dir()
	if err == nil {
		s.file, err = os.CreateTemp(dir, "blocks-*.part")
	}
	if err != nil {
		s.failed = true
		return nil
	}
	hostfile.MakeSparse(s.file)
	// Without a name, the file goes away however the process ends. Not all
	// systems can do it.
	if err := os.Remove(s.file.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.remove = true
	}
	return s.file
}

func (s *spill) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.remove {
		if rerr := os.Remove(s.file.Name()); err == nil {
			err = rerr
		}
	}
	s.file, s.have, s.failed = nil, nil, true
	return err
}
