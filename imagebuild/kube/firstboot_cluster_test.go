//go:build linux

package kube

import (
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The models of Kubernetes.

const (
	k8s       = "etc/kubernetes/"
	manifests = k8s + "manifests/"
	etcdDir   = "var/lib/etcd/member"
	clientPEM = "var/lib/kubelet/pki/kubelet-client-current.pem"
)

func staticPods() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
}

func (f *fake) me() string   { return f.env("PIIMG_NODE") }
func (f *fake) first() bool  { return strings.HasSuffix(f.env("PIIMG_ACTION"), "init") }
func (f *fake) planes() bool { return f.env("PIIMG_ROLE") == "control-plane" }

// up reports whether an API server answers, and lets a silent one come nearer to that.
func (f *fake) up() bool {
	if !f.first() {
		if f.w.Silent > 0 {
			f.w.Silent--
			return false
		}
		// Two members of etcd need both, of which this one is the second.
		return f.w.Remote && (f.w.Member != "voter" || f.runsEtcd())
	}
	f.settle()
	return f.serves()
}

func (f *fake) runsEtcd() bool {
	return f.w.Active["kubelet"] && f.whole(manifests+"etcd.yaml") && f.whole(etcdDir)
}

// serves reports whether the API server of this node runs.
func (f *fake) serves() bool {
	if !f.w.Active["kubelet"] {
		return false
	}
	for _, pod := range staticPods() {
		if !f.whole(manifests + pod + ".yaml") {
			return false
		}
	}
	ours, _ := os.ReadFile(f.path("etc/piimg/kubernetes/ca.crt"))
	ca, _ := os.ReadFile(f.path(k8s + "pki/ca.crt"))
	return f.whole(etcdDir) && string(ca) == string(ours)
}

// settle does what the kubelet does by itself: it runs etcd, gets a certificate with a
// token, and registers the node.
func (f *fake) settle() {
	w := f.w
	if w.Active["k3s"] || w.Active["k3s-agent"] && w.Remote {
		f.write("var/lib/rancher/k3s/agent/kubelet.kubeconfig", "k3s\n")
		w.Nodes[f.me()] = "True"
	}
	if !w.Active["kubelet"] {
		return
	}
	if f.whole(manifests + "etcd.yaml") {
		must(os.MkdirAll(f.path(filepath.Dir(etcdDir)), 0o700))
		must(os.WriteFile(f.path(etcdDir), []byte("data"), 0o600))
	} else if f.first() && !f.whole(etcdDir) {
		w.Nodes, w.Tokens, w.Done = map[string]string{}, map[string]token{}, nil
	}
	if f.first() && !f.serves() || !f.first() && (!w.Remote || w.Silent > 0) {
		return
	}
	if !f.whole(k8s+"kubelet.conf") && f.whole(k8s+"bootstrap-kubelet.conf") {
		must(os.MkdirAll(f.path(filepath.Dir(clientPEM)), 0o700))
		must(os.WriteFile(f.path(clientPEM), []byte("certificate"), 0o600))
		must(os.WriteFile(f.path(k8s+"kubelet.conf"), []byte("kubeconfig"), 0o600))
	}
	if f.whole(k8s + "kubelet.conf") {
		w.Nodes[f.me()] = "False"
		if !f.first() || slices.Contains(w.Done, "cni") {
			w.Nodes[f.me()] = "True"
		}
	}
}

func (f *fake) add(what string) {
	f.step()
	if !slices.Contains(f.w.Done, what) {
		f.w.Done = append(f.w.Done, what)
	}
	f.step()
}

func (f *fake) flag(name string) string {
	for i, a := range f.args {
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			return v
		}
		if a == name && i+1 < len(f.args) {
			return f.args[i+1]
		}
	}
	return ""
}

func (f *fake) kubeadm() error {
	skip := strings.Split(f.flag("--skip-phases"), ",")
	var err error
	switch f.args[0] {
	case "init":
		err = f.kubeadmInit(skip)
	case "join":
		err = f.kubeadmJoin(skip)
	case "reset":
		f.kubeadmReset()
	}
	return err
}

