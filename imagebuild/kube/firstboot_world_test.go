//go:build linux

package kube

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// The first boot's scripts are run by a real bash, on real files below a folder, with
// real coreutils. What they would do to the machine is done by small models of the
// programs: this very test program under their names. The models share a world, which
// is a file, and refuse what the real programs refuse.

// world is what the models know that is not in files of the node.
type world struct {
	Clock  time.Time
	Addr   string            // of the interface
	Route  bool              // there is a default one
	Boot   int               // counts the starts of the node
	Active map[string]bool   // running units
	Enable map[string]bool   // units that run after a start
	Debs   map[string]string // installed packages
	// What dpkg was busy with: a package that it unpacked, or configured; and whether it
	// has come to an end since.
	Half, Unpacked string
	Journal        bool
	Images         []string // of containerd

	// The API server, whether of this node or of another.
	Remote bool // there is a control plane elsewhere
	Silent int  // how often it does not answer yet
	Nodes  map[string]string
	Tokens map[string]token // by id
	Done   []string         // what kubeadm init or an administrator has added
	Member string           // of etcd: "", learner or voter
	Config string           // which configuration containerd was started with

	Wrong  []string          // what no program may ever be asked to do
	Broken map[string]string // what a command answers instead of doing its work, by its beginning
	Sleeps []string
	Failed int
	Give   int // the number of failures after which the card is taken out; 0 for none
}

type token struct {
	Secret string
	Until  time.Time
}

// fake is a model that runs: one command, in the world.
type fake struct {
	dir, root string
	name      string
	args      []string
	stdin     string // if it is read
	w         *world
	lock      *os.File
}

// fakes are the models by the names of the programs. Only these are found by the
// scripts, and what a Raspberry Pi OS has from coreutils and the like.
func fakes() map[string]func(*fake) error {
	return map[string]func(*fake) error{
		"apt-get": (*fake).aptGet, "apt-mark": nothing, "containerd": (*fake).containerd, "crictl": (*fake).crictl,
		"ctr": (*fake).ctr, "curl": (*fake).curl, "date": (*fake).date, "dpkg": (*fake).dpkg, "dpkg-deb": (*fake).dpkgDeb,
		"dpkg-query": (*fake).dpkgQuery, "getent": (*fake).getent, "gpg": (*fake).gpg, "ip": (*fake).ip, "kubeadm": (*fake).kubeadm,
		"kubectl": (*fake).kubectl, "kubelet": nothing, "k3s": (*fake).k3s, "modprobe": (*fake).modprobe, "sleep": (*fake).sleep,
		"swapoff": (*fake).swapoff, "sysctl": (*fake).sysctl, "systemctl": (*fake).systemctl, "timedatectl": (*fake).timedatectl,
	}
}

func nothing(*fake) error { return nil }

// TestMain is the models' main, if the program goes by the name of one.
func TestMain(m *testing.M) {
	if run, ok := fakes()[filepath.Base(os.Args[0])]; ok && os.Getenv("FAKE_DIR") != "" {
		os.Exit(fakeMain(run))
	}
	os.Exit(m.Run())
}

func fakeMain(run func(*fake) error) int {
	f := &fake{dir: os.Getenv("FAKE_DIR"), name: filepath.Base(os.Args[0]), args: os.Args[1:]}
	f.root = filepath.Join(f.dir, "root")
	if slices.Contains(f.args, "-") { // before the world waits for this program
		in, err := io.ReadAll(os.Stdin)
		must(err)
		f.stdin = string(in)
	}
	f.load()
	err := f.run(run)
	f.save()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitCode(err)
	}
	return 0
}

func (f *fake) run(run func(*fake) error) error {
	f.log()
	line := f.name + " " + strings.Join(f.args, " ")
	for _, begin := range slices.Sorted(maps.Keys(f.w.Broken)) {
		if strings.HasPrefix(line, strings.Replace(begin, "ROOT", f.root, 1)) {
			code := 1
			if m := curlStatus.FindStringSubmatch(f.w.Broken[begin]); m != nil {
				code, _ = strconv.Atoi(m[1])
			}
			return status{f.w.Broken[begin], code}
		}
	}
	return run(f)
}

var curlStatus = regexp.MustCompile(`^curl: \((\d+)\)`)

// status is an error with an exit status of its own.
type status struct {
	text string
	code int
}

func (s status) Error() string { return s.text }

func exitCode(err error) int {
	if s, ok := err.(status); ok {
		return s.code
	}
	return 1
}

