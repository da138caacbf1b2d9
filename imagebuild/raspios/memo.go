package raspios

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"sync"
)

// Limits of a memo: what is beyond them is asked for again each time.
const (
	maxAnswers  = 100_000  // names
	maxRemember = 32 << 20 // bytes of files
)

// memo is a file system that does not change, and remembers what it was asked:
// plans look at the same few files of an image for every node. It may be used by
// several goroutines at once.
type memo struct {
	fs.FS // Lstat and the like are those of memo

	mu    sync.Mutex
	lstat map[string]answer[fs.FileInfo]
	links map[string]answer[string]
	dirs  map[string]answer[[]fs.DirEntry]
	files map[string][]byte
	room  int64 // how many more bytes of files may be kept
}

// answer is what a file system said: nothing but "there is none" is remembered of
// errors.
type answer[T any] struct {
	v   T
	err error
}

var _ fs.ReadLinkFS = (*memo)(nil)

func newMemo(base fs.FS) *memo {
	return &memo{
		FS: base, lstat: map[string]answer[fs.FileInfo]{}, links: map[string]answer[string]{},
		dirs: map[string]answer[[]fs.DirEntry]{}, files: map[string][]byte{}, room: maxRemember,
	}
}

// remembered returns what is known of a name, or else asks.
func remembered[T any](m *memo, known map[string]answer[T], name string, ask func() (T, error)) (T, error) {
	m.mu.Lock()
	a, ok := known[name]
	m.mu.Unlock()
	if ok {
		return a.v, a.err
	}
	a.v, a.err = ask()
	if a.err == nil || errors.Is(a.err, fs.ErrNotExist) {
		m.mu.Lock()
		if len(known) < maxAnswers {
			known[name] = a
		}
		m.mu.Unlock()
	}
	return a.v, a.err
}

// Lstat implements [fs.ReadLinkFS].
func (m *memo) Lstat(name string) (fs.FileInfo, error) {
	return remembered(m, m.lstat, name, func() (fs.FileInfo, error) { return fs.Lstat(m.FS, name) })
}

// ReadLink implements [fs.ReadLinkFS].
func (m *memo) ReadLink(name string) (string, error) {
	return remembered(m, m.links, name, func() (string, error) { return fs.ReadLink(m.FS, name) })
}

// ReadDir implements [fs.ReadDirFS].
func (m *memo) ReadDir(name string) ([]fs.DirEntry, error) {
	return remembered(m, m.dirs, name, func() ([]fs.DirEntry, error) { return fs.ReadDir(m.FS, name) })
}

// Open implements [fs.FS].
func (m *memo) Open(name string) (fs.File, error) {
	info, err := m.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxRead {
		return m.FS.Open(name)
	}
	m.mu.Lock()
	content, ok := m.files[name]
	m.mu.Unlock()
	if !ok {
		if content, err = readFile(m.FS, name); err != nil {
			return nil, err
		}
		m.mu.Lock()
		if n := int64(len(content)); m.files[name] == nil && n <= m.room {
			m.files[name], m.room = content, m.room-n
		}
		m.mu.Unlock()
	}
	return &memoFile{Reader: bytes.NewReader(content), info: info}, nil
}

// readFile reads a file of at most maxRead bytes, and one byte more of a longer one.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRead+1))
}

// memoFile is a remembered file.
type memoFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *memoFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *memoFile) Close() error               { return nil }
