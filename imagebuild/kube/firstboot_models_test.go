//go:build linux

package kube

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The models of what an operating system brings.

var stampOfTime = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?( UTC|Z)?|\d\d:\d\d:\d\d UTC|0{8}-[0-9-]{27}`)

// timeless replaces whatever stands for a time or for a start of the node.
func timeless(s string) string { return stampOfTime.ReplaceAllString(s, "TIME") }

// env is node.env.
func (f *fake) env(key string) string {
	data, err := os.ReadFile(f.path("etc/piimg/node.env"))
	must(err)
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			return strings.Trim(v, "'")
		}
	}
	return ""
}

// operands are the arguments that are no flags.
func (f *fake) operands() []string {
	return slices.DeleteFunc(slices.Clone(f.args), func(a string) bool { return strings.HasPrefix(a, "-") })
}

func (f *fake) date() error {
	now, format := f.w.Clock, ""
	for i, a := range f.args {
		switch {
		case strings.HasPrefix(a, "+"):
			if i == 0 || f.args[i-1] != "-d" {
				format = a[1:]
				break
			}
			var n int
			var unit string
			if _, err := fmt.Sscanf(a, "+%d %s", &n, &unit); err != nil {
				return err
			}
			now = now.Add(time.Duration(n) * map[string]time.Duration{"seconds": time.Second, "hours": time.Hour}[unit])
		case i > 0 && f.args[i-1] == "-d":
			for _, layout := range []string{"Jan _2 15:04:05 2006 MST", time.RFC3339} {
				if t, err := time.Parse(layout, a); err == nil {
					now = t
				}
			}
		case i > 0 && f.args[i-1] == "-s":
			n, err := strconv.ParseInt(strings.TrimPrefix(a, "@"), 10, 64)
			if err != nil {
				return err
			}
			f.w.Clock = time.Unix(n, 0).UTC()
			now = f.w.Clock
		}
	}
	if format == "" {
		format = "%F %T"
	}
	fmt.Println(strings.NewReplacer(
		"%F", now.UTC().Format(time.DateOnly), "%T", now.UTC().Format(time.TimeOnly), "%R", now.UTC().Format("15:04"), "%s", fmt.Sprint(now.Unix()),
	).Replace(format))
	return nil
}

// sleep lets time pass, and ends what would never end.
func (f *fake) sleep() error {
	n, err := strconv.Atoi(f.args[0])
	if err != nil {
		return err
	}
	f.w.Clock = f.w.Clock.Add(time.Duration(n) * time.Second)
	f.w.Sleeps = append(f.w.Sleeps, f.args[0])
	if n >= 5 { // between two attempts
		f.w.Failed++
	}
	if n >= 60 && f.w.Remote && !f.w.Active["kubelet"] && f.w.Nodes[f.me()] == "True" {
		f.w.Nodes[f.me()] = "Unknown" // it has not been heard of for long
	}
	if f.w.Give > 0 && f.w.Failed >= f.w.Give {
		return status{"sleep: the card is taken out", 98}
	}
	if len(f.w.Sleeps) > 60 {
		return status{"sleep: this does not end", 99}
	}
	return nil
}

func (f *fake) timedatectl() error {
	fmt.Println("               Local time: Mon 2026-11-23 10:00:00 UTC\nSystem clock synchronized: no")
	return nil
}

func (f *fake) getent() error {
	if strings.HasPrefix(f.args[1], "unknown") {
		return status{"", 2}
	}
	fmt.Println("10.0.0.50       STREAM")
	return nil
}

func (f *fake) ip() error {
	line := strings.Join(f.args, " ")
	switch {
	case strings.HasPrefix(line, "link show dev "):
		if f.env("PIIMG_INTERFACE") != f.args[3] || f.w.Addr == "none" {
			return status{"Device does not exist.", 1}
		}
	case strings.HasPrefix(line, "-4 -o addr show"):
		if f.w.Addr != "" {
			fmt.Printf("2: eth0    inet %s/24 brd 10.0.0.255 scope global eth0\\       valid_lft forever\n", f.w.Addr)
		}
	case line == "-4 route show default":
		if f.w.Route {
			fmt.Println("default via 10.0.0.1 dev eth0")
		}
	default:
		return status{"ip " + line + ": Operation not supported", 2}
	}
	return nil
}

func (f *fake) modprobe() error {
	switch f.args[0] {
	case "br_netfilter":
		f.write("proc/sys/net/bridge/bridge-nf-call-iptables", "0\n")
		f.write("proc/sys/net/bridge/bridge-nf-call-ip6tables", "0\n")
	case "vxlan":
		f.write("sys/module/vxlan/x", "")
	}
	return nil
}

// sysctl sets what is in a file.
func (f *fake) sysctl() error {
	data, err := os.ReadFile(f.args[len(f.args)-1])
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, "="); ok {
			f.write("proc/sys/"+strings.ReplaceAll(strings.TrimSpace(key), ".", "/"), strings.TrimSpace(value)+"\n")
		}
	}
	return nil
}

func (f *fake) swapoff() error {
	f.write("proc/swaps", "Filename Type Size Used Priority\n")
	return nil
}

func (f *fake) systemctl() error {
	ops := f.operands()
	verb, units := ops[0], ops[1:]
	active := false
	for _, unit := range units {
		unit = strings.TrimSuffix(unit, ".service")
		f.step()
		switch verb {
		case "start":
			if !f.w.Active[unit] {
				f.start(unit)
			}
		case "restart":
			f.w.Active[unit] = false
			f.start(unit)
		case "stop":
			f.w.Active[unit] = false
		case "enable":
			f.w.Enable[unit] = true
		case "disable":
			delete(f.w.Enable, unit)
		case "is-active":
			if f.w.Active[unit] {
				active = true
				fmt.Println("active")
			} else {
				fmt.Println("inactive")
			}
		}
		f.step()
	}
	if verb == "is-active" && !active {
		return status{"", 3}
	}
	return nil
}

// start starts a unit, if what it needs is there.
func (f *fake) start(unit string) {
	switch unit {
	case "kubelet":
		if !f.whole("var/lib/kubelet/config.yaml") {
			return
		}
	case "k3s", "k3s-agent":
		if !f.whole("etc/rancher/k3s/config.yaml") {
			return
		}
	case "containerd":
		data, _ := os.ReadFile(f.path("etc/containerd/config.toml"))
		f.w.Config = string(data)
	}
	f.w.Active[unit] = true
	f.settle()
}

// The artifacts of these tests are text. Packages have fields; of the programs that
// are files in them or beside them, all that matters is that they can be run.
const packageText = "Package: %s\nVersion: %s\nFiles: %s\n"

func field(text, name string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// program is a file that is the model.
func program(bins, name string) string {
	return fmt.Sprintf("#!/bin/sh\nexec %s \"$@\"\n", filepath.Join(bins, "later", name))
}

func (f *fake) dpkgDeb() error {
	data, err := os.ReadFile(f.args[1])
	if err != nil {
		return err
	}
	fmt.Println(field(string(data), f.args[2]))
	return nil
}

func (f *fake) dpkgQuery() error {
	name := f.args[len(f.args)-1]
	version, ok := f.w.Debs[name]
	switch {
	case f.w.Half == name:
		fmt.Print("iHR=" + version)
	case f.w.Unpacked == name:
		fmt.Print("iU =" + version)
	case ok:
		fmt.Print("ii =" + version)
	default:
		return status{"dpkg-query: no packages found matching " + name, 1}
	}
	return nil
}

func (f *fake) dpkg() error {
	switch ops := f.operands(); {
	case slices.Contains(f.args, "--print-architecture"):
		fmt.Println("arm64")
	case slices.Contains(f.args, "--configure"):
		f.step()
		f.w.Journal = false
		f.configure()
	case slices.Contains(f.args, "--compare-versions"):
		if ops[0] < ops[2] {
			return status{"", 1}
		}
	case slices.Contains(f.args, "-i"):
		for _, file := range ops {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			text := string(data)
			f.install(field(text, "Package"), field(text, "Version"), strings.Fields(field(text, "Files")))
		}
	}
	return nil
}

// install unpacks and configures a package.
func (f *fake) install(name, version string, files []string) {
	f.w.Journal, f.w.Half, f.w.Debs[name] = true, name, version
	for _, file := range files {
		f.step()
		must(os.MkdirAll(filepath.Dir(f.path(file)), 0o755))
		must(os.WriteFile(f.path(file), []byte(program(os.Getenv("FAKE_BINS"), filepath.Base(file))), 0o755))
	}
	f.step()
	f.w.Half, f.w.Unpacked = "", name
	f.configure()
	f.w.Journal = false
}

// configure finishes what is unpacked. What is not is left as it is.
func (f *fake) configure() {
	f.step()
	if f.w.Unpacked == "containerd" {
		f.w.Enable["containerd"] = true
		f.start("containerd")
	}
	f.w.Unpacked = ""
	f.step()
}

func (f *fake) aptGet() error {
	if f.w.Journal {
		return status{"E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.", 100}
	}
	list, _ := os.ReadFile(f.path("etc/apt/sources.list.d/piimg-kubernetes.list"))
	key, _ := os.ReadFile(f.path("etc/apt/keyrings/piimg-kubernetes.asc"))
	ours := strings.HasPrefix(string(list), "deb [signed-by=/etc/apt/keyrings/piimg-kubernetes.asc] https://pkgs.k8s.io/") && strings.Contains(string(key), packagesKey)
	at := slices.Index(f.args, "install")
	if at < 0 {
		return nil
	}
	for _, p := range f.args[at+1:] {
		if strings.HasPrefix(p, "-") {
			continue
		}
		name, version, exact := strings.Cut(p, "=")
		if exact && !ours {
			return status{"E: Unable to locate package " + name, 100}
		}
		var files []string
		switch name {
		case "kubeadm", "kubelet", "kubectl":
			files = []string{"usr/bin/" + name}
		case "containerd":
			files = []string{"usr/bin/containerd", "usr/bin/ctr"}
		case "cri-tools":
			files = []string{"usr/bin/crictl"}
		}
		f.install(name, strings.Replace(version, "*", "1.1", 1), files)
	}
	return nil
}

// gpg shows the keys of a file, which are lines "pub FINGERPRINT".
func (f *fake) gpg() error {
	data, err := os.ReadFile(f.args[len(f.args)-1])
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if kind, fpr, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			fmt.Printf("%s:-:2048:1:234654DA9A296436:1661345741:::-:\nfpr:::::::::%s:\n", kind, fpr)
		}
	}
	return nil
}

func (f *fake) containerd() error {
	version := f.w.Debs["containerd"]
	if version == "" {
		version = "1.6.20~ds1"
	}
	fmt.Println("containerd github.com/containerd/containerd", version, version+"-1")
	return nil
}

func (f *fake) runtime() error {
	if !f.w.Active["containerd"] {
		return status{"failed to dial \"/run/containerd/containerd.sock\": connection error", 1}
	}
	return nil
}

func (f *fake) crictl() error {
	if err := f.runtime(); err != nil {
		return err
	}
	f.image(f.args[1])
	return nil
}

func (f *fake) image(ref string) {
	f.step()
	if !slices.Contains(f.w.Images, ref) {
		f.w.Images = append(f.w.Images, ref)
		slices.Sort(f.w.Images)
	}
	f.step()
}

func (f *fake) ctr() error {
	if err := f.runtime(); err != nil {
		return err
	}
	line := strings.Join(f.args, " ")
	switch {
	case strings.HasSuffix(line, "plugins ls"):
		fmt.Println("TYPE  ID  PLATFORMS  STATUS\nio.containerd.content.v1  content  -  ok\nio.containerd.grpc.v1  cri  linux/arm64  ok")
	case strings.HasSuffix(line, "images ls -q"):
		fmt.Println(strings.Join(f.w.Images, "\n"))
	case strings.Contains(line, "images import"):
		if f.stdin == "" {
			return status{"ctr: unrecognized image format", 1}
		}
		for ref := range strings.FieldsSeq(f.stdin) {
			f.image(ref)
		}
	case strings.Contains(line, "images rm"):
		for _, ref := range f.operands()[3:] {
			f.step()
			f.w.Images = slices.DeleteFunc(f.w.Images, func(s string) bool { return s == ref })
		}
	}
	return nil
}
