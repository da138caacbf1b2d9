package fat

import (
	"encoding/binary"
	"fmt"

	"github.com/diskfs/go-diskfs/filesystem/fat12"
)

// table is the file allocation table as it is on disk. It changes only entries
// that it is asked to change, and of those of FAT32 not the four reserved bits.
// One of FAT12 is only read.
type table struct {
	bits  int
	raw   []byte
	last  uint32 // the highest cluster
	root  uint32
	free  uint32 // clusters
	hint  uint32 // where the search for free clusters begins; the last one allocated
	dirty bool   // whether raw must be written
}

var _ fat12.FATTable = (*table)(nil)

// run is a chain's stretch of clusters that follow each other.
type run struct{ first, n uint32 }

func newTable(l *layout, raw []byte) *table {
	t := &table{bits: l.bits, raw: raw, last: l.last, root: l.root, hint: l.last}
	for n := uint32(2); n <= t.last; n++ {
		if t.ClusterValue(n) == 0 {
			t.free++
		}
	}
	return t
}

// ClusterValue returns entry n, or 0 if there is none.
func (t *table) ClusterValue(n uint32) uint32 {
	switch {
	case n > t.last:
		return 0
	case t.bits == 12:
		return uint32(binary.LittleEndian.Uint16(t.raw[n+n/2:])>>(n&1*4)) & 0xfff
	case t.bits == 16:
		return uint32(binary.LittleEndian.Uint16(t.raw[2*n:]))
	}
	return binary.LittleEndian.Uint32(t.raw[4*n:]) & 0x0fffffff
}

// SetCluster sets entry n, if there is one.
func (t *table) SetCluster(n, val uint32) {
	if n > t.last {
		return
	}
	if n >= 2 {
		switch old := t.ClusterValue(n); {
		case old == 0 && val != 0:
			t.free--
		case old != 0 && val == 0:
			t.free++
		}
	}
	t.dirty = true
	if t.bits == 16 {
		binary.LittleEndian.PutUint16(t.raw[2*n:], uint16(val))
		return
	}
	reserved := binary.LittleEndian.Uint32(t.raw[4*n:]) & 0xf0000000
	binary.LittleEndian.PutUint32(t.raw[4*n:], reserved|val&0x0fffffff)
}

// EOCMarker returns what ends a chain.
func (t *table) EOCMarker() uint32 {
	switch t.bits {
	case 12:
		return 0xfff
	case 16:
		return 0xffff
	}
	return 0x0fffffff
}

// IsEOC reports whether val ends a chain.
func (t *table) IsEOC(val uint32) bool { return val&0x0fffffff >= t.EOCMarker()-7 }

// bad is what marks a cluster that cannot be used.
func (t *table) bad() uint32 { return t.EOCMarker() - 8 }

// cleanBit is set in entry 1 while the file system is not in use; FAT12 has none.
func (t *table) cleanBit() uint32 {
	switch t.bits {
	case 12:
		return 0
	case 16:
		return 0x8000
	}
	return 0x08000000
}

// UnusedMarker returns what marks a free cluster.
func (t *table) UnusedMarker() uint32 { return 0 }

// MaxCluster returns the highest cluster.
func (t *table) MaxCluster() uint32 { return t.last }

// FATID returns entry 0, which holds the media byte.
func (t *table) FATID() uint32 { return t.ClusterValue(0) }

// RootDirCluster returns the first cluster of the root directory; 0 on FAT16,
// where it is none.
func (t *table) RootDirCluster() uint32 { return t.root }

// Size returns the size of one copy in bytes.
func (t *table) Size() uint32 { return uint32(len(t.raw)) }

// Bytes returns what is to be written.
func (t *table) Bytes() []byte { return t.raw }

// FromBytes takes over another table's bytes.
func (t *table) FromBytes(b []byte) {
	if len(b) == len(t.raw) {
		*t = *newTable(&layout{bits: t.bits, last: t.last, root: t.root}, b)
	}
}

