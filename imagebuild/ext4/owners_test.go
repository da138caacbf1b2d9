package ext4

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// Owners says of every block what debugfs says: which inode has it, if any, and whether
// it is free.
func TestOwners(t *testing.T) {
	dir := tree(t)
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			img := mkfs(t, l, dir)
			f := openImage(t, img, true)
			defer f.Close()
			size := int64(f.Info().BlockSize)
			var offs []int64
			ask := []string{"icheck"}
			for b := int64(1); b < int64(f.Info().Blocks) && len(offs) < 20_000; b++ {
				offs = append(offs, b*size+size/2)
				ask = append(ask, fmt.Sprint(b))
			}
			what, err := f.Owners(offs)
			if err != nil {
				t.Fatal(err)
			}
			free := map[int64]bool{}
			if err := f.EachFree(func(off, n int64) {
				for ; n > 0; off, n = off+size, n-size {
					free[off] = true
				}
			}); err != nil {
				t.Fatal(err)
			}
			inodes := map[string]string{
				"the journal": fmt.Sprint(f.sb.journalIno), "the list of orphans": fmt.Sprint(f.sb.orphanFileIno),
				"the blocks reserved for growing": fmt.Sprint(resizeIno),
			}
			kinds := map[string]int{}
			answers := strings.Split(runTool(t, "debugfs", "-R", strings.Join(ask, " "), img), "\n")
			for _, line := range answers {
				block, inode, ok := strings.Cut(line, "\t")
				b, err := strconv.ParseInt(block, 10, 64)
				if !ok || err != nil {
					continue
				}
				got := what[b-1]
				kind, name := got, ""
				for _, k := range []string{"content of ", "folder ", "block map of ", "attributes of "} {
					if rest, ok := strings.CutPrefix(got, k); ok {
						kind, name = k, rest
					}
				}
				kinds[kind]++
				if free[b*size] != (got == "free space") {
					t.Fatalf("block %d is %q, and free: %v", b, got, free[b*size])
				}
				if name != "" && inodes[name] == "" {
					info, err := f.Lstat(slashed(name))
					if err != nil {
						t.Fatalf("block %d is %q: %v", b, got, err)
					}
					inodes[name] = fmt.Sprint(info.Sys().(*Stat).Ino)
				}
				if want := strings.TrimSpace(inode); want == "<block not found>" && name == "" || want == inodes[name] ||
					kind == "copy of the superblock" || strings.Contains(got, "group descriptors") && want == fmt.Sprint(resizeIno) {
					continue
				}
				t.Fatalf("block %d is %q of inode %q, debugfs has inode %s", b, got, inodes[name], inode)
			}
			if kinds["content of "] < 10 || kinds["folder "] < 3 || kinds["free space"] < 10 {
				t.Fatalf("too little was seen: %v", kinds)
			}
		})
	}
}

// Every inode is found in its table, by its path.
func TestOwnersOfInodes(t *testing.T) {
	img := mkfs(t, layouts()[1], tree(t))
	f := openImage(t, img, true)
	defer f.Close()
	for _, path := range []string{"etc/hostname", "big/a-file-with-a-name-0123.conf", "etc", "abs"} {
		info, err := f.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		var block, off int64
		out := runTool(t, "debugfs", "-R", fmt.Sprintf("imap <%d>", info.Sys().(*Stat).Ino), img)
		at := strings.Index(out, "located at block")
		if _, err := fmt.Sscanf(out[max(at, 0):], "located at block %d, offset 0x%x", &block, &off); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		what, err := f.Owners([]int64{1024, block*4096 + off, block*4096 + off + 255})
		if want := "inode of /" + path; err != nil || what[0] != "superblock" || what[1] != want || what[2] != want {
			t.Errorf("got %q, %v, want %q", what, err, want)
		}
	}
}
