package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

const (
	fleetDir     = "../../testdata/fleet"
	fleetSecrets = "version: 1\ncluster: fleet\nseed: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
)

// fleet is a folder as the examples of testdata/fleet expect it, with few nodes, the
// program itself, and in whole what one build makes of it.
type fleet struct {
	t   *testing.T
	dir string
	env []string // opens the secrets
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t, t.TempDir(), []string{"PIIMG_SECRETS=" + fleetSecrets}}
	build := exec.Command("go", "build", "-o", f.dir, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f.copy("../../testdata/images/stretch.img.xz", "base.img.xz")
	f.copy("../../testdata/demo/demo.pub", "admin.pub")
	f.copy(filepath.Join(fleetDir, "merge.sh"), "merge.sh")
	f.write("nodes.yaml", `
image: {path: base.img.xz}
cluster: {name: fleet, network: 10.20.0.0/16, gateway: 10.20.0.1, dns: [10.20.0.1]}
defaults: {user: {authorizedKeys: [admin.pub]}}
nodes: [{hostname: head, ip: 10.20.0.11}, {hostname: "rack[1-2]-[01-02]", ip: 10.20.1.1}]
`)
	f.run(nil, "./piimg", "build", "--no-create-secrets", "--format", "img.xz", "--out", "whole")
	return f
}

func (f *fleet) write(name, content string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(content), 0o700); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) copy(from, name string) {
	f.t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(name, string(content))
}

// run runs a command in the folder, with variables of its own.
func (f *fleet) run(env []string, name string, args ...string) {
	f.t.Helper()
	c := exec.Command(name, args...)
	c.Dir = f.dir
	c.Env = slices.Concat(os.Environ(), env, []string{"PATH=" + f.dir + ":" + os.Getenv("PATH"), "XDG_CACHE_HOME=" + f.dir + "/cache"}, f.env)
	if out, err := c.CombinedOutput(); err != nil {
		f.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// same wants a folder to hold what one build has made, and nothing else.
func (f *fleet) same(name string) {
	f.t.Helper()
	got, want := f.files(name), f.files("whole")
	if len(want) < 12 || !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		f.t.Errorf("%s holds %q", name, slices.Sorted(maps.Keys(got)))
	}
	for file, content := range want {
		if !bytes.Equal(got[file], content) {
			f.t.Errorf("%s: %s is another than in one build", name, file)
		}
	}
}

func (f *fleet) files(name string) map[string][]byte {
	f.t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(filepath.Join(f.dir, name))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(f.dir, name, e.Name())); err != nil {
			f.t.Fatal(err)
		}
	}
	return files
}

// example reads a YAML file of testdata/fleet.
func example(t *testing.T, name string, into any) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(fleetDir, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
	return content
}

// The pods of the Kubernetes Job together make one build.
func TestFleetJob(t *testing.T) {
	tooltest.Need(t, "sh", "go")
	var job struct {
		Spec struct {
			CompletionMode           string `yaml:"completionMode"`
			Completions, Parallelism int
			Template                 struct {
				Spec struct {
					Containers []struct {
						Command []string
						Env     []struct{ Name, Value string }
					}
				}
			}
		}
	}
	example(t, "job.yaml", &job)
	pod := job.Spec.Template.Spec.Containers[0]
	var env []string
	for _, e := range pod.Env {
		if e.Name == "SHARDS" && e.Value != strconv.Itoa(job.Spec.Completions) {
			t.Errorf("SHARDS is %s, and there are %d completions", e.Value, job.Spec.Completions)
		}
		env = append(env, e.Name+"="+e.Value)
	}
	if job.Spec.CompletionMode != "Indexed" || job.Spec.Completions < 2 || job.Spec.Parallelism != job.Spec.Completions {
		t.Errorf("%+v", job.Spec)
	}
	f := newFleet(t)
	for i := range job.Spec.Completions {
		f.run(append(slices.Clone(env), fmt.Sprintf("JOB_COMPLETION_INDEX=%d", i)), pod.Command[0], pod.Command[1:]...)
	}
	f.same("dist")
}

// kubectl reads the Job as one, and knows every key of it: what it does not know, it
// leaves out when it prints what it has read.
func TestFleetJobKeys(t *testing.T) {
	tooltest.Need(t, "kubectl")
	var ours, theirs any
	content := example(t, "job.yaml", &ours)
	c := exec.Command("kubectl", "set", "image", "--local", "-f", "-", "piimg=another", "-o", "json")
	c.Stdin = bytes.NewReader(content)
	c.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &theirs); err != nil {
		t.Fatal(err)
	}
	var within func(path string, a, b any)
	within = func(path string, a, b any) {
		switch a := a.(type) {
		case map[string]any:
			other, _ := b.(map[string]any)
			for k, v := range a {
				if _, ok := other[k]; !ok && fmt.Sprint(v) != "map[]" {
					t.Errorf("kubectl does not know %s.%s", path, k)
				}
				within(path+"."+k, v, other[k])
			}
		case []any:
			other, _ := b.([]any)
			for i := range a {
				if i < len(other) {
					within(fmt.Sprintf("%s[%d]", path, i), a[i], other[i])
				}
			}
		}
	}
	within("job", ours, theirs)
}

// The example of a thousand nodes is right, down to the plan of its last one.
func TestFleetNodes(t *testing.T) {
	dir := t.TempDir()
	for name, from := range map[string]string{
		"nodes.yaml": filepath.Join(fleetDir, "nodes.yaml"), "admin.pub": "../../testdata/demo/demo.pub", "base.img.xz": "../../testdata/images/bookworm.img.xz",
	} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	code := execute(t.Context(), []string{"plan", "--quiet", "--nodes", filepath.Join(dir, "nodes.yaml"), "--node", "rack40-25"}, strings.NewReader(""), &stdout, &stderr)
	if code != 0 || !strings.Contains(stdout.String(), "10.20.40.125/16") {
		t.Errorf("%d\n%s\n%s", code, stderr.String(), stdout.String())
	}
}
