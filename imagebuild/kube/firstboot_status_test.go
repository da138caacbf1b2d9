//go:build linux

package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// trouble is something that goes wrong on a first boot.
type trouble struct {
	name  string
	card  string
	make  func(n *node, w *world)
	phase string // in which it is told
}

func troubles() []trouble {
	broken := func(command, answer string) func(*node, *world) {
		return func(_ *node, w *world) { w.Broken[command] = answer }
	}
	remove := func(name string) func(*node, *world) {
		return func(n *node, _ *world) { must(os.RemoveAll(n.path(name))) }
	}
	put := func(name, content string) func(*node, *world) {
		return func(n *node, _ *world) { n.write(name, content) }
	}
	return []trouble{
		{"clock ahead", "worker", func(_ *node, w *world) { w.Clock = bootTime.AddDate(40, 0, 0) }, "10-time"},
		{"no interface", "init", func(_ *node, w *world) { w.Addr = "none" }, "20-network"},
		{"no cable", "init", func(n *node, w *world) { w.Addr = ""; n.write("sys/class/net/eth0/carrier", "0\n") }, "20-network"},
		{"no address", "worker by DHCP online", func(_ *node, w *world) { w.Addr = "" }, "20-network"},
		{"no Wi-Fi", "init", func(n *node, w *world) {
			w.Addr = ""
			n.edit("etc/piimg/node.env", func(s string) string { return strings.Replace(s, "'eth0'", "'wlan0'", 1) })
		}, "20-network"},
		{"another address", "init", func(_ *node, w *world) { w.Addr = "10.0.0.117" }, "20-network"},
		{"no route", "init online", func(_ *node, w *world) { w.Route = false }, "20-network"},
		{"unknown endpoint", "worker", func(n *node, _ *world) {
			n.edit("etc/piimg/node.env", func(s string) string {
				return strings.Replace(s, "PIIMG_ENDPOINT_HOST='isabelle'", "PIIMG_ENDPOINT_HOST='unknown.example'", 1)
			})
		}, "20-network"},
		{"no overlayfs", "init", put("proc/filesystems", "\text4\n"), "30-kernel"},
		{"no br_netfilter", "init", broken("modprobe br_netfilter", ""), "30-kernel"},
		{"no vxlan", "init", broken("modprobe vxlan", ""), "30-kernel"},
		{"no ip_forward", "init", broken("sysctl", "permission denied"), "30-kernel"},
		{"no memory cgroup", "init", put("sys/fs/cgroup/cgroup.controllers", "cpu io pids\n"), "30-kernel"},
		{"cgroup v1 and too new", "init", func(n *node, _ *world) {
			must(os.RemoveAll(n.path("sys/fs/cgroup")))
			n.write("sys/fs/cgroup/memory/tasks", "")
			n.edit("etc/piimg/node.env", func(s string) string { return strings.Replace(s, "1.34.4", "1.35.4", 1) })
		}, "30-kernel"},
		{"swap", "worker", broken("swapoff", ""), "30-kernel"},
		{"little memory", "available init", put("proc/meminfo", "MemTotal: 948000 kB\n"), "30-kernel"},
		{"damaged card", "init", put("var/lib/piimg/artifacts/bin/kubelet", "#!/bin/sh\n"), "40-packages"},
		{"a package lacks another", "worker", broken("dpkg -i", "dpkg: dependency problems prevent configuration of kubelet:\n kubelet depends on conntrack; however:\n  Package conntrack is not installed."), "40-packages"},
		{"dpkg is locked", "worker", broken("dpkg -i", "dpkg: error: dpkg frontend lock was locked by another process with pid 1234"), "40-packages"},
		{"no program", "init", remove("var/lib/piimg/artifacts/bin/kubelet"), "40-packages"},
		{"no kubelet", "init", func(n *node, _ *world) {
			must(os.RemoveAll(n.path("var/lib/piimg/artifacts/bin/kubelet")))
			n.edit("var/lib/piimg/artifacts/SHA256SUMS", func(s string) string {
				var kept []string
				for line := range strings.Lines(s) {
					if !strings.Contains(line, "kubelet") {
						kept = append(kept, line)
					}
				}
				return strings.Join(kept, "")
			})
		}, "40-packages"},
		{"no internet", "init online", broken("curl -fsSL", "curl: (6) Could not resolve host: pkgs.k8s.io"), "40-packages"},
		{"foreign key", "init online", func(n *node, _ *world) {
			must(os.WriteFile(filepath.Join(n.dir, "internet/pkgs.k8s.io/core:/stable:/v1.34/deb/Release.key"), []byte("pub "+packagesKey+"\npub 0123456789ABCDEF0123456789ABCDEF01234567\n"), 0o600))
		}, "40-packages"},
		{"no key", "init online", func(n *node, _ *world) {
			must(os.WriteFile(filepath.Join(n.dir, "internet/pkgs.k8s.io/core:/stable:/v1.34/deb/Release.key"), []byte("<html>\n"), 0o600))
		}, "40-packages"},
		{"no such version", "init online", broken("apt-get -q -y -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold install", "Reading package lists...\nE: Version '1.34.4-*' for 'kubelet' was not found"), "40-packages"},
		{"k3s is another", "k3s agent online", func(n *node, _ *world) {
			must(os.WriteFile(filepath.Join(n.dir, "internet/github.com/k3s-io/k3s/releases/download/v1.34.1%2Bk3s1/k3s-arm64"), []byte("another"), 0o600))
		}, "40-packages"},
		{"containerd does not start", "init", broken("systemctl restart containerd", "Job for containerd.service failed."), "50-runtime"},
		{"containerd without CRI", "init", broken("ctr --connect-timeout 5s plugins", ""), "50-runtime"},
		{"an image is not there", "init", func(n *node, _ *world) {
			n.edit("etc/piimg/kubernetes/images", func(s string) string { return s + "registry.k8s.io/coredns/coredns:v9.9.9\n" })
		}, "55-images"},
		{"the registry is down", "init online", broken("crictl pull", "connection refused"), "55-images"},
		{"no control plane", "worker", func(_ *node, w *world) { w.Remote = false }, "60-cluster"},
		{"another control plane", "worker", broken("curl -sS", "curl: (60) SSL certificate problem: unable to get local issuer certificate"), "60-cluster"},
		{"clocks differ", "worker", broken("curl -sS", "curl: (60) SSL certificate problem: certificate is not yet valid"), "60-cluster"},
		{"token forgotten", "worker", func(_ *node, w *world) { w.Tokens = map[string]token{} }, "60-cluster"},
		{"token refused", "worker", broken("kubeadm join", "error execution phase preflight: couldn't validate the identity of the API Server: could not find a JWS signature in the cluster-info ConfigMap for token ID \"abcdef\""), "60-cluster"},
		{"two of one name", "worker", func(_ *node, w *world) { w.Nodes["blathers"] = "True" }, "60-cluster"},
		{"one processor", "init", broken("kubeadm init", "error execution phase preflight: [preflight] Some fatal errors occurred:\n\t[ERROR NumCPU]: the number of available CPUs 1 is less than the required 2"), "60-cluster"},
		{"something that kubeadm checks", "init", broken("kubeadm init", "error execution phase preflight: [preflight] Some fatal errors occurred:\n\t[ERROR FileExisting-conntrack]: conntrack not found in system path\n[preflight] If you know what you are doing"), "60-cluster"},
		{"init times out", "init", broken("kubeadm init", "[wait-control-plane] Waiting for a healthy API server\nerror execution phase wait-control-plane: failed while waiting for the control plane to start: context deadline exceeded"), "60-cluster"},
		{"k3s does not come", "k3s server", broken("k3s kubectl", ""), "60-cluster"},
		{"manifest not taken", "init", broken("kubectl --kubeconfig ROOT/etc/kubernetes/admin.conf --request-timeout=20s apply", "the server could not find the requested resource"), "70-cni"},
		{"not ready", "worker", func(n *node, w *world) {
			w.Broken["curl -sS --max-time 20 --cacert ROOT/etc/piimg/kubernetes/ca.crt --cert"] = ""
		}, "90-finished"},
		{"unforeseen", "init", remove("etc/modules-load.d"), "30-kernel"},
	}
}

