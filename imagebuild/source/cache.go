package source

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/piimg/piimg/imagebuild/hostfile"
)

// The folders of the cache folder.
const (
	dirDownloads = "downloads"
	dirUnpacked  = "unpacked"
	dirPacked    = "packed"
)

// What CacheEntry.Kind can be.
const (
	CacheDownload   = "download"   // a file as it was published
	CacheUnpacked   = "unpacked"   // an image that cannot be read as it is packed
	CachePacked     = "packed"     // an image packed again, to splice from
	CacheUnfinished = "unfinished" // of work that is under way, or was broken off
)

// A CacheEntry is something in the cache folder.
type CacheEntry struct {
	Kind   string
	SHA256 string    // of the file that was published, in hexadecimal
	Name   string    // that of that file, or empty if it isn't known
	Path   string    // of the file that takes the room
	Size   int64     // that it takes on the disk, in bytes
	Used   time.Time // when it was last opened by piimg, or made

	with []string // files that go with it
	lock string   // file that is locked by who makes it
}

// ListCache returns what is in the cache folder, the longest unused first.
func ListCache(o Options) ([]CacheEntry, error) {
	root, err := o.cacheRoot()
	if err != nil {
		return nil, err
	}
	var all []CacheEntry
	names := map[string]string{} // by digest
	for _, folder := range []struct{ dir, kind, pattern string }{
		{dirDownloads, CacheDownload, `^([0-9a-f]{64})(?:-(.+)|(\.part))$`},
		{dirUnpacked, CacheUnpacked, `^([0-9a-f]{64})(?:\.img()|(\.part))$`},
		{dirPacked, CachePacked, `^([0-9a-f]{64})-[0-9]+\.img\.xz(?:()|(\.part))$`},
	} {
		dir, kind := folder.dir, folder.kind
		pattern := regexp.MustCompile(folder.pattern)
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot read the cache folder: %w", err)
		}
		for _, e := range entries {
			m := pattern.FindStringSubmatch(e.Name())
			info, err := e.Info()
			if m == nil || err != nil || !info.Mode().IsRegular() { // not ours, or just removed
				continue
			}
			c := CacheEntry{
				Kind: kind, SHA256: m[1], Name: m[2], Path: filepath.Join(root, dir, e.Name()),
				Size: hostfile.Allocated(info), Used: info.ModTime(),
			}
			c.lock = filepath.Join(root, dir, c.SHA256+".lock")
			if kind == CachePacked {
				c.lock = strings.TrimSuffix(c.Path, ".part") + ".lock"
			}
			switch {
			case m[3] != "":
				c.Kind = CacheUnfinished
				c.with = []string{c.Path + ".json"}
			case kind == CachePacked:
				c.with = []string{c.Path + fingerprintSuffix}
			case kind == CacheUnpacked:
				c.with = []string{strings.TrimSuffix(c.Path, ".img") + ".json"}
			case kind == CacheDownload:
				names[c.SHA256] = c.Name
			}
			all = append(all, c)
		}
	}
	for i := range all {
		all[i].Name = names[all[i].SHA256]
	}
	slices.SortFunc(all, func(a, b CacheEntry) int {
		return cmp.Or(a.Used.Compare(b.Used), strings.Compare(a.Path, b.Path))
	})
	return all, nil
}

// Pruning says what PruneCache removes.
type Pruning struct {
	Before  time.Time // what has not been used since
	MaxSize int64     // and the longest unused, until no more bytes are taken; negative: any number may be
	DryRun  bool      // nothing is removed, but all else is as if
}

// PruneCache removes from the cache folder what p says, but for what is in use, and
// returns it.
func PruneCache(o Options, p Pruning) ([]CacheEntry, error) {
	all, err := ListCache(o)
	if err != nil {
		return nil, err
	}
	var total int64
	for _, c := range all {
		total += c.Size
	}
	var removed []CacheEntry
	var errs []error
	for _, c := range all {
		if !c.Used.Before(p.Before) && (p.MaxSize < 0 || total <= p.MaxSize) {
			continue
		}
		switch ok, err := c.remove(p.DryRun); {
		case errors.Is(err, fs.ErrNotExist): // another process was quicker
			total -= c.Size
		case err != nil:
			errs = append(errs, fmt.Errorf("cannot remove %s: %w", c.Path, err))
		case ok:
			total -= c.Size
			removed = append(removed, c)
		}
	}
	return removed, errors.Join(errs...)
}

// remove removes the entry, unless it is in use.
func (c *CacheEntry) remove(dryRun bool) (bool, error) {
	maker, err := os.OpenFile(c.lock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	defer maker.Close()
	if ok, err := hostfile.TryLock(maker); !ok {
		return false, err
	}
	defer hostfile.Unlock(maker)
	f, err := os.OpenFile(c.Path, os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	ok, err := hostfile.TryLock(f) // users share it
	f.Close()                      // since not all systems remove what is open
	if !ok || dryRun {
		return ok, err
	}
	// What describes an image goes first: without it, the image is none.
	for _, name := range append(slices.Clone(c.with), c.Path) {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

// useCached notes that a file of the cache folder is in use from now until it is
// closed. It is a convenience: if it fails, the file may be removed too soon, and
// will be made again.
func useCached(f *os.File) {
	_, _ = hostfile.TryShare(f)
	now := time.Now()
	_ = os.Chtimes(f.Name(), now, now)
}

// isCached says whether path is in the cache folder.
func (o *Options) isCached(path string) bool {
	root, err := o.cacheRoot()
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(root, path)
	return err == nil && filepath.IsLocal(rel)
}
