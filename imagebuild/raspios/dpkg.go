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
// order: versions of what is looked at, and the architecture.
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
	err = scanStatus(file, func(pkg, status, version, architecture string) {
		if !strings.HasSuffix(status, " installed") {
			return
		}
		if pkg == "dpkg" || pkg == "base-files" {
			arch[pkg] = architecture
		}
		if slices.Contains(wanted, pkg) {
			f.Packages[pkg] = version
		}
	})
	if err != nil {
		return fmt.Errorf("failed to read the image: /%s: %w", name, err)
	}
	f.Architecture = arch["dpkg"]
	if f.Architecture == "" {
		f.Architecture = arch["base-files"]
	}
	return nil
}

// scanStatus calls fn for each paragraph of a status file. Lines of any length
// are taken; what is beyond the first 4 KiB of one is skipped.
func scanStatus(r io.Reader, fn func(pkg, status, version, arch string)) error {
	br := bufio.NewReaderSize(r, 64<<10)
	var pkg, status, version, arch string
	end := func() {
		if pkg != "" {
			fn(pkg, status, version, arch)
		}
		pkg, status, version, arch = "", "", "", ""
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
			pkg = value
		case "Status":
			status = value
		case "Version":
			version = value
		case "Architecture":
			arch = value
		}
	}
}
