package fat

import "fmt"

// checkedDir is a directory on the way from the root to where the check is.
type checkedDir struct {
	path    string
	parent  *checkedDir // nil: this is the root directory
	first   uint32      // cluster; 0: the root directory of FAT12 and FAT16
	extents []extent    // where it is, as far as its chain is sound
	depth   int
	rest    *entryReader // what has not been looked at yet
}

// extent is a stretch of bytes, from the start of the file system.
type extent struct{ off, n int64 }

// checkTree walks the directories from the root down. It holds those only that
// lead to where it is.
func (c *checker) checkTree() error {
	l := c.layout
	d := &checkedDir{path: ".", first: l.root}
	if l.root == 0 {
		d.extents = []extent{{l.rootDir, int64(l.rootSlots) * slotSize}}
	} else {
		c.follow(d)
	}
	if err := c.checkNames(d); err != nil {
		return err
	}
	for d != nil {
		e, err := d.rest.next()
		switch {
		case err != nil:
			return err
		case e == nil:
			d = d.parent
			continue
		}
		sub := c.checkEntry(d, e)
		if sub == nil {
			continue
		}
		if err := c.checkNames(sub); err != nil {
			return err
		}
		d = sub
	}
	return nil
}

// checkEntry checks what an entry of d leads to. It returns the directory that it
// is, if that can be looked into.
func (c *checker) checkEntry(d *checkedDir, e *entry) *checkedDir {
	path := join(d.path, e.name)
	first := e.cluster(c.layout.bits)
	if e.isDir() {
		c.report.Directories++
		return c.checkSubdirectory(d, e, path, first)
	}
	if e.slot[11]&attrLabel == 0 {
		c.report.Files++
	}
	var n uint32
	if first != 0 {
		sound := false
		if n, sound = c.chain(path, first, func(uint32) {}); !sound {
			return nil
		}
	}
	switch room, size := int64(n)*c.layout.cluster, int64(e.size()); {
	case size > room:
		c.found(CodeSize, path, "%d bytes, but clusters for %d", size, room)
	case n > 0 && size <= room-c.layout.cluster:
		c.found(CodeSize, path, "%d bytes, but clusters for %d: more than are needed", size, room)
	}
	return nil
}

func (c *checker) checkSubdirectory(d *checkedDir, e *entry, path string, first uint32) *checkedDir {
	if e.size() != 0 {
		c.found(CodeSize, path, "a directory with a size, of %d bytes", e.size())
	}
	if first == 0 {
		c.found(CodeDirectory, path, "a directory without a cluster")
		return nil
	}
	sub := &checkedDir{path: path, parent: d, first: first, depth: d.depth + 1}
	c.follow(sub)
	if sub.depth > maxDepth {
		c.found(CodeDirectory, path, "nested more than %d deep; what is in it was not checked, and counts as lost", maxDepth)
		return nil
	}
	return sub
}

// follow finds where a directory is.
func (c *checker) follow(d *checkedDir) {
	room := max(maxSlots*slotSize, c.layout.cluster)
	n, _ := c.chain(d.path, d.first, func(cluster uint32) {
		off := c.layout.offset(cluster)
		if room -= c.layout.cluster; room < 0 {
			return
		}
		if k := len(d.extents) - 1; k >= 0 && d.extents[k].off+d.extents[k].n == off {
			d.extents[k].n += c.layout.cluster
		} else {
			d.extents = append(d.extents, extent{off, c.layout.cluster})
		}
	})
	if room < 0 {
		c.found(CodeDirectory, d.path, "it has %d bytes, and may have %d; what is behind that was not checked, and counts as lost",
			int64(n)*c.layout.cluster, maxSlots*slotSize)
	}
}

// chain marks the clusters of the chain from first on as used, as far as it is
// sound, and calls visit with each. It returns how many they are, and whether the
// chain is sound as a whole.
func (c *checker) chain(path string, first uint32, visit func(cluster uint32)) (n uint32, sound bool) {
	t := c.table
	for cluster := first; ; {
		switch {
		case cluster < 2 || cluster > t.last:
			c.find(Finding{CodeChain, path, cluster, ""}, "the chain leads there, and there are only 2 to %d", t.last)
			return n, false
		case c.used.has(cluster):
			what := "the chain leads there, but the cluster belongs to something else, too"
			if c.within(cluster, first, n) {
				what = "the chain leads back there, and has no end"
			}
			c.find(Finding{CodeShared, path, cluster, ""}, "%s", what)
			return n, false
		}
		next := t.ClusterValue(cluster)
		switch next {
		case 0, t.bad():
			state := "free"
			if next != 0 {
				state = "marked bad"
			}
			c.find(Finding{CodeChain, path, cluster, ""}, "the chain leads there, but the cluster is %s", state)
			return n, false
		}
		c.used.set(cluster)
		visit(cluster)
		n++
		if t.IsEOC(next) {
			return n, true
		}
		cluster = next
	}
}

// within reports whether cluster is one of the n from first on.
func (c *checker) within(cluster, first, n uint32) bool {
	for ; n > 0; n-- {
		if first == cluster {
			return true
		}
		first = c.table.ClusterValue(first)
	}
	return false
}

// slotReader reads the slots of a directory one after the other.
type slotReader struct {
	c       *checker
	extents []extent
	buf     []byte // read, but not given out
	n       int    // how many were given out
}

// next returns the next slot, which is valid until the next call, or nil behind the last.
func (r *slotReader) next() ([]byte, error) {
	if len(r.buf) == 0 {
		if len(r.extents) == 0 {
			return nil, nil
		}
		// Extents are whole sectors, or else the root directory's whole slots.
		x := &r.extents[0]
		r.buf = make([]byte, min(x.n, 4096))
		if err := r.c.read(r.buf, x.off); err != nil {
			return nil, fmt.Errorf("failed to read a directory: %w", err)
		}
		x.off += int64(len(r.buf))
		if x.n -= int64(len(r.buf)); x.n == 0 {
			r.extents = r.extents[1:]
		}
	}
	s := r.buf[:slotSize]
	r.buf = r.buf[slotSize:]
	r.n++
	return s, nil
}

// entryReader reads the entries of a directory, but "." and "..".
type entryReader struct {
	slots slotReader
	skip  int // slots
	long  longName
}

// next returns the next entry, or nil behind the last.
func (r *entryReader) next() (*entry, error) {
	for {
		s, err := r.slots.next()
		if s == nil {
			return nil, err
		}
		if r.slots.n <= r.skip {
			continue
		}
		if e := r.add(s); e != nil {
			return e, nil
		}
	}
}

// add takes one slot, and returns the entry that it completes.
func (r *entryReader) add(s []byte) *entry {
	switch {
	case s[0] == slotEnd, s[0] == slotFree:
		r.long = longName{}
		return nil
	case s[11] == attrLong:
		r.long.add(s, r.slots.n-1)
		return nil
	}
	e := &entry{slot: [slotSize]byte(s)}
	e.name = e.short().decode(s[12])
	if name, _, ok := r.long.fits(e.short()); ok {
		e.name = name
	}
	r.long = longName{}
	return e
}
