package imagebuild

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// fleetProject lays out a cluster of a range of n workers, which is small to build.
func fleetProject(t testing.TB, n int) Options {
	t.Helper()
	o := project(t, "stretch")
	write(t, o.NodesFile, fmt.Appendf(nil, `
image: {path: base.img.xz}
cluster: {name: villagers, network: 10.0.0.0/16, gateway: 10.0.0.1, dns: [10.0.0.1]}
defaults: {user: {name: pi, password: {file: password}, authorizedKeys: [key.pub]}}
nodes:
  - {hostname: head, ip: 10.0.0.2}
  - hostname: worker-[001-%03d]
    ip: 10.0.1.0
    files: [{path: /opt/tool, source: tool, mode: "0755"}]
`, n-1))
	return o
}

// folder returns the hashes of all files in a folder, hidden ones too.
func folder(t testing.TB, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		all[e.Name()] = sumOfFile(t, filepath.Join(dir, e.Name()))
	}
	return all
}

func sameFolders(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name := range got {
		if want[name] == "" {
			t.Errorf("%s: there is a file %s", what, name)
		}
	}
	for name, sum := range want {
		if got[name] != sum {
			t.Errorf("%s: %s is %q, want %s", what, name, got[name], sum)
		}
	}
}

// Whatever the batches and the shards, and whether these go to one folder, at the
// same time, or to several: together they are one build, to the byte.
func TestShardsAreOneBuild(t *testing.T) {
	tooltest.Need(t, "sh", "sha256sum", "jq")
	const n, shards = 5, 3
	whole := fleetProject(t, n)
	report, err := Build(t.Context(), whole)
	if err != nil {
		t.Fatal(err)
	}
	want := folder(t, whole.Out)
	if len(report.Nodes) != n {
		t.Fatalf("%d nodes were built, want %d", len(report.Nodes), n)
	}

	batched := whole
	batched.Out, batched.batch = filepath.Join(t.TempDir(), "batched"), 2
	if _, err := Build(t.Context(), batched); err != nil {
		t.Fatal(err)
	}
	sameFolders(t, "batches of two", folder(t, batched.Out), want)
	os.RemoveAll(batched.Out)

	one, several := filepath.Join(t.TempDir(), "one"), t.TempDir()
	var wg sync.WaitGroup
	for i := 1; i <= shards; i++ {
		wg.Go(func() {
			for _, out := range []string{one, filepath.Join(several, fmt.Sprint(i))} {
				o := whole
				o.Out, o.Shard, o.Jobs = out, Shard{i, shards}, 1
				if _, err := Build(t.Context(), o); err != nil {
					t.Errorf("shard %v: %v", o.Shard, err)
				}
			}
		})
	}
	wg.Wait()
	sameFolders(t, "one folder", folder(t, one), want)

	merged := filepath.Join(t.TempDir(), "merged")
	script := []string{filepath.Join(shared, "fleet", "merge.sh"), merged}
	for i := 1; i <= shards; i++ {
		script = append(script, filepath.Join(several, fmt.Sprint(i)))
	}
	run(t, "sh", script...)
	sameFolders(t, "merged folders", folder(t, merged), want)
}

// A shard needs the secrets of the others; one without nodes makes no image, and is
// not wrong.
func TestShardsWithoutSecretsOrNodes(t *testing.T) {
	o := fleetProject(t, 2)
	o.Shard = Shard{3, 3}
	if err := os.Remove(filepath.Join(filepath.Dir(o.NodesFile), "secrets.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), o); KindOf(err) != KindConfig || !strings.Contains(err.Error(), "each shard would make another") {
		t.Fatalf("without secrets: %v", err)
	}
	write(t, filepath.Join(filepath.Dir(o.NodesFile), "secrets.yaml"), []byte(testSecrets))
	var notices []string
	o.Notice = func(s string) { notices = append(notices, s) }
	report, err := Build(t.Context(), o)
	if err != nil || len(report.Nodes) != 0 || !strings.Contains(strings.Join(notices, "\n"), "shard 3/3 has none of the nodes") {
		t.Errorf("%+v %v %q", report, err, notices)
	}
}

// An interrupted build of several batches leaves nothing, not even what was complete.
func TestBatchesInterrupted(t *testing.T) {
	o := fleetProject(t, 4)
	o.batch = 2
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = func(step string, done, total int64) {
		if step == stepWriting && done > total*3/4 {
			cancel()
		}
	}
	if _, err := Build(ctx, o); err == nil || ctx.Err() == nil {
		t.Fatalf("the build was not interrupted: %v", err)
	}
	if left, err := os.ReadDir(o.Out); err == nil {
		t.Errorf("left behind: %s with %v", o.Out, left)
	}
}

// What cannot be applied to a node of the last batch is found before anything is
// written.
func TestBatchesFindTheLastMistake(t *testing.T) {
	o := fleetProject(t, 3)
	o.batch = 1
	nodes := read(t, o.NodesFile)
	big := filepath.Join(filepath.Dir(o.NodesFile), "big")
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(900 << 20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	write(t, o.NodesFile, fmt.Appendf(nodes, "  - {hostname: last, files: [{path: /opt/big, source: big}]}\n"))
	written := false
	o.Progress = func(step string, _, _ int64) { written = written || step == stepWriting }
	if _, err := Build(t.Context(), o); KindOf(err) != KindPlan || !strings.Contains(err.Error(), "last: ") {
		t.Errorf("%v", err)
	}
	if written {
		t.Error("images were written before it was found")
	}
}

// sumOfFile returns the SHA-256 of a file in hex.
func sumOfFile(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
