package imagebuild

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/piimg/piimg/imagebuild/source"
)

// CacheEntry is something in the cache folder. Its JSON form is stable.
type CacheEntry struct {
	Kind   string    `json:"kind"`           // download, unpacked, packed or unfinished
	SHA256 string    `json:"sha256"`         // of the base image as it was published, hex
	Name   string    `json:"name,omitempty"` // of that file, where it is known
	Path   string    `json:"path"`
	Size   int64     `json:"size"` // that it takes on the disk, in bytes
	Used   time.Time `json:"used"` // when piimg last opened or made it
}

// CacheEntries is a list of what is in the cache folder, the longest unused first.
type CacheEntries []CacheEntry

// CachePruning says what CachePrune removes, which is never what is in use.
type CachePruning struct {
	OlderThan time.Duration // what has not been used for so long; default: 30 days
	MaxSize   int64         // and the longest unused, until no more bytes are taken; default: any number
	All       bool          // everything, however lately it was used
	DryRun    bool          // only say what would be removed
}

// CacheList returns what is in the cache folder.
func CacheList(o Options) (CacheEntries, error) {
	all, err := source.ListCache(sourceOptions(o.withDefaults(), ""))
	return cacheEntries(all), err
}

// CachePrune removes what is not needed from the cache folder, and returns it.
func CachePrune(o Options, p CachePruning) (CacheEntries, error) {
	const month = 30 * 24 * time.Hour
	if p.OlderThan == 0 {
		p.OlderThan = month
	}
	if p.MaxSize == 0 {
		p.MaxSize = -1
	}
	before := time.Now().Add(-p.OlderThan)
	if p.All { // what a wrong clock has dated ahead, too
		before = before.AddDate(1000, 0, 0)
	}
	removed, err := source.PruneCache(sourceOptions(o.withDefaults(), ""), source.Pruning{
		Before: before, MaxSize: p.MaxSize, DryRun: p.DryRun,
	})
	return cacheEntries(removed), err
}

func cacheEntries(all []source.CacheEntry) CacheEntries {
	out := CacheEntries{} // an empty list in JSON
	for _, c := range all {
		out = append(out, CacheEntry{Kind: c.Kind, SHA256: c.SHA256, Name: c.Name, Path: c.Path, Size: c.Size, Used: c.Used.UTC()})
	}
	return out
}

// Size returns how many bytes all entries take on the disk.
func (l CacheEntries) Size() (n int64) {
	for _, c := range l {
		n += c.Size
	}
	return n
}

// WriteText prints the list for people: when it was last used, the size, what it is.
func (l CacheEntries) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range l {
		name := c.Name
		if name == "" {
			name = "sha256 " + c.SHA256[:16]
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", c.Used.Local().Format(time.DateOnly), mib(c.Size), c.Kind, name)
	}
	return t.Flush()
}
