package plan

// maxReserved is the largest content that is made room for, in bytes.
const maxReserved = 1 << 20

// place is a path with its name as it is spelt: on FAT, key is not.
type place struct {
	partition Partition
	path      string
}

// use says what the plans do at a place.
type use struct {
	writers, links int
	size           int64 // of the longest content
}

func (s *Splitter) use(at place) *use {
	u := s.uses[at]
	if u == nil {
		u = &use{}
		s.uses[at] = u
	}
	return u
}

func (u *use) count(e Edit) {
	switch e.Op {
	case Write:
		u.writers++
		u.size = max(u.size, e.Size())
	case Symlink:
		u.links++
	}
}

// Reserved returns writes of zeros to the files that every node writes, each
// with content of its own. Applied with what the nodes share, before what is
// their own, they change nothing of the outcome: every node overwrites them.
// But then the files, with their names, inodes and blocks, are where they are
// in all nodes' images, next to each other, and a node's own edits leave
// directories and bitmaps alone.
func (s *Splitter) Reserved() []Edit {
	s.divide()
	if s.plans < 2 {
		return nil
	}
	// Own edits that a reserved file may stand in the way of.
	moved := s.ownEarly()
	var above []Edit
	for at, u := range s.uses {
		e := Edit{Partition: at.partition, Path: at.path}
		if _, shared := s.common[e.key()]; !shared && u.writers+u.links > 0 {
			above = append(above, e)
		}
	}
	var out []Edit
	for _, e := range s.first {
		if _, shared := s.common[e.key()]; shared || e.Op != Write {
			continue
		}
		u := s.uses[place{e.Partition, e.Path}]
		if u.writers < s.plans || u.size > maxReserved || overtaken(e, moved) || underneath(e, above) {
			continue
		}
		e.Content, e.Source = make([]byte, u.size), nil
		out = append(out, e)
	}
	return out
}

// underneath reports whether the edit's path leads through one that another
// edit makes no folder.
func underneath(e Edit, others []Edit) bool {
	for _, o := range others {
		if o.Partition == e.Partition && below(e.key().path, o.key().path) {
			return true
		}
	}
	return false
}
