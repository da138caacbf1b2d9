package fat

import (
	"bytes"
	"fmt"
	"strings"
)

// maxDepth is how deep directories may be nested.
const maxDepth = 128

// bitset has a bit for each cluster.
type bitset []uint64

func (b bitset) has(n uint32) bool { return b[n/64]&(1<<(n%64)) != 0 }
func (b bitset) set(n uint32)      { b[n/64] |= 1 << (n % 64) }

// pending is a directory whose chain has been found sound, but not its entries.
type pending struct {
	path  string
	first uint32
	depth int
}

// validate walks the whole file system: every chain is within the data area, has an
// end and shares no cluster with another, and every entry has a name that can be
// used. It returns how many clusters are in use without belonging to anything.
// It takes memory for one directory, a bit a cluster and a little for each directory.
func (fs *FS) validate() (lost uint32, err error) {
	used := make(bitset, fs.table.last/64+1)
	mark := func(c uint32) error {
		if used.has(c) {
			return fmt.Errorf("cluster %d is used twice", c)
		}
		used.set(c)
		return nil
	}
	if fs.layout.root != 0 {
		if _, err := fs.table.chain(fs.layout.root, mark); err != nil {
			return 0, corrupt("root directory", "%v", err)
		}
	}
	for todo := []pending{{path: "."}}; len(todo) > 0; {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		d, err := fs.loadDir(p.path, p.first)
		if err != nil {
			return 0, err
		}
		seen := map[shortName]bool{}
		for _, e := range d.entries {
			if seen[e.short()] {
				return 0, corrupt(d.where(), "two entries have the short name %q", e.short().decode(0))
			}
			seen[e.short()] = true
			if err := fs.validateEntry(e, mark); err != nil {
				return 0, corrupt(d.where(), "entry %q: %v", e.name, err)
			}
			if !e.isDir() {
				continue
			}
			if p.depth == maxDepth {
				return 0, corrupt(d.where(), "directories are nested more than %d deep", maxDepth)
			}
			todo = append(todo, pending{join(p.path, e.name), e.cluster(fs.layout.bits), p.depth + 1})
		}
	}
	for c := uint32(2); c <= fs.table.last; c++ {
		if v := fs.table.ClusterValue(c); v != 0 && v != fs.table.bad() && !used.has(c) {
			lost++
		}
	}
	return lost, nil
}

// validateEntry checks one entry and marks its clusters.
func (fs *FS) validateEntry(e *entry, mark func(uint32) error) error {
	if e.name == "" || e.name == "." || e.name == ".." || strings.ContainsFunc(e.name, func(r rune) bool { return r < ' ' || r == '/' }) {
		return fmt.Errorf("no such name can be used")
	}
	first := e.cluster(fs.layout.bits)
	if first == 0 {
		switch {
		case e.isDir():
			return fmt.Errorf("a directory without a cluster")
		case e.size() != 0:
			return fmt.Errorf("%d bytes, but no cluster", e.size())
		}
		return nil
	}
	runs, err := fs.table.chain(first, mark)
	if err != nil {
		return err
	}
	if room := int64(count(runs)) * fs.layout.cluster; !e.isDir() && int64(e.size()) > room {
		return fmt.Errorf("%d bytes, but clusters for %d", e.size(), room)
	}
	return nil
}

// readTable reads the FAT, of which both copies must say the same.
func (fs *FS) readTable() error {
	l := fs.layout
	raw := make([]byte, l.fatSize)
	if err := fs.read(raw, l.fat); err != nil {
		return err
	}
	fs.table = newTable(l, raw)
	if l.fats == 1 {
		return nil
	}
	// The first two entries hold no clusters, but flags, which the first copy's are good for.
	entry := int64(l.bits / 8)
	other := make([]byte, 1<<16)
	for off, end := 2*entry, int64(l.last+1)*entry; off < end; {
		n := min(int64(len(other)), end-off)
		if err := fs.read(other[:n], l.fat+l.fatSize+off); err != nil {
			return err
		}
		if mine := raw[off : off+n]; !bytes.Equal(other[:n], mine) {
			for i := range mine {
				if mine[i] != other[i] {
					return corrupt("file allocation table", "its two copies differ at the entry of cluster %d", (off+int64(i))/entry)
				}
			}
		}
		off += n
	}
	return nil
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