// chain returns the clusters of the chain that begins at first. Visit, if not
// nil, is called for each of them.
func (t *table) chain(first uint32, visit func(cluster uint32) error) ([]run, error) {
	var runs []run
	for n, c := uint32(0), first; ; n++ {
		if c < 2 || c > t.last {
			return nil, fmt.Errorf("its chain leads to cluster %d, which is none of 2 to %d", c, t.last)
		}
		if n > t.last {
			return nil, fmt.Errorf("its chain from cluster %d has no end", first)
		}
		if visit != nil {
			if err := visit(c); err != nil {
				return nil, err
			}
		}
		if k := len(runs) - 1; k >= 0 && runs[k].first+runs[k].n == c {
			runs[k].n++
		} else {
			runs = append(runs, run{c, 1})
		}
		next := t.ClusterValue(c)
		switch {
		case t.IsEOC(next):
			return runs, nil
		case next == 0:
			return nil, fmt.Errorf("its chain leads to cluster %d, which is free", c)
		case next == t.bad():
			return nil, fmt.Errorf("its chain leads to cluster %d, which is marked bad", c)
		}
		c = next
	}
}

// allocate takes n free clusters, chains them and returns them: in one run, if
// there is one behind the cluster allocated last or else before it.
func (t *table) allocate(n uint32) ([]run, error) {
	if n > t.free {
		return nil, fmt.Errorf("%w: %d clusters are needed, %d of %d are free", ErrNoSpace, n, t.free, t.last-1)
	}
	runs := t.findRun(n)
	if runs == nil {
		runs = t.findPieces(n)
	}
	var previous uint32
	for _, r := range runs {
		for c := r.first; c < r.first+r.n; c++ {
			t.SetCluster(c, t.EOCMarker())
			if previous != 0 {
				t.SetCluster(previous, c)
			}
			previous = c
		}
	}
	t.hint = previous
	return runs, nil
}

// next returns the cluster after c, going round.
func (t *table) next(c uint32) uint32 {
	if c >= t.last || c < 2 {
		return 2
	}
	return c + 1
}

// findRun returns the first run of n free clusters after the hint, or nil.
func (t *table) findRun(n uint32) []run {
	r := run{}
	c := t.next(t.hint)
	for range t.last - 1 {
		switch {
		case t.ClusterValue(c) != 0:
			r = run{}
		case r.n > 0 && r.first+r.n == c:
			r.n++
		default:
			r = run{c, 1}
		}
		if r.n == n {
			return []run{r}
		}
		c = t.next(c)
	}
	return nil
}

// findPieces returns the first n free clusters after the hint.
func (t *table) findPieces(n uint32) []run {
	var runs []run
	for c := t.next(t.hint); n > 0; c = t.next(c) {
		if t.ClusterValue(c) != 0 {
			continue
		}
		if k := len(runs) - 1; k >= 0 && runs[k].first+runs[k].n == c {
			runs[k].n++
		} else {
			runs = append(runs, run{c, 1})
		}
		n--
	}
	return runs
}

// release frees clusters.
func (t *table) release(runs []run) {
	for _, r := range runs {
		for c := r.first; c < r.first+r.n; c++ {
			t.SetCluster(c, 0)
		}
	}
}

// count returns how many clusters there are in runs.
func count(runs []run) uint32 {
	var n uint32
	for _, r := range runs {
		n += r.n
	}
	return n
}

// split returns the first n clusters of runs, and the others.
func split(runs []run, n uint32) (head, tail []run) {
	for i, r := range runs {
		if n < r.n {
			head = append(head, runs[:i]...)
			if n > 0 {
				head = append(head, run{r.first, n})
			}
			return head, append([]run{{r.first + n, r.n - n}}, runs[i+1:]...)
		}
		n -= r.n
	}
	return runs, nil
}
