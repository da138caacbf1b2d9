package ext4

// checkParents follows each directory to the root, as the entries lead and as
// ".." says.
func (c *checker) checkParents() error {
	root := c.dir(rootIno)
	if root == nil {
		c.global(CodeParent, "there is no root")
		return nil
	}
	bad := func(ino uint32, format string, args ...any) {
		c.find(Finding{Code: CodeParent, Inode: ino, Group: -1}, format, args...)
	}
	done := bitset{} // directories that are in the tree, or were reported
	done.add(rootIno)
	for i := range c.dirList {
		d := &c.dirList[i]
		var way []uint32
		for !done.add(uint64(d.ino)) {
			way = append(way, d.ino)
			if d.parent == 0 {
				bad(d.ino, `it is in no directory; ".." leads to %d`, d.dotdot)
				break
			}
			d = c.dir(d.parent)
		}
		// The way ends at one that is done: if that is on the way, it leads in a circle.
		if len(way) > 0 && d.parent != 0 {
			for _, ino := range way {
				if ino == d.ino {
					bad(ino, "it is below itself")
					break
				}
			}
		}
		if d := &c.dirList[i]; d.parent != 0 && d.dotdot != d.parent {
			bad(d.ino, `".." leads to %d, it is in %d`, d.dotdot, d.parent)
		}
	}
	return nil
}

// checkLinks compares each inode's count of links with the entries that lead there.
func (c *checker) checkLinks() error {
	sb := c.sb
	var err error
	c.used.runs(0, uint64(sb.inodes), func(i, n uint64) {
		for ino := uint32(i) + 1; n > 0 && err == nil; ino, n = ino+1, n-1 {
			if ino == rootIno || ino >= sb.firstIno && ino != sb.orphanFileIno && !c.isQuotaInode(ino) {
				err = c.checkLink(ino)
			}
		}
	})
	return err
}

func (c *checker) checkLink(ino uint32) error {
	says, refs, kind := c.links.get(ino), c.refs.get(ino), c.kinds.get(ino)
	if refs == 0 && kind&kindHolder != 0 {
		var err error
		if refs, err = c.holderLinks(ino); err != nil {
			return err
		}
	}
	isDir := c.dirs.has(uint64(ino - 1))
	where := Finding{Code: CodeLinks, Inode: ino, Group: -1}
	if refs == 0 {
		if !isDir { // one without a parent was found before
			where.Code = CodeUnattached
			c.find(where, "it has %d links, and is in no directory", says)
		}
		return nil
	}
	if isDir && refs > maxLinks {
		if !c.sb.hasROCompat(roCompatDirNlink) {
			c.global(CodeFeatures, "directory %d has %d links, which needs dir_nlink", ino, refs)
		}
		refs = 1
	}
	if says == refs || isDir && says == 1 && kind&kindIndexed != 0 { // it had too many to count once
		return nil
	}
	c.find(where, "it counts %d, there are %d", says, refs)
	return nil
}
