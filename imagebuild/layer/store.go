package layer

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// slabPages is how many pages of memory are asked for at a time.
const slabPages = 64

// store holds the changed pages of a tree of layers, each in a slot: the first
// slots are in memory, the others in a temporary file. Who holds a slot takes
// care that it is not written and read at the same time.
type store struct {
	inMemory uint32 // slots below it are in memory
	dir      string
	batches  sync.Pool // of *batch, which saves every write 68 KiB of garbage

	mu       sync.RWMutex
	slabs    [][]byte
	used     uint32   // slots of memory in use or in freeMem
	freeMem  []uint32 // taken first, last freed first
	file     *os.File
	usedFile uint32
	freeFile []uint32
	// remove is the temporary file's name, where it could not be unlinked at once.
	remove string
}

func newStore(limit int64, dir string) *store {
	return &store{
		inMemory: uint32(min(max(limit/PageSize, 0), 1<<31)),
		dir:      dir,
		batches:  sync.Pool{New: func() any { return new(batch) }},
	}
}

// alloc returns a slot of undefined content.
func (s *store) alloc() (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot, ok := pop(&s.freeMem); ok {
		return slot, nil
	}
	if s.used < s.inMemory {
		if s.used%slabPages == 0 {
			s.slabs = append(s.slabs, make([]byte, min(slabPages, s.inMemory-s.used)*PageSize))
		}
		s.used++
		return s.used - 1, nil
	}
	if slot, ok := pop(&s.freeFile); ok {
		return slot, nil
	}
	if s.file == nil {
		if err := s.open(); err != nil {
			return 0, err
		}
	}
	if s.inMemory+s.usedFile == ^uint32(0) {
		return 0, errors.New("failed to keep a changed page: too many of them")
	}
	s.usedFile++
	return s.inMemory + s.usedFile - 1, nil
}

func pop(list *[]uint32) (uint32, bool) {
	n := len(*list)
	if n == 0 {
		return 0, false
	}
	slot := (*list)[n-1]
	*list = (*list)[:n-1]
	return slot, true
}

func (s *store) open() error {
	f, err := os.CreateTemp(s.dir, "piimg-layer-*")
	if err != nil {
		return fmt.Errorf("failed to make a temporary file for changed pages: %w", err)
	}
	s.file = f
	if err := unlinkOpen(f.Name()); err != nil {
		s.remove = f.Name()
	}
	return nil
}

func (s *store) free(slot uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot < s.inMemory {
		s.freeMem = append(s.freeMem, slot)
	} else {
		s.freeFile = append(s.freeFile, slot)
	}
}

// where returns the memory of a slot, or else the file and the offset in it.
func (s *store) where(slot uint32) ([]byte, *os.File, int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if slot < s.inMemory {
		slab := s.slabs[slot/slabPages]
		in := slot % slabPages * PageSize
		return slab[in : in+PageSize], nil, 0
	}
	return nil, s.file, int64(slot-s.inMemory) * PageSize
}

// read fills p with the bytes of slot from in on.
func (s *store) read(slot uint32, p []byte, in int) error {
	mem, file, off := s.where(slot)
	if mem != nil {
		copy(p, mem[in:])
		return nil
	}
	if _, err := file.ReadAt(p, off+int64(in)); err != nil {
		return fmt.Errorf("failed to read a changed page from its temporary file: %w", err)
	}
	return nil
}

// write makes p the first bytes of slot.
func (s *store) write(slot uint32, p []byte) error {
	mem, file, off := s.where(slot)
	if mem != nil {
		copy(mem, p)
		return nil
	}
	if _, err := file.WriteAt(p, off); err != nil {
		return fmt.Errorf("failed to write a changed page to its temporary file: %w", err)
	}
	return nil
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slabs = nil
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.remove != "" {
		err = errors.Join(err, os.Remove(s.remove))
	}
	s.file = nil
	return err
}
