package ext4

import (
	"fmt"
	"sort"
)

// Owners says in words what bytes of the file system are for: "content of
// /etc/hostname", "inode of /etc/hostname", "folder /etc", "block bitmap of group 3",
// "free space". The offsets count from the start of the file system, and are sorted.
// It walks through all inodes, and all folders; what is damaged it passes over. The
// file system has to be open for reading only.
func (f *FS) Owners(offs []int64) (what []string, err error) {
	err = f.view("owners", ".", func() error {
		o := owners{fs: f, offs: offs, what: make([]string, len(offs)), inodes: map[uint32][]inodePlace{}}
		o.c = &checker{fs: f, sb: f.sb, report: &Report{}, quiet: true, trees: bitset{}}
		if err := o.system(); err != nil {
			return err
		}
		if err := o.c.eachInode(o.inode); err != nil {
			return err
		}
		o.name()
		for i, w := range o.what {
			if w == "" {
				o.what[i] = "free space"
			}
		}
		what = o.what
		return nil
	})
	return what, err
}

// owners is the work of Owners.
type owners struct {
	fs     *FS
	c      *checker
	offs   []int64
	what   []string // by offset; "" as long as it is not known
	inodes map[uint32][]inodePlace
}

// inodePlace is an offset that is an inode's, and what it is of the inode.
type inodePlace struct {
	at   int // in offs
	kind string
}

// within calls fn for every offset in n blocks from blk on.
func (o *owners) within(blk, n uint64, fn func(at int)) {
	size := int64(o.fs.sb.blockSize)
	from, to := int64(blk)*size, int64(blk+n)*size
	for i := sort.Search(len(o.offs), func(i int) bool { return o.offs[i] >= from }); i < len(o.offs) && o.offs[i] < to; i++ {
		fn(i)
	}
}

// system names the file system's own structures, and finds the inodes in its tables.
func (o *owners) system() error {
	sb := o.fs.sb
	set := func(blk, n uint64, text string) { o.within(blk, n, func(at int) { o.what[at] = text }) }
	for num := range sb.groups {
		g, err := o.fs.group(num)
		if err != nil {
			return err
		}
		if n := sb.groupSuperBlocks(num); n > 0 {
			text := fmt.Sprintf("copy of the superblock and the group descriptors in group %d", num)
			if num == 0 {
				text = "group descriptors"
			}
			set(sb.groupStart(num), uint64(n), text)
		}
		set(g.blockBitmap(), 1, fmt.Sprintf("block bitmap of group %d", num))
		set(g.inodeBitmap(), 1, fmt.Sprintf("inode bitmap of group %d", num))
		table := g.inodeTable()
		o.within(table, uint64(sb.inodeTableBlocks()), func(at int) {
			o.what[at] = fmt.Sprintf("inode table of group %d", num)
			i := (o.offs[at] - int64(table)*int64(sb.blockSize)) / int64(sb.inodeSize)
			if i < int64(sb.inodesPerGroup) {
				o.found(num*sb.inodesPerGroup+uint32(i)+1, at, "inode of ")
			}
		})
		if num%1024 == 1023 {
			if err := o.fs.trim(); err != nil {
				return err
			}
		}
	}
	for i, off := range o.offs {
		switch {
		case off < superblockOffset:
			o.what[i] = "boot block"
		case off < superblockOffset+superblockSize:
			o.what[i] = "superblock"
		}
	}
	return nil
}

func (o *owners) found(ino uint32, at int, kind string) {
	o.inodes[ino] = append(o.inodes[ino], inodePlace{at, kind})
}

// inode finds the offsets that an inode has outside of the inode table.
func (o *owners) inode(in *inode) error {
	sb := o.fs.sb
	if in.links() == 0 && in.ino >= sb.firstIno && in.ino != sb.orphanFileIno && in.ino != sb.journalIno {
		return nil
	}
	ino := in.ino
	if blk := in.xattrBlock(); o.c.inside(blk, 1) {
		o.within(blk, 1, func(at int) { o.claim(ino, at, "attributes of ") })
	}
	if !hasBlocks(in) {
		return nil
	}
	content := "content of "
	if in.isDir() {
		content = "folder "
	}
	// Content is claimed as all blocks are, before it is known that it is content.
	var claimed []int
	w := o.c.newWalk(in, o.c.trees)
	w.claim = func(phys, n uint64) {
		o.within(phys, n, func(at int) {
			if o.what[at] == "" {
				o.what[at] = blockMapOf
				claimed = append(claimed, at)
			}
		})
	}
	w.data = func(r run) {
		o.within(r.phys, uint64(r.count), func(at int) {
			if o.what[at] == blockMapOf {
				o.what[at] = ""
				o.claim(ino, at, content)
			}
		})
	}
	err := w.run()
	for _, at := range claimed {
		if o.what[at] == blockMapOf {
			o.what[at] = ""
			o.claim(ino, at, blockMapOf)
		}
	}
	return err
}

const blockMapOf = "block map of "

// claim notes that an offset is an inode's, unless it is known what it is for.
func (o *owners) claim(ino uint32, at int, kind string) {
	if o.what[at] == "" {
		o.what[at] = fmt.Sprintf("%sinode %d", kind, ino)
		o.found(ino, at, kind)
	}
}

// name finds the paths of the inodes that were found.
func (o *owners) name() {
	tell := func(ino uint32, name string) {
		for _, p := range o.inodes[ino] {
			o.what[p.at] = p.kind + name
		}
		delete(o.inodes, ino)
	}
	sb := o.fs.sb
	if sb.journalIno != 0 {
		tell(sb.journalIno, "the journal")
	}
	if sb.orphanFileIno != 0 {
		tell(sb.orphanFileIno, "the list of orphans")
	}
	tell(resizeIno, "the blocks reserved for growing")
	tell(rootIno, "/")
	type folder struct {
		ino  uint32
		path string
	}
	seen := map[uint32]bool{rootIno: true}
	for left := []folder{{rootIno, "/"}}; len(left) > 0 && len(o.inodes) > 0; left = left[1:] {
		in, err := o.fs.inode(left[0].ino)
		if err != nil {
			continue
		}
		list, err := in.list()
		if err != nil {
			continue
		}
		for _, e := range list {
			path := left[0].path + e.name
			tell(e.ino, path)
			if seen[e.ino] {
				continue
			}
			if child, err := o.fs.inode(e.ino); err == nil && child.isDir() {
				seen[e.ino] = true
				left = append(left, folder{e.ino, path + "/"})
			}
		}
		if o.fs.trim() != nil {
			return
		}
	}
}
