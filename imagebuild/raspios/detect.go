package raspios

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

// Detect reads from an image's two partitions what it is and how it is set up.
// It returns a [*NotRaspberryPiOSError] or an [*UnsupportedReleaseError] for an
// image that piimg does not edit.
func Detect(boot, root fs.FS) (*Facts, error) {
	d := newDraft(boot, root)
	r := &reader{d: d}
	f := &Facts{Packages: map[string]string{}, Locales: []string{}, Users: []User{}}
	f.SSH.HostKeys, f.Network.Static, f.Network.Wifi = []string{}, []string{}, []string{}

	if err := r.packages(f); err != nil {
		return nil, err
	}
	if err := r.release(f); err != nil {
		return nil, err
	}
	r.system(f)
	r.users(f)
	r.ssh(f)
	r.swap(f)
	r.network(f)
	r.locales(f)
	f.Node = r.node()
	if err := errors.Join(r.errs...); err != nil {
		return nil, fmt.Errorf("failed to read the image: %w", err)
	}
	return f, nil
}

// reader reads an image through a draft without edits. Files that are not there
// are empty; other errors are collected.
type reader struct {
	d    *draft
	errs []error
}

func (r *reader) text(p plan.Partition, name string) string {
	b, err := r.d.read(p, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.errs = append(r.errs, err)
	}
	return string(b)
}

func (r *reader) root(name string) string { return r.text(plan.Root, name) }
func (r *reader) boot(name string) string { return r.text(plan.Boot, name) }

func (r *reader) exists(name string) bool { return r.d.exists(plan.Root, name) }

func (r *reader) list(p plan.Partition, dir string) []string {
	names, err := r.d.readDir(p, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.errs = append(r.errs, err)
	}
	return names
}

// release finds out whether the image is a Raspberry Pi OS, and which.
func (r *reader) release(f *Facts) error {
	osr := parseShellVars(r.root("etc/os-release"))
	if len(osr) == 0 {
		osr = parseShellVars(r.root("usr/lib/os-release"))
	}
	issue := r.root("etc/rpi-issue")
	if len(osr) == 0 {
		if err := errors.Join(r.errs...); err != nil {
			return fmt.Errorf("failed to read the image: %w", err)
		}
		return &NotRaspberryPiOSError{Found: "no os-release file"}
	}
	f.PrettyName = osr["PRETTY_NAME"]
	codename := osr["VERSION_CODENAME"]
	if codename == "" { // Stretch had none
		if m := regexp.MustCompile(`\(([a-z]+)\)`).FindStringSubmatch(osr["VERSION"]); m != nil {
			codename = m[1]
		}
	}
	if f.PrettyName == "" {
		f.PrettyName = strings.TrimSpace(osr["NAME"] + " " + osr["VERSION"])
	}
	found := f.PrettyName
	if codename != "" && !strings.Contains(found, codename) {
		found += " (" + codename + ")"
	}
	id := osr["ID"]
	ours := issue != "" || id == "raspbian" || f.Packages["raspberrypi-sys-mods"] != ""
	if !ours || id != "raspbian" && id != "debian" {
		return &NotRaspberryPiOSError{Found: strings.TrimSpace(found)}
	}
	f.Release = Release(codename)
	if f.Release.number() == 0 {
		for _, rel := range Releases() {
			if osr["VERSION_ID"] == strconv.Itoa(rel.number()) && codename == "" {
				f.Release = rel
			}
		}
	}
	if f.Release.number() == 0 {
		return &UnsupportedReleaseError{Found: found}
	}
	f.Date = regexp.MustCompile(`\d{4}-\d{2}-\d{2}`).FindString(issue)
	f.Stage = regexp.MustCompile(`\bstage\d+\b`).FindString(issue)
	return nil
}

func (r *reader) system(f *Facts) {
	f.Systemd, _ = strconv.Atoi(regexp.MustCompile(`^\d+`).FindString(f.Packages["systemd"]))
	f.BootMount = "/boot"
	if !f.Release.before(Bookworm) {
		f.BootMount = "/boot/firmware"
	}
	for line := range strings.Lines(r.root("etc/fstab")) {
		if w := strings.Fields(line); len(w) >= 3 && (w[1] == "/boot" || w[1] == "/boot/firmware") && w[2] == "vfat" {
			f.BootMount = w[1]
		}
	}
	if e, err := r.d.lstat(plan.Root, "lib"); err == nil {
		f.MergedUsr = e.kind == isLink
	}
	f.Desktop = f.Packages["lightdm"] != "" || f.Packages["raspberrypi-ui-mods"] != "" || r.exists("etc/lightdm/lightdm.conf")
	f.Hostname = strings.TrimSpace(r.root("etc/hostname"))
	f.UserConf = r.exists("usr/lib/userconf-pi") || r.d.unit("userconfig.service") != ""
	f.CloudInit = (f.Packages["cloud-init"] != "" || r.exists("etc/cloud/cloud.cfg")) && !r.exists("etc/cloud/cloud-init.disabled")
	f.Timesyncd = r.d.unit("systemd-timesyncd.service") != ""
	f.FakeHwclock = r.exists("etc/fake-hwclock.data") || r.d.unit("fake-hwclock.service") != ""
	f.Presets = strings.TrimSpace(r.root("etc/machine-id")) == "uninitialized" || !r.exists("etc/machine-id")
	for _, arg := range strings.Fields(r.boot("cmdline.txt")) {
		if strings.HasPrefix(arg, "init=") || arg == "resize" {
			f.FirstBoot = arg
		}
	}
}

