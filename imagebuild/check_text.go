package imagebuild

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// maxOfKind is how many findings of one code are printed of a partition.
const maxOfKind = 20

// WriteText prints the report for people: a line for each partition, and below it
// what is wrong, kind by kind. The form may change.
func (r *CheckReport) WriteText(to io.Writer) error {
	w := bufio.NewWriter(to)
	fmt.Fprintln(w, r.Path)
	if len(r.Findings) > 0 {
		fmt.Fprintf(w, "  partition table: %s\n", findings(len(r.Findings)))
		writeFindings(w, r.Findings)
	}
	for _, p := range r.Partitions {
		fmt.Fprintf(w, "  %s: %s\n", p.name(), p.summary())
		writeFindings(w, p.Findings)
		if p.Omitted > 0 {
			fmt.Fprintf(w, "    %d more\n", p.Omitted)
		}
		if len(p.State) > 0 {
			fmt.Fprintf(w, "    noted in it: %s\n", strings.Join(p.State, ", "))
		}
		if len(p.Unchecked) > 0 {
			fmt.Fprintf(w, "    not checked: %s\n", strings.Join(p.Unchecked, ", "))
		}
	}
	if len(r.Findings) == 0 && len(r.Partitions) == 0 {
		fmt.Fprintf(w, "  partition table: %s, no partitions\n", r.Table)
	}
	return w.Flush()
}

// name says which partition it is.
func (p *PartitionChecked) name() string {
	name := "file system"
	if p.Index > 0 {
		name = fmt.Sprintf("partition %d", p.Index)
	}
	if p.Label != "" {
		name += fmt.Sprintf(" %q", p.Label)
	}
	return name
}

// summary says in a line what the partition is and how it is.
func (p *PartitionChecked) summary() string {
	switch {
	case p.Skipped != "":
		return "not checked: " + p.Skipped
	case p.Problem != "":
		return "cannot be checked: " + p.Problem
	}
	s := ""
	if p.FileSystem != "" {
		s = p.FileSystem + ", "
	}
	if p.Blocks > 0 {
		unit := "blocks"
		if p.FileSystem != "ext4" {
			unit = "clusters"
		}
		s += fmt.Sprintf("%d %s of %d bytes, ", p.Blocks, unit, p.BlockSize)
	}
	if n := len(p.Findings) + p.Omitted; n > 0 {
		return s + findings(n)
	}
	return s + "clean"
}

func findings(n int) string {
	if n == 1 {
		return "1 finding"
	}
	return fmt.Sprintf("%d findings", n)
}

// writeFindings prints findings by kind, in the order in which the kinds turn up.
func writeFindings(w io.Writer, all []Finding) {
	kinds := map[string][]Finding{}
	var order []string
	for _, f := range all {
		if kinds[f.Code] == nil {
			order = append(order, f.Code)
		}
		kinds[f.Code] = append(kinds[f.Code], f)
	}
	for _, kind := range order {
		fmt.Fprintf(w, "    %s\n", strings.ReplaceAll(kind, "-", " "))
		for i, f := range kinds[kind] {
			if i == maxOfKind {
				fmt.Fprintf(w, "      … and %d more of this kind\n", len(kinds[kind])-i)
				break
			}
			fmt.Fprintf(w, "      %s\n", f)
		}
	}
}

// String is one line: where, and what; the kind is not in it.
func (f Finding) String() string {
	var where []string
	if f.Path != "" {
		where = append(where, fmt.Sprintf("%q", f.Path))
	}
	if f.Inode != 0 {
		where = append(where, fmt.Sprintf("inode %d", f.Inode))
	}
	if f.Group != nil {
		where = append(where, fmt.Sprintf("group %d", *f.Group))
	}
	if f.Block != 0 {
		where = append(where, fmt.Sprintf("block %d", f.Block))
	}
	if f.Cluster != 0 {
		where = append(where, fmt.Sprintf("cluster %d", f.Cluster))
	}
	if len(where) == 0 {
		return f.Detail
	}
	return strings.Join(where, ", ") + ": " + f.Detail
}
