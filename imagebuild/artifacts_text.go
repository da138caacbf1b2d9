package imagebuild

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteText prints the artifacts for people, one a line. The form may change.
func (a *Artifacts) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tKIND\tVERSION\tARCH\tSIZE\tTHERE\tNODES\tFROM")
	for _, x := range a.Artifacts {
		version := x.Version
		if x.AtLeast != "" {
			version += fmt.Sprintf(" (from %s on)", x.AtLeast)
		}
		size := "-"
		if x.Size > 0 {
			size = mib(x.Size)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Name, x.Kind, cmp.Or(version, "-"), x.Arch, size,
			x.there(a.Dir != ""), a.who(x), cmp.Or(x.From, "apt-get download "+x.Name+":"+x.Arch))
	}
	return t.Flush()
}

// there says in a word or two whether the nodes will have it.
func (a Artifact) there(folder bool) string {
	switch {
	case a.State == InFolder:
		return "yes"
	case a.State == OnBase:
		return "on base"
	case !folder:
		return "-"
	case a.Optional:
		return "no, optional"
	}
	return "no"
}

// who names the nodes that need x.
func (a *Artifacts) who(x Artifact) string {
	if len(x.Nodes) == len(a.Nodes) {
		return "all"
	}
	return strings.Join(x.Nodes, ",")
}