func (r *reader) users(f *Facts) {
	shadow := map[string]string{}
	for _, s := range parseTable(r.root("etc/shadow"), 2).rows {
		shadow[s[0]] = s[1]
	}
	for _, p := range parseTable(r.root("etc/passwd"), 7).rows {
		uid, err1 := strconv.Atoi(p[2])
		gid, err2 := strconv.Atoi(p[3])
		if err1 != nil || err2 != nil || uid < 1000 || uid >= 65534 {
			continue
		}
		u := User{Name: p[0], UID: uid, GID: gid, Home: p[5], Shell: p[6], Password: PasswordSet}
		hash, ok := shadow[u.Name]
		switch {
		case !ok || strings.HasPrefix(hash, "!") || strings.HasPrefix(hash, "*"):
			u.Password = PasswordLocked
		case hash == "":
			u.Password = PasswordEmpty
		}
		if home := strings.TrimPrefix(path.Clean(u.Home), "/"); fs.ValidPath(home) {
			for line := range strings.Lines(r.root(home + "/.ssh/authorized_keys")) {
				if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
					u.Keys++
				}
			}
		}
		f.Users = append(f.Users, u)
	}
	slices.SortStableFunc(f.Users, func(a, b User) int { return a.UID - b.UID })
}

func (r *reader) ssh(f *Facts) {
	f.SSH.Enabled = r.d.enabled("ssh.service") || r.d.exists(plan.Boot, "ssh") || r.d.exists(plan.Boot, "ssh.txt")
	for _, n := range r.list(plan.Root, "etc/ssh") {
		if strings.HasPrefix(n, "ssh_host_") && strings.HasSuffix(n, "_key") {
			f.SSH.HostKeys = append(f.SSH.HostKeys, n)
		}
	}
}

func (r *reader) swap(f *Facts) {
	switch {
	case hasRPISwap(r.d, f):
		f.Swap.By = "rpi-swap"
		f.Swap.Enabled = !strings.Contains(r.root(rpiSwapConf), "Mechanism=none")
	case hasDphys(r.d):
		f.Swap.By = "dphys-swapfile"
		f.Swap.Enabled = !r.d.masked("dphys-swapfile.service") &&
			(r.d.enabled("dphys-swapfile.service") || len(dphysLinks(r.d)) > 0)
	}
}

func (r *reader) network(f *Facts) {
	switch {
	case r.d.enabled("NetworkManager.service"):
		f.Network.By = NetworkManager
	case r.d.enabled("dhcpcd.service"):
		f.Network.By = Dhcpcd
	}
	if f.Network.By == Dhcpcd {
		iface := ""
		for line := range strings.Lines(r.root("etc/dhcpcd.conf")) {
			w := strings.Fields(line)
			if len(w) == 2 && w[0] == "interface" {
				iface = w[1]
			}
			if addr, ok := strings.CutPrefix(strings.TrimSpace(line), "static ip_address="); ok && iface != "" {
				f.Network.Static = append(f.Network.Static, iface+" "+addr)
			}
		}
	}
	for _, n := range r.list(plan.Root, connections) {
		k := parseKeyfile(r.root(connections + "/" + n))
		if addr := k["ipv4"]["address1"]; k["ipv4"]["method"] == "manual" && addr != "" {
			addr, _, _ = strings.Cut(addr, ",")
			f.Network.Static = append(f.Network.Static, strings.TrimSpace(k["connection"]["interface-name"]+" "+addr))
		}
		if ssid := k["wifi"]["ssid"]; ssid != "" {
			f.Network.Wifi = append(f.Network.Wifi, ssid)
		}
	}
	for _, text := range []string{r.boot("wpa_supplicant.conf"), r.root("etc/wpa_supplicant/wpa_supplicant.conf")} {
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if ssid, ok := strings.CutPrefix(line, "ssid="); ok {
				f.Network.Wifi = append(f.Network.Wifi, strings.Trim(ssid, `"`))
			}
			if c, ok := strings.CutPrefix(line, "country="); ok {
				f.Network.Country = c
			}
		}
	}
	for _, arg := range strings.Fields(r.boot("cmdline.txt")) {
		if c, ok := strings.CutPrefix(arg, regdom); ok {
			f.Network.Country = c
		}
	}
}

// parseShellVars reads NAME=value lines with optional quotes, as in os-release
// and /etc/default. It does not expand anything.
func parseShellVars(text string) map[string]string {
	vars := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		k, v, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if len(v) >= 2 && (v[0] == '"' || v[0] == '\'') && v[len(v)-1] == v[0] {
			v = v[1 : len(v)-1]
		}
		vars[strings.TrimSpace(strings.TrimPrefix(k, "export "))] = v
	}
	return vars
}

// parseKeyfile reads the sections of an ini file.
func parseKeyfile(text string) map[string]map[string]string {
	out := map[string]map[string]string{}
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && line[len(line)-1] == ']':
			section = line[1 : len(line)-1]
		default:
			if k, v, ok := strings.Cut(line, "="); ok {
				if out[section] == nil {
					out[section] = map[string]string{}
				}
				out[section][strings.TrimSpace(k)] = strings.TrimSpace(v)
			}
		}
	}
	return out
}
