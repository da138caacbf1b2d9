package imagebuild

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/piimg/piimg/imagebuild/raspios"
)

// WriteText prints the inspection for people. The form may change.
func (in *Inspection) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("image", "%s", in.Path)
	row("sha256", "%s", in.SHA256)
	row("packing", "%s, %s", in.Packing.Kind, join(in.Packing.Detail, fmt.Sprintf("%d bytes", in.Packing.Size)))
	row("size", "%d bytes", in.Size)
	row("partition table", "%s, ID %s", in.Table, in.DiskID)
	for _, p := range in.Partitions {
		row(fmt.Sprintf("partition %d", p.Index), "%s at %d, %s, PARTUUID %s", mib(p.Size), p.Start, p.Type, p.PARTUUID)
		if p.Problem != "" {
			row("", "%s", p.Problem)
		}
		if fs := p.FileSystem; fs != nil {
			row("", "%s %q, %s free of %s", fs.Type, fs.Label, mib(fs.Free), mib(fs.Size))
			if fs.Inodes > 0 {
				row("", "%d of %d inodes free, %d-byte blocks, made %s", fs.FreeInodes, fs.Inodes, fs.BlockSize, fs.Made.UTC().Format("2006-01-02"))
			}
			if len(fs.Features) > 0 {
				row("", "%s", strings.Join(fs.Features, " "))
			}
			if len(fs.State) > 0 {
				row("", "not clean: %s", strings.Join(fs.State, ", "))
			}
		}
	}
	if in.System != nil {
		systemRows(row, in.System)
	}
	for _, p := range in.Problems {
		row("problem", "%s", p)
	}
	return t.Flush()
}

func systemRows(row func(name, format string, args ...any), f *raspios.Facts) {
	row("system", "%s", join(f.PrettyName, string(f.Release), f.Architecture, f.Date))
	row("host name", "%s", f.Hostname)
	row("settings", "timezone %s, locale %s, keymap %s", orNone(f.Timezone), orNone(f.Locale), orNone(f.Keymap))
	for _, u := range f.Users {
		row("user", "%s (uid %d), password %s, authorized keys: %d, %s", u.Name, u.UID, u.Password, u.Keys, u.Shell)
	}
	row("ssh", "%s, %s", onOff(f.SSH.Enabled), cmp.Or(join(f.SSH.HostKeys...), "no host keys"))
	row("swap", "%s", join(onOff(f.Swap.Enabled), f.Swap.By))
	row("network", "%s", join(orNone(string(f.Network.By)), join(f.Network.Static...)))
	row("wi-fi", "%s", join(orNone(join(f.Network.Wifi...)), f.Network.Country))
	if f.FirstBoot != "" {
		row("first boot", "%s", f.FirstBoot)
	}
	if n := f.Node; n != nil {
		row("piimg", "node %s, made by piimg %s from %s", n.Hostname, n.Version, n.Base)
	} else {
		row("piimg", "has not edited this image")
	}
}

// join lists what is not empty.
func join(parts ...string) string {
	var all []string
	for _, p := range parts {
		if p != "" {
			all = append(all, p)
		}
	}
	return strings.Join(all, ", ")
}

func orNone(s string) string { return cmp.Or(s, "none") }

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