// preflight refuses what is there and must not be, in kubeadm's words.
func (f *fake) preflight(files ...string) error {
	var problems []string
	for _, name := range files {
		if _, err := os.Stat(f.path(name)); err == nil {
			problems = append(problems, fmt.Sprintf("[ERROR FileAvailable-%s]: /%s already exists", strings.ReplaceAll("/"+name, "/", "-"), name))
		}
	}
	if f.holds("var/lib/etcd") && f.planes() {
		problems = append(problems, "[ERROR DirAvailable--var-lib-etcd]: /var/lib/etcd is not empty")
	}
	if f.w.Active["kubelet"] {
		problems = append(problems, "[ERROR Port-10250]: Port 10250 is in use")
	}
	if err := f.runtime(); err != nil {
		problems = append(problems, "[ERROR CRI]: container runtime is not running: "+err.Error())
	}
	if len(problems) == 0 {
		return nil
	}
	return status{"error execution phase preflight: [preflight] Some fatal errors occurred:\n\t" + strings.Join(problems, "\n\t"), 1}
}

// settings reads kubeadm's configuration.
func (f *fake) settings() (text string, tokens map[string]string) {
	data, err := os.ReadFile(f.flag("--config"))
	must(err)
	if strings.Contains(string(data), "@NODE_IP@") {
		f.never("kubeadm got a configuration without the node's address")
	}
	if info, err := os.Stat(f.flag("--config")); err == nil && info.Mode().Perm() != 0o600 {
		f.never("kubeadm's configuration is %v", info.Mode())
	}
	tokens = map[string]string{}
	for _, m := range regexp.MustCompile(`token: "?([a-z0-9]{6})\.([a-z0-9]{16})`).FindAllStringSubmatch(string(data), -1) {
		tokens[m[1]] = m[2]
	}
	return string(data), tokens
}

func (f *fake) kubeadmInit(skip []string) error {
	does := func(phase string) bool { return !slices.Contains(skip, phase) }
	_, tokens := f.settings()
	if does("preflight") {
		var files []string
		for _, pod := range staticPods() {
			files = append(files, manifests+pod+".yaml")
		}
		if err := f.preflight(files...); err != nil {
			return err
		}
	}
	if does("certs") {
		if err := f.authorities(); err != nil {
			return err
		}
		f.write(k8s+"pki/apiserver.crt", "certificate")
	}
	if does("kubeconfig") {
		for _, name := range []string{"admin", "super-admin", "kubelet", "controller-manager", "scheduler"} {
			f.write(k8s+name+".conf", "kubeconfig")
		}
	}
	for _, pod := range staticPods() {
		if pod == "etcd" && does("etcd") || pod != "etcd" && does("control-plane") {
			f.write(manifests+pod+".yaml", "pod")
		}
	}
	if does("kubelet-start") {
		f.kubelet()
	}
	if !f.up() {
		return status{"error execution phase wait-control-plane: could not initialize a Kubernetes cluster", 1}
	}
	f.add("kubeadm-config")
	f.add("control-plane")
	for _, id := range slices.Sorted(maps.Keys(tokens)) {
		fmt.Printf("[bootstrap-token] Using token: %s.%s\n", id, tokens[id])
		f.step()
		f.w.Tokens[id] = token{tokens[id], f.w.Clock.Add(24 * time.Hour)}
	}
	f.add("cluster-info")
	f.write(clientPEM, "certificate")
	f.add("coredns")
	f.add("kube-proxy")
	if does("show-join-command") {
		f.never("kubeadm init prints the command to join, with a token")
	}
	return nil
}

// kubelet is how kubeadm starts it.
func (f *fake) kubelet() {
	f.w.Active["kubelet"] = false
	f.write("var/lib/kubelet/config.yaml", "kubelet")
	f.start("kubelet")
	f.step()
}

// authorities are those that piimg has made: kubeadm would make others.
func (f *fake) authorities() error {
	for _, name := range []string{"ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key", "sa.key", "sa.pub"} {
		got, _ := os.ReadFile(f.path(k8s + "pki/" + name))
		want, _ := os.ReadFile(f.path("etc/piimg/kubernetes/pki/" + name))
		if len(want) == 0 || string(got) != string(want) {
			f.never("kubeadm %s without the authority %s", f.args[0], name)
			return status{"failure loading certificate", 1}
		}
	}
	return nil
}

