package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// workflow is a GitHub workflow, as far as the tests look at it.
type workflow struct {
	Jobs map[string]struct {
		Needs    string
		Strategy struct{ Matrix struct{ Shard []int } }
		Steps    []workflowStep
	}
}

type workflowStep struct {
	Name, Run, Uses string
	With, Env       map[string]string
}

// encrypt puts the secrets of a fleet beside its nodes.yaml, encrypted, as the
// workflows want them, and gives its commands the key that opens them, and nothing else.
func (f *fleet) encrypt() {
	f.t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		f.t.Fatal(err)
	}
	var content bytes.Buffer
	a := armor.NewWriter(&content)
	w, err := age.Encrypt(a, key.Recipient())
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := w.Write([]byte(fleetSecrets)); err != nil {
		f.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		f.t.Fatal(err)
	}
	f.write("secrets.yaml", content.String())
	f.env = []string{"PIIMG_AGE_IDENTITY=" + key.String()}
}

// step runs a step of a workflow as GitHub does: in bash, with its expressions
// replaced.
func (f *fleet) step(s workflowStep, replace ...string) {
	f.t.Helper()
	for name, value := range s.Env {
		if value != "${{ secrets."+name+" }}" || name != "PIIMG_AGE_IDENTITY" {
			f.t.Errorf("step %q: there is no variable %s for %s", s.Name, name, value)
		}
	}
	script := strings.NewReplacer(replace...).Replace(s.Run)
	if strings.Contains(script, "${{") {
		f.t.Fatalf("not all of it was understood: %s", script)
	}
	f.run(nil, "bash", "-e", "-c", script)
}

// steps returns those steps of a job that run piimg or look at what it made: not those
// that install it, or that are for repositories that are not private.
func (w workflow) steps(t *testing.T, job string) (steps []workflowStep) {
	t.Helper()
	const install = `CGO_ENABLED=0 go install "github.com/piimg/piimg/cmd/piimg@$PIIMG"`
	for _, s := range w.Jobs[job].Steps {
		if s.Run != "" && s.Run != install && s.Name != "private" {
			steps = append(steps, s)
		}
	}
	if len(steps) == 0 {
		t.Fatalf("%s has no steps", job)
	}
	return steps
}

// The workflow that the README shows makes what one build makes, on two machines.
func TestFleetWorkflow(t *testing.T) {
	tooltest.Need(t, "bash", "go", "sha256sum")
	var w workflow
	content := example(t, "workflow.yaml", &w)
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "\n```yaml\n"+string(content)+"```\n") {
		t.Error("README.md does not show testdata/fleet/workflow.yaml as it is")
	}

	f := newFleet(t)
	f.encrypt()
	for _, s := range w.steps(t, "build") {
		f.step(s)
	}
	f.same("dist")
	// What the second artifact has, and nothing else, is there for the other machine.
	i := slices.IndexFunc(w.Jobs["build"].Steps, func(s workflowStep) bool { return s.With["name"] == "manifest" })
	j := slices.IndexFunc(w.Jobs["again"].Steps, func(s workflowStep) bool { return s.With["name"] == "manifest" })
	if i < 0 || j < 0 || w.Jobs["again"].Needs != "build" {
		t.Fatalf("the manifest is not handed on: %+v", w.Jobs)
	}
	manifest := w.Jobs["build"].Steps[i].With["path"]
	first := filepath.Join(f.dir, w.Jobs["again"].Steps[j].With["path"])
	if err := os.Mkdir(first, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(f.dir, manifest), filepath.Join(first, filepath.Base(manifest))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(f.dir, "dist")); err != nil {
		t.Fatal(err)
	}
	f.env = append(f.env, "XDG_CACHE_HOME="+f.dir+"/another")
	for _, s := range w.steps(t, "again") {
		f.step(s)
	}
	f.same("again")
}

// The jobs of the workflow with a matrix together make one build.
func TestFleetMatrix(t *testing.T) {
	tooltest.Need(t, "bash", "sh", "go", "sha256sum", "jq", "xargs")
	var w workflow
	example(t, "matrix.yaml", &w)
	f := newFleet(t)
	f.encrypt()
	if err := os.Mkdir(filepath.Join(f.dir, "shards"), 0o700); err != nil {
		t.Fatal(err)
	}
	shards := w.Jobs["build"].Strategy.Matrix.Shard
	for i, shard := range shards {
		if shard != i+1 {
			t.Errorf("the shards are %v", shards)
		}
		for _, s := range w.steps(t, "build") {
			f.step(s, "${{ matrix.shard }}", strconv.Itoa(shard), "${{ strategy.job-total }}", strconv.Itoa(len(shards)))
		}
		f.run(nil, "mv", "shard-"+strconv.Itoa(shard), "shards/") // what the artifacts do
	}
	if w.Jobs["merge"].Needs != "build" {
		t.Errorf("merge needs %q", w.Jobs["merge"].Needs)
	}
	for _, s := range w.steps(t, "merge") {
		f.step(s)
	}
	f.same("dist")
}

// Both workflows use the same versions of actions, and ask for nothing but to read.
func TestFleetWorkflowsAgree(t *testing.T) {
	versions := map[string]string{}
	for _, name := range []string{"workflow.yaml", "matrix.yaml"} {
		var w workflow
		content := example(t, name, &w)
		if !bytes.Contains(content, []byte("\npermissions:\n  contents: read\n")) {
			t.Errorf("%s: its permissions are others", name)
		}
		for _, job := range w.Jobs {
			for _, s := range job.Steps {
				action, version, _ := strings.Cut(s.Uses, "@")
				if action == "" {
					continue
				}
				if before := versions[action]; before != "" && before != version {
					t.Errorf("%s: %s is %s, and %s elsewhere", name, action, version, before)
				}
				versions[action] = version
			}
		}
	}
}
