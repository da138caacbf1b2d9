package fat

import (
	"fmt"
	iofs "io/fs"
	"sort"
)

// Owners says in words what bytes of the file system are for: "content of
// /config.txt", "folder /overlays", "file allocation table", "free space". The offsets
// count from the start of the file system, and are sorted. It walks through all folders.
func (fs *FS) Owners(offs []int64) ([]string, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return nil, pathError("owners", ".", iofs.ErrClosed)
	}
	l := fs.layout
	what := make([]string, len(offs))
	set := func(from, to int64, text string) {
		for i := sort.Search(len(offs), func(i int) bool { return offs[i] >= from }); i < len(offs) && offs[i] < to; i++ {
			what[i] = text
		}
	}
	set(l.data, fs.size, "free space")
	set(0, l.fat, "reserved sectors")
	set(0, l.sector, "boot sector")
	if l.fsInfo > 0 {
		set(l.fsInfo, l.fsInfo+l.sector, "FSInfo sector")
	}
	if l.backup > 0 {
		set(l.backup, l.backup+l.sector, "copy of the boot sector")
	}
	for i := range int64(l.fats) {
		set(l.fat+i*l.fatSize, l.fat+(i+1)*l.fatSize, fmt.Sprintf("file allocation table %d", i+1))
	}
	if l.bits != 32 {
		set(l.rootDir, l.data, "folder /")
	}
	clusters := func(first uint32, text string) error {
		if first == 0 {
			return nil
		}
		runs, err := fs.table.chain(first, nil)
		for _, r := range runs {
			set(l.offset(r.first), l.offset(r.first+r.n), text)
		}
		return err
	}
	if err := clusters(l.root, "folder /"); err != nil {
		return nil, err
	}
	type folder struct {
		path  string
		first uint32
	}
	for left := []folder{{"", 0}}; len(left) > 0; left = left[1:] {
		d, err := fs.loadDir(left[0].path, left[0].first)
		if err != nil {
			return nil, err
		}
		for _, e := range d.entries {
			path, first := left[0].path+"/"+e.name, e.cluster(l.bits)
			kind := "content of "
			if e.isDir() {
				kind = "folder "
				left = append(left, folder{path, first})
			}
			if err := clusters(first, kind+path); err != nil {
				return nil, err
			}
		}
	}
	return what, nil
}