// load takes the world, for this program alone: the scripts have pipelines.
func (f *fake) load() {
	lock, err := os.OpenFile(filepath.Join(f.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	must(err)
	must(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	f.lock = lock
	if f.w == nil {
		f.w = &world{}
	}
	*f.w = *readWorld(f.dir) // whoever holds it
}

func (f *fake) save() {
	writeWorld(f.dir, f.w)
	must(f.lock.Close())
}

func readWorld(dir string) *world {
	data, err := os.ReadFile(filepath.Join(dir, "world.json"))
	must(err)
	w := &world{}
	must(json.Unmarshal(data, w))
	return w
}

func writeWorld(dir string, w *world) {
	data, err := json.MarshalIndent(w, "", " ")
	must(err)
	// Whole or not at all, as what it stands for.
	must(os.WriteFile(filepath.Join(dir, "world.new"), data, 0o600))
	must(os.Rename(filepath.Join(dir, "world.new"), filepath.Join(dir, "world.json")))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// log notes the command down.
func (f *fake) log() {
	out, err := os.OpenFile(filepath.Join(f.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	must(err)
	_, err = fmt.Fprintln(out, f.name, strings.Join(f.args, " "))
	must(err)
	must(out.Close())
}

// step is a moment between two things that a program does, at which the power may go.
func (f *fake) step() {
	if os.Getenv("FAKE_STEPS") == "" {
		return
	}
	f.save()
	_, err := os.NewFile(3, "moments").Write([]byte("."))
	must(err)
	_, err = os.NewFile(4, "answers").Read(make([]byte, 1))
	must(err)
	f.load()
}

// path is a path on the node.
func (f *fake) path(name string) string { return filepath.Join(f.root, name) }

// write writes a file of the node, and lets the power go before and after.
func (f *fake) write(name, content string) {
	f.step()
	must(os.MkdirAll(filepath.Dir(f.path(name)), 0o755))
	must(os.WriteFile(f.path(name), []byte(content), 0o600))
	f.step()
}

// whole reports whether a file is there and has something in it.
func (f *fake) whole(name string) bool {
	info, err := os.Stat(f.path(name))
	return err == nil && info.Size() > 0
}

// holds reports whether anything is in a folder.
func (f *fake) holds(name string) bool {
	entries, _ := os.ReadDir(f.path(name))
	return len(entries) > 0
}

func (f *fake) never(format string, args ...any) {
	f.w.Wrong = append(f.w.Wrong, fmt.Sprintf(format, args...))
}

// node is a card in a board: a folder, and what is needed to switch it on.
type node struct {
	t    testing.TB
	dir  string // holds root/, world.json and log
	bins string // the models
	env  []string
	out  strings.Builder
}

// shells are the programs of the image that do not change the machine.
var shells = []string{
	"awk", "base64", "bash", "cat", "chmod", "cmp", "cp", "cut", "df", "dirname", "basename", "env", "false", "find", "flock", "fold", "grep", "gzip", "head", "id",
	"ln", "ls", "mkdir", "mktemp", "mv", "openssl", "rm", "sed", "sh", "sha256sum", "sort", "stat", "tail", "tee", "touch", "tr", "true", "wc", "xargs", "zstd",
}

// models makes a folder with the models and the programs that are run as they are,
// and nothing else. The programs that come with artifacts are in a folder of their own.
func models(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	must(os.Mkdir(filepath.Join(dir, "later"), 0o755))
	for name := range fakes() {
		if slices.Contains([]string{"kubeadm", "kubelet", "kubectl", "containerd", "ctr", "crictl", "k3s"}, name) {
			name = "later/" + name
		}
		must(os.Symlink(self, filepath.Join(dir, name)))
	}
	// To write everything out takes long, and shows nothing here.
	must(os.Symlink("/bin/true", filepath.Join(dir, "sync")))
	for _, name := range shells {
		if p, err := exec.LookPath(name); err == nil {
			must(os.Symlink(p, filepath.Join(dir, name)))
		} else if name != "zstd" {
			tooltest.Skip(t, name+" is not installed")
		}
	}
	return dir
}

// command is a program of the node's, run as systemd would.
func (n *node) command(name string, args ...string) *exec.Cmd {
	root := filepath.Join(n.dir, "root")
	cmd := exec.Command(filepath.Join(root, name), args...)
	cmd.Env = append([]string{
		"PATH=" + n.bins + ":" + filepath.Join(root, "usr/local/bin") + ":" + filepath.Join(root, "usr/bin"),
		"PIIMG_ROOT=" + root, "FAKE_DIR=" + n.dir, "FAKE_BINS=" + n.bins, "HOME=/root", "LC_ALL=C.UTF-8",
		"PIIMG_TRIES=4", "PIIMG_TIME_TRIES=3",
	}, n.env...)
	cmd.Dir = root
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// run runs a program to its end, and returns what it says.
func (n *node) run(name string, args ...string) (string, error) {
	cmd := n.command(name, args...)
	out, err := cmd.CombinedOutput()
	n.out.Write(out)
	return string(out), err
}

const firstboot = "usr/lib/piimg/firstboot"

// boot lets the first boot come to its end. A world in which it never does is given
// up by the model of sleep.
func (n *node) boot() {
	n.t.Helper()
	if out, err := n.run(firstboot); err != nil {
		data, _ := os.ReadFile(filepath.Join(n.dir, "log"))
		n.t.Fatalf("the first boot: %v\n%s\n%s", err, out, data)
	}
	n.check()
}

// check fails the test if a program was asked to do what must never be done.
func (n *node) check() {
	n.t.Helper()
	for _, wrong := range readWorld(n.dir).Wrong {
		n.t.Errorf("%s\n%s", wrong, n.out.String())
	}
}

// moments runs a program and calls at for every moment at which the power may go,
// while everything waits: before each command of a script, and between the things
// that a model does. If at says so, everything is killed then and there.
func (n *node) moments(at func(count int) (kill bool), name string, args ...string) (killed bool) {
	n.t.Helper()
	askR, askW, err := os.Pipe()
	must(err)
	ackR, ackW, err := os.Pipe()
	must(err)
	hook := filepath.Join(n.bins, "moments.sh")
	// What reads the answers must leave no trace in the scripts.
	must(os.WriteFile(hook, []byte("set -T\ntrap '{ printf . >&3 && IFS= read -r -N 1 -u 4 piimg_moment; } 2>/dev/null' DEBUG\n"), 0o600))
	cmd := n.command(name, args...)
	cmd.Env = append(cmd.Env, "BASH_ENV="+hook, "FAKE_STEPS=1")
	cmd.ExtraFiles = []*os.File{askW, ackR}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	must(cmd.Start())
	must(askW.Close())
	must(ackR.Close())
	in := bufio.NewReader(askR)
	for count := 0; ; count++ {
		if _, err := in.ReadByte(); err != nil {
			break
		}
		if at(count) {
			must(syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
			killed = true
			break
		}
		if _, err := ackW.Write([]byte(".")); err != nil {
			break
		}
	}
	_ = ackW.Close()
	if killed {
		_, _ = io.Copy(io.Discard, askR) // until the last of them is gone
	}
	err = cmd.Wait()
	_ = askR.Close()
	n.out.WriteString(out.String())
	if !killed && err != nil {
		n.t.Errorf("%s: %v\n%s", name, err, out.String())
	}
	return killed
}

// restart is a loss of power and a new start: what is in memory is gone, and what is
// enabled is started.
func (n *node) restart() {
	for _, memory := range []string{"run", "sys/module", "proc/sys/net"} {
		must(os.RemoveAll(filepath.Join(n.dir, "root", memory)))
	}
	w := readWorld(n.dir)
	w.Boot++
	w.Active = map[string]bool{}
	f := &fake{dir: n.dir, root: filepath.Join(n.dir, "root"), w: w}
	for _, unit := range slices.Sorted(maps.Keys(w.Enable)) {
		f.start(unit)
	}
	must(os.WriteFile(f.path("proc/sys/kernel/random/boot_id"), fmt.Appendf(nil, "00000000-0000-0000-0000-%012d\n", w.Boot), 0o600))
	writeWorld(n.dir, w)
}

// copy returns another card with the same content.
func (n *node) copy(t testing.TB) *node {
	t.Helper()
	c := &node{t: t, dir: t.TempDir(), bins: n.bins, env: n.env}
	copyTree(n.dir, c.dir)
	return c
}

func copyTree(from, to string) {
	must(filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(name, from))
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			if err = os.MkdirAll(target, 0o700); err == nil {
				err = os.Chmod(target, info.Mode())
			}
			return err
		case d.Type() == fs.ModeSymlink:
			link, err := os.Readlink(name)
			must(err)
			return os.Symlink(link, target)
		}
		data, err := os.ReadFile(name)
		must(err)
		must(os.WriteFile(target, data, 0o600))
		return os.Chmod(target, info.Mode())
	}))
}

// tree is a node's files by their paths: kind, mode and content, without what stands
// for a time or is in memory only.
func (n *node) tree() map[string]string {
	all := map[string]string{}
	root := filepath.Join(n.dir, "root")
	must(filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(strings.TrimPrefix(name, root), "/")
		switch {
		case err != nil || rel == "":
			return err
		case rel == "run" || rel == "proc" || rel == "sys":
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case d.Type() == fs.ModeSymlink:
			content, err = os.Readlink(name)
		case d.Type().IsRegular():
			var data []byte
			data, err = os.ReadFile(name)
			content = timeless(string(data))
			if strings.HasPrefix(rel, "var/lib/piimg/stamps/") || rel == "var/lib/piimg/cluster-formed" {
				content = fmt.Sprint("something: ", len(data) > 0)
			}
		}
		all[rel] = fmt.Sprintf("%v %q", info.Mode(), content)
		return err
	}))
	return all
}

// differences lists what two trees do not have in common.
func differences(got, want map[string]string) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			list = append(list, fmt.Sprintf("%s: got %.300s, want %.300s", name, got[name], want[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			list = append(list, fmt.Sprintf("%s is too much: %.300s", name, got[name]))
		}
	}
	return list
}