// TestStatusInPlainWords compares what the owner of a card reads with the golden file,
// which people judge.
func TestStatusInPlainWords(t *testing.T) {
	var b strings.Builder
	results := make([]string, len(troubles()))
	t.Run("all", func(t *testing.T) {
		for i, trouble := range troubles() {
			t.Run(trouble.name, func(t *testing.T) {
				t.Parallel()
				n := newNode(t, kind(t, trouble.card))
				n.change(func(w *world) {
					w.Silent = 0
					trouble.make(n, w)
				})
				results[i] = n.giveUp(1)
				if !strings.Contains(results[i], "("+trouble.phase+")") {
					t.Errorf("it is not told in %s:\n%s\n%s", trouble.phase, results[i], n.out.String())
				}
			})
		}
	})
	for i, trouble := range troubles() {
		text := timeless(results[i])
		if i > 0 { // once in full
			_, text, _ = strings.Cut(text, "attempt:\n")
			text, _, _ = strings.Cut(text, "\n\n")
		}
		b.WriteString("=== " + trouble.name + " (" + trouble.phase + ")\n" + text + "\n")
	}
	golden(t, "firstboot-status.golden", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		must(os.WriteFile(name, []byte(got), 0o644))
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs: run go test -update and look at the difference", name)
	}
}

