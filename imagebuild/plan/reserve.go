package plan

// maxReserved is the largest content that Reserve makes room for, in bytes.
const maxReserved = 1 << 20

// Reserve returns writes of zeros to the files that every node writes, each
// with content of its own. Applied with what the nodes share, before what is
// their own, they change nothing of the outcome: every node overwrites them.
// But then the files, with their names, inodes and blocks, are where they are
// in all nodes' images, next to each other, and a node's own edits leave
// directories and bitmaps alone.
//
// plans are those of all nodes, and own is what [Split] made of them.
func Reserve(plans []Plan, own [][]Edit) []Edit {
	if len(plans) < 2 {
		return nil
	}
	type place struct { // with the name as it is spelt: on FAT, key is not
		partition Partition
		path      string
	}
	size, writers := map[place]int64{}, map[place]int{}
	var moved, above []Edit // own edits that a reserved file may stand in the way of
	for _, edits := range own {
		for _, e := range edits {
			switch e.Op {
			case Write:
				at := place{e.Partition, e.Path}
				size[at] = max(size[at], e.Size())
				writers[at]++
				above = append(above, e)
			case Symlink:
				above = append(above, e)
			case Remove, Rename:
				moved = append(moved, e)
			}
		}
	}
	var out []Edit
	for _, e := range own[0] {
		at := place{e.Partition, e.Path}
		n := size[at]
		if e.Op != Write || writers[at] < len(plans) || n > maxReserved || overtaken(e, moved) || underneath(e, above) {
			continue
		}
		e.Content, e.Source = make([]byte, n), nil
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
