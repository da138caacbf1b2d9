package raspios

import (
	"io/fs"
	"sync"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
)

// maxLoaded is how many bytes of the host's files a Shared keeps.
const maxLoaded = 64 << 20

// Shared is what the plans of a cluster's nodes have in common, so that it is found
// out once: what the image holds where plans look, the addresses of all nodes, the
// user's files, what is derived slowly. Plans come out the same without it. It may
// be used by several goroutines at once.
type Shared struct {
	boot, root *memo
	hosts      hostsBlock

	mu      sync.Mutex
	files   map[string]hostFile
	room    int64 // how much more of files may be kept, in bytes
	derived map[derivation]string
}

// hostFile is a file of the host as it was when it was first needed.
type hostFile struct {
	content []byte
	source  *plan.Source
}

// derivation says what was derived, and from what.
type derivation struct{ kind, from, salt string }

// NewShared returns what the plans of config's nodes have in common for one image,
// whose partitions are boot and root. They must not change as long as it is used.
func NewShared(config *nodes.Config, boot, root fs.FS) *Shared {
	return &Shared{
		boot: newMemo(boot), root: newMemo(root), hosts: newHostsBlock(config),
		files: map[string]hostFile{}, room: maxLoaded, derived: map[derivation]string{},
	}
}

// load is [load], once for each file.
func (s *Shared) load(name string, open func() (fs.File, error)) ([]byte, *plan.Source, error) {
	s.mu.Lock()
	f, ok := s.files[name]
	s.mu.Unlock()
	if ok {
		return f.content, f.source, nil
	}
	content, source, err := load(name, open)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.files[name]; ok { // another goroutine was as fast
		return f.content, f.source, nil
	}
	if n := int64(len(content)); n <= s.room {
		s.room -= n
		s.files[name] = hostFile{content, source}
	}
	return content, source, nil
}

// derive calls fn once for each derivation.
func (s *Shared) derive(d derivation, fn func() (string, error)) (string, error) {
	s.mu.Lock()
	known, ok := s.derived[d]
	s.mu.Unlock()
	if ok {
		return known, nil
	}
	out, err := fn()
	if err == nil {
		s.mu.Lock()
		s.derived[d] = out
		s.mu.Unlock()
	}
	return out, err
}
