package raspios

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

// lookedAt returns the packages whose versions are kept in Facts.
func lookedAt() []string {
	return []string{
		"cloud-init", "console-setup", "containerd", "dhcpcd", "dhcpcd5", "dphys-swapfile",
		"fake-hwclock", "keyboard-configuration", "libc6", "lightdm", "locales", "network-manager",
		"openssh-server", "raspberrypi-net-mods", "raspberrypi-sys-mods", "raspberrypi-ui-mods",
		"rpi-swap", "systemd", "systemd-timesyncd", "tzdata", "userconf-pi", "wpasupplicant",
	}
}

// packages reads dpkg's status file, which has several megabytes, once and in
// order: what is installed, versions of what is looked at, and the architecture.
func (r *reader) packages(f *Facts) error {
	const name = "var/lib/dpkg/status"
	file, err := r.d.open(plan.Root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("failed to read the image: %w", err)
	}
	defer file.Close()
	wanted := lookedAt()
	arch := map[string]string{}
	var all []statusEntry
	err = scanStatus(file, func(e statusEntry) {
		if !strings.HasSuffix(e.status, " installed") {
			return
		}
		if e.pkg == "dpkg" || e.pkg == "base-files" {
			arch[e.pkg] = e.arch
		}
		if slices.Contains(wanted, e.pkg) {
			f.Packages[e.pkg] = e.version
		}
		all = append(all, e)
	})
	if err != nil {
		return fmt.Errorf("failed to read the image: /%s: %w", name, err)
	}
	f.Architecture = arch["dpkg"]
	if f.Architecture == "" {
		f.Architecture = arch["base-files"]
	}
	f.Installed = installed(all, f.Architecture)
	return nil
}

// installed returns the versions of packages for an architecture, and of those
// that they provide.
func installed(all []statusEntry, arch string) map[string]string {
	versions := map[string]string{}
	for _, e := range all {
		if e.arch != arch && e.arch != "all" {
			continue
		}
		for provided := range strings.SplitSeq(e.provides, ",") {
			name, version, _ := strings.Cut(strings.TrimSpace(provided), " ")
			if name != "" && versions[name] == "" {
				versions[name] = strings.Trim(version, "(=) ")
			}
		}
	}
	for _, e := range all {
		if e.arch == arch || e.arch == "all" {
			versions[e.pkg] = e.version
		}
	}
	return versions
}

// statusEntry is what matters of one paragraph of a status file.
type statusEntry struct{ pkg, status, version, arch, provides string }

// scanStatus calls fn for each paragraph of a status file. Lines of any length
// are taken; what is beyond the first 4 KiB of one is skipped.
func scanStatus(r io.Reader, fn func(statusEntry)) error {
	br := bufio.NewReaderSize(r, 64<<10)
	var e statusEntry
	end := func() {
		if e.pkg != "" {
			fn(e)
		}
		e = statusEntry{}
	}
	for {
		line, more, err := br.ReadLine()
		if err == io.EOF {
			end()
			return nil
		}
		if err != nil {
			return err
		}
		for skip := more; skip; {
			if _, skip, err = br.ReadLine(); err != nil {
				return err
			}
		}
		if len(line) == 0 {
			end()
			continue
		}
		key, value, ok := strings.Cut(string(line[:min(len(line), 4096)]), ":")
		if !ok || line[0] == ' ' || line[0] == '\t' {
			continue
		}
		value = strings.TrimSpace(value)
		switch key {
		case "Package":
			e.pkg = value
		case "Status":
			e.status = value
		case "Version":
			e.version = value
		case "Architecture":
			e.arch = value
		case "Provides":
			e.provides = value
		}
	}
}