func (f *fake) kubeadmJoin(skip []string) error {
	does := func(phase string) bool { return !slices.Contains(skip, phase) }
	_, tokens := f.settings()
	if does("preflight") {
		files := []string{k8s + "kubelet.conf", k8s + "bootstrap-kubelet.conf"}
		if !f.planes() {
			files = append(files, k8s+"pki/ca.crt")
		}
		if err := f.preflight(files...); err != nil {
			return err
		}
	}
	if !f.up() {
		return status{"error execution phase preflight: couldn't validate the identity of the API Server: Get \"https://10.0.0.50:6443\": dial tcp: connect: connection refused", 1}
	}
	for id, secret := range tokens {
		if have, ok := f.w.Tokens[id]; !ok || have.Secret != secret || f.w.Clock.After(have.Until) {
			return status{fmt.Sprintf("error execution phase preflight: could not find a JWS signature in the cluster-info ConfigMap for token ID %q", id), 1}
		}
	}
	if f.planes() {
		if err := f.authorities(); err != nil {
			return err
		}
		f.write(k8s+"pki/apiserver.crt", "certificate")
		for _, name := range []string{"admin", "controller-manager", "scheduler"} {
			f.write(k8s+name+".conf", "kubeconfig")
		}
		for _, pod := range staticPods()[1:] {
			f.write(manifests+pod+".yaml", "pod")
		}
	}
	if does("kubelet-start") {
		f.write(k8s+"bootstrap-kubelet.conf", "token")
		if !f.planes() {
			f.write(k8s+"pki/ca.crt", "certificate")
		}
		if f.w.Nodes[f.me()] == "True" {
			return status{fmt.Sprintf("error execution phase kubelet-start: a Node with name %q and status \"Ready\" already exists in the cluster.", f.me()), 1}
		}
		f.kubelet()
	}
	f.settle()
	must(os.RemoveAll(f.path(k8s + "bootstrap-kubelet.conf")))
	if !f.whole(k8s + "kubelet.conf") {
		return status{"error execution phase kubelet-start: timed out waiting for the condition", 1}
	}
	f.step()
	if f.planes() {
		if f.w.Member == "" {
			f.w.Member = "learner"
		}
		f.write(manifests+"etcd.yaml", "pod")
		f.settle()
		f.w.Member = "voter"
		f.step()
		f.w.Nodes[f.me()+"/control-plane"] = "yes"
		f.step()
	}
	return nil
}

func (f *fake) kubeadmReset() {
	w := f.w
	switch known := w.Nodes[f.me()] != "" && f.whole(k8s+"kubelet.conf"); {
	case f.first() && known && f.up():
		f.never("kubeadm reset of a cluster that answers")
	case !f.first() && !f.planes() && known && w.Remote && w.Silent == 0:
		f.never("kubeadm reset of a node that has joined")
	case !f.first() && f.planes() && w.Member == "voter" && !f.up():
		f.never("kubeadm reset of a member of etcd while nobody can be told")
	}
	w.Active["kubelet"] = false
	f.step()
	if !f.first() && w.Remote {
		w.Member = ""
		delete(w.Nodes, f.me()+"/control-plane")
	}
	f.step()
	for _, name := range []string{"var/lib/etcd", manifests, "var/lib/kubelet", k8s + "pki"} {
		entries, _ := os.ReadDir(f.path(name))
		for _, e := range entries {
			must(os.RemoveAll(f.path(name + "/" + e.Name())))
			f.step()
		}
	}
	for _, name := range []string{"admin", "super-admin", "kubelet", "bootstrap-kubelet", "controller-manager", "scheduler"} {
		must(os.RemoveAll(f.path(k8s + name + ".conf")))
		f.step()
	}
	if f.first() {
		w.Nodes, w.Tokens, w.Done = map[string]string{}, map[string]token{}, nil
	}
}

// curl asks the API server, and the publishers.
func (f *fake) curl() error {
	url := ""
	for _, a := range f.args {
		if strings.HasPrefix(a, "https://") {
			url = a
		}
	}
	host, path, _ := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
	if file := f.flag("-o"); file != "" {
		answer, err := os.ReadFile(filepath.Join(f.dir, "internet", host, path))
		if err != nil {
			return status{"curl: (22) The requested URL returned error: 404", 22}
		}
		f.step()
		must(os.WriteFile(file, answer[:len(answer)/2], 0o644))
		f.step()
		must(os.WriteFile(file, answer, 0o644))
		return nil
	}
	if ca, err := os.ReadFile(f.flag("--cacert")); err != nil || len(ca) == 0 {
		return status{"curl: (77) error setting certificate file", 77}
	}
	if !f.up() {
		return status{"curl: (7) Failed to connect to " + host + ": Connection refused", 7}
	}
	path, _, _ = strings.Cut(path, "?")
	switch {
	case path == "healthz":
		fmt.Print("ok")
	case path == "ping":
		fmt.Print("pong")
	case strings.HasSuffix(path, "/cluster-info"):
		if f.first() && !slices.Contains(f.w.Done, "cluster-info") {
			fmt.Println(`{"kind":"Status","code":404}`)
			break
		}
		fmt.Print(`{"kind":"ConfigMap","data":{`)
		for _, id := range slices.Sorted(maps.Keys(f.w.Tokens)) {
			fmt.Printf(`"jws-kubeconfig-%s":"signature",`, id)
		}
		fmt.Println(`"kubeconfig":"x"}}`)
	case strings.HasPrefix(path, "api/v1/nodes/"):
		return f.curlNode(strings.TrimPrefix(path, "api/v1/nodes/"))
	}
	return nil
}