// giveUp lets the first boot fail, and takes the card out. It returns what is to be
// read on it.
func (n *node) giveUp(failures int) string {
	n.t.Helper()
	n.change(func(w *world) { w.Give = failures })
	if out, err := n.run(firstboot); err == nil {
		n.t.Fatalf("nothing was wrong:\n%s", out)
	}
	return n.read("boot/firmware/piimg-status.txt")
}

// TestBackOff counts the seconds between attempts, and the times that the FAT
// partition is written.
func TestBackOff(t *testing.T) {
	n := newNode(t, kind(t, "init"))
	n.change(func(w *world) { w.Addr = "" })
	n.giveUp(9)
	var waits []string
	for _, s := range readWorld(n.dir).Sleeps {
		if s != "2" { // those of 10-time
			waits = append(waits, s)
		}
	}
	if got := strings.Join(waits, " "); got != "5 10 20 40 60 60 60 60 60" {
		t.Errorf("it was waited for %s s", got)
	}
	if status := n.read("var/lib/piimg/status"); !strings.Contains(status, "\nattempt=9\n") {
		t.Errorf("the status is\n%s", status)
	}
	if text := n.read("boot/firmware/piimg-status.txt"); !strings.Contains(text, "after 8 attempts") {
		t.Errorf("the FAT partition was written at other times than after 1, 2, 4 and 8 attempts:\n%s", text)
	}
}

// TestStatusWithoutFAT has no boot partition, or one that cannot be written.
func TestStatusWithoutFAT(t *testing.T) {
	for name, spoil := range map[string]func(n *node){
		"no partition":  func(n *node) { must(os.RemoveAll(n.path("boot"))) },
		"no file":       func(n *node) { must(os.MkdirAll(n.path("boot/firmware/piimg-status.txt/x"), 0o755)) },
		"no other file": func(n *node) { must(os.MkdirAll(n.path("boot/firmware/piimg-status.new/x"), 0o755)) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, kind(t, "k3s server"))
			spoil(n)
			n.boot()
			if !strings.Contains(n.out.String(), "piimg-status.txt cannot be written") {
				t.Errorf("nothing is said of it:\n%s", n.out.String())
			}
		})
	}
}

// TestStatusCommand asks on the node.
func TestStatusCommand(t *testing.T) {
	if os.Getuid() != 0 {
		tooltest.Skip(t, "it is root's")
	}
	n := newNode(t, kind(t, "k3s server"))
	const program = "usr/local/bin/piimg"
	if out, err := n.run(program, "status"); err == nil || !strings.Contains(out, "The first boot has not begun.") {
		t.Errorf("before: %v\n%s", err, out)
	}
	for _, args := range [][]string{nil, {"stats"}, {"status", "now"}, {"status", "--wait", "x"}} {
		if out, err := n.run(program, args...); err == nil || !strings.Contains(out, "usage") {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	n.boot()
	for _, args := range [][]string{{"status"}, {"status", "--wait"}} {
		out, err := n.run(program, args...)
		for _, want := range []string{"Finished: the node is ready.", "10-time", "90-finished", "k3s: active", "Note:"} {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("after, %q: %v, no %s\n%s", args, err, want, out)
			}
		}
	}
}

// TestClock has a node whose clock lies before the cluster was made.
func TestClock(t *testing.T) {
	n := newNode(t, kind(t, "k3s server"))
	n.change(func(w *world) { w.Clock = time.Date(2017, 11, 29, 0, 0, 0, 0, time.UTC) })
	n.boot()
	if now := readWorld(n.dir).Clock; now.Year() != 2018 { // that of the secrets
		t.Errorf("the clock is at %v", now)
	}
	if text := n.read("boot/firmware/piimg-status.txt"); !strings.Contains(text, "The clock was set to 2018-01-01") {
		t.Errorf("nothing is said of it:\n%s", text)
	}

	n = newNode(t, kind(t, "worker"))
	n.write("run/systemd/timesync/synchronized", "")
	n.change(func(w *world) { w.Active["systemd-timesyncd"] = true })
	n.boot()
	if text := n.read("boot/firmware/piimg-status.txt"); strings.Contains(text, "time server") {
		t.Errorf("the clock was set by a time server, and something is said of it:\n%s", text)
	}
}
