package ext4

// How far findings are followed up to the root: directories that are on their
// ways, and names on one way.
const (
	maxPathDirs = 10000
	maxPathLen  = 64
)

// entryPlace is where the first entry is that leads to an inode.
type entryPlace struct {
	dir  uint32
	name string
}

// namePaths adds paths to the findings that are about an inode. All
// directories are read twice more for it, if there is any such finding: for
// the inodes themselves, and for the directories above them.
func (c *checker) namePaths() error {
	names := map[uint32]entryPlace{}
	want := map[uint32]bool{}
	for _, f := range c.report.Findings {
		if f.Inode > rootIno {
			want[f.Inode] = true
		}
	}
	if err := c.findNames(want, names); err != nil {
		return err
	}
	above := map[uint32]bool{}
	for _, f := range c.report.Findings {
		d := c.dir(names[f.Inode].dir)
		for d != nil && d.ino != rootIno && !above[d.ino] && len(above) < maxPathDirs {
			above[d.ino] = true
			d = c.dir(d.parent)
		}
	}
	if err := c.findNames(above, names); err != nil {
		return err
	}
	for i := range c.report.Findings {
		f := &c.report.Findings[i]
		ino, way := f.Inode, "."
		for n := 0; ino > rootIno && n < maxPathLen; n++ {
			at := names[ino] // of inode 0 where nothing leads there
			if ino = at.dir; way == "." {
				way = at.name
			} else {
				way = at.name + "/" + way
			}
		}
		if ino == rootIno {
			f.Path = way
		}
	}
	return nil
}

// findNames reads all directories for entries that lead to the inodes in want.
func (c *checker) findNames(want map[uint32]bool, names map[uint32]entryPlace) error {
	if len(want) == 0 {
		return nil
	}
	p := make([]byte, c.sb.blockSize)
	for i, dir := range c.dirList {
		scan := func(data []byte) {
			for off := 0; off < len(data); {
				e, ok := c.decodeEntry(data, off)
				if !ok {
					return
				}
				if name := string(e.name); want[e.ino] && name != "." && name != ".." {
					d := c.dir(e.ino)
					if _, known := names[e.ino]; !known && (d == nil || d.parent == dir.ino) {
						names[e.ino] = entryPlace{dir.ino, name}
					}
				}
				off += e.recLen
			}
		}
		if dir.blocks == 0 {
			in, err := c.inode(dir.ino)
			if err != nil {
				return err
			}
			if head, tail, err := in.inlineData(); err == nil && in.has(flagInlineData) {
				scan(head[4:])
				scan(tail)
			}
		}
		for _, b := range c.blocksOf(i) {
			if err := c.read(b.blk, p); err != nil {
				return err
			}
			scan(p)
		}
	}
	return nil
}