func (f *fake) curlNode(name string) error {
	if cert, err := os.ReadFile(f.flag("--cert")); err != nil || len(cert) == 0 {
		return status{"curl: (58) could not load PEM client certificate", 58}
	}
	ready, ok := f.w.Nodes[name]
	if !ok {
		fmt.Println("{\n  \"kind\": \"Status\",\n  \"status\": \"Failure\",\n  \"code\": 404\n}")
		return nil
	}
	fmt.Printf("{\n  \"kind\": \"Node\",\n  \"status\": {\n    \"conditions\": [\n      {\n        \"type\": \"MemoryPressure\",\n        \"status\": \"False\"\n      },\n"+
		"      {\n        \"type\": \"Ready\",\n        \"status\": %q\n      }\n    ]\n  }\n}\n", ready)
	return nil
}

func (f *fake) kubectl() error {
	conf, err := os.ReadFile(f.flag("--kubeconfig"))
	if err != nil || len(conf) == 0 || !f.up() {
		return status{"The connection to the server 10.0.0.50:6443 was refused - did you specify the right host or port?", 1}
	}
	line := strings.Join(f.args, " ")
	switch {
	case strings.Contains(line, " get nodes "):
		for _, name := range slices.Sorted(maps.Keys(f.w.Nodes)) {
			if !strings.HasSuffix(name, "/control-plane") {
				named := map[bool]string{true: ",control-plane"}[f.w.Nodes[name+"/control-plane"] != ""]
				fmt.Printf("%s=%s%s\n", name, f.w.Nodes[name], named)
			}
		}
	case strings.Contains(line, " get secrets "):
		for _, id := range slices.Sorted(maps.Keys(f.w.Tokens)) {
			fmt.Printf("bootstrap-token-%s=%s\n", id, base64.StdEncoding.EncodeToString([]byte(f.w.Tokens[id].Until.Format(time.RFC3339))))
		}
	case strings.Contains(line, " get node "):
		ready, ok := f.w.Nodes[f.me()]
		switch {
		case !ok:
			return status{"Error from server (NotFound)", 1}
		case strings.Contains(line, "metadata.labels"):
			fmt.Print(map[string]string{"yes": `{"node-role.kubernetes.io/control-plane":""}`}[f.w.Nodes[f.me()+"/control-plane"]])
		case strings.Contains(line, "status.conditions"):
			fmt.Print(ready)
		default:
			fmt.Println("node/" + f.me())
		}
	case strings.Contains(line, " apply "):
		return f.apply()
	case strings.Contains(line, " delete secret "):
		for _, a := range f.args {
			if id, ok := strings.CutPrefix(a, "bootstrap-token-"); ok {
				f.step()
				delete(f.w.Tokens, id)
				f.step()
			}
		}
	}
	return nil
}

func (f *fake) apply() error {
	text := f.stdin
	if file := f.flag("-f"); file != "-" {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text = string(data)
	}
	text = strings.ReplaceAll(text, `"`, "")
	if !strings.Contains(text, "type: bootstrap.kubernetes.io/token") {
		f.add("cni")
		f.settle()
		return nil
	}
	until, err := time.Parse(time.RFC3339, field(text, "  expiration"))
	if err != nil {
		return err
	}
	f.step()
	f.w.Tokens[field(text, "  token-id")] = token{field(text, "  token-secret"), until}
	f.step()
	return nil
}

// k3s is asked as kubectl by the scripts, and otherwise run by systemd.
func (f *fake) k3s() error {
	f.settle()
	if f.args[0] == "kubectl" && f.w.Nodes[f.me()] != "" {
		fmt.Print(f.w.Nodes[f.me()])
		return nil
	}
	return status{"the server is not there", 1}
}
