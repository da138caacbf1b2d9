package imagebuild

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

var update = flag.Bool("update", false, "write the golden files anew")

const shared = "../testdata"

// releases are the small images in testdata/images.
func releases(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(shared, "images", "*.img.xz"))
	if err != nil || len(paths) < 5 {
		t.Fatalf("the small images are missing: found %q, %v", paths, err)
	}
	var names []string
	for _, p := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(p), ".img.xz"))
	}
	return names
}

// env is the environment of all builds in tests.
func env(name string) (string, bool) {
	if name == "WIFI_PASS" {
		return "turnips-are-due", true
	}
	return "", false
}

// testSecrets is a secrets file whose values are known.
const testSecrets = "version: 1\ncluster: villagers\nseed: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"

// project lays out testdata/plans for one release's image in a folder of its own.
func project(t testing.TB, release string) Options {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(shared, "plans"))); err != nil {
		t.Fatal(err)
	}
	base, err := filepath.Abs(filepath.Join(shared, "images", release+".img.xz"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "base.img.xz"), read(t, base))
	nodes := read(t, filepath.Join(dir, "nodes.yaml"))
	write(t, filepath.Join(dir, "nodes.yaml"), bytes.Replace(nodes, []byte("path: BASE"), []byte("path: base.img.xz"), 1))
	write(t, filepath.Join(dir, "secrets.yaml"), []byte(testSecrets))
	return Options{
		NodesFile: filepath.Join(dir, "nodes.yaml"), Out: filepath.Join(dir, "dist"),
		CacheDir: filepath.Join(dir, "cache"), Version: "test", Env: env,
		Notice: func(s string) { t.Log("notice:", s) },
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// run fails the test unless the command succeeds.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// The plans of every release are as they were read and found right.
func TestPlanGolden(t *testing.T) {
	for _, release := range releases(t) {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			o := project(t, release)
			plans, err := Plan(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := plans.WriteText(&got); err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"turnips-are-due", "raspberry-island", "AAECAwQFBgcICQoL"} {
				if strings.Contains(got.String(), secret) {
					t.Errorf("the plan shows the secret %q", secret)
				}
			}
			golden := filepath.Join(shared, "plans", release+".txt")
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := read(t, golden); !bytes.Equal(got.Bytes(), want) {
				t.Errorf("the plan of %s changed; if it should have, run go test ./imagebuild -run Golden -update and read the difference\n%s",
					release, firstDifference(got.String(), string(want)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d:\n got: %s\nwant: %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// Every release builds; the judges find both file systems of every image clean;
// what the plan does not name is as it was; and neither the number of jobs, the
// day, the folder nor the time zone changes a byte.
func TestBuildEveryRelease(t *testing.T) {
	tooltest.Need(t, "e2fsck", "fsck.fat", "debugfs", "sha256sum", "ssh-keygen")
	for _, release := range releases(t) {
		t.Run(release, func(t *testing.T) {
			o := project(t, release)
			o.Jobs = 1
			report, err := Build(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			plans, err := Plan(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			base := readTrees(t, unpack(t, o))
			for i, n := range report.Nodes {
				checkFileSystems(t, n.Image)
				checkUntouched(t, base, n.Image, plans.Plans[i])
			}
			run(t, "sh", "-c", "cd "+o.Out+" && sha256sum -c SHA256SUMS")
			run(t, "ssh-keygen", "-l", "-f", filepath.Join(o.Out, "known_hosts"))

			other := project(t, release)
			other.Jobs = 5
			again, err := Build(t.Context(), other)
			if err != nil {
				t.Fatal(err)
			}
			for i, n := range report.Nodes {
				if m := again.Nodes[i]; m.SHA256 != n.SHA256 {
					t.Errorf("%s: built twice, %s and %s", n.Hostname, n.SHA256, m.SHA256)
				}
			}
		})
	}
}

// unpack returns the path of the base image as a raw file.
func unpack(t *testing.T, o Options) string {
	t.Helper()
	o = o.withDefaults()
	raw := filepath.Join(filepath.Dir(o.NodesFile), "base.img")
	p, err := load(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.openImage(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, io.NewSectionReader(p.image, 0, p.image.Size())); err != nil {
		t.Fatal(err)
	}
	return raw
}

// An interrupted build leaves nothing under a final name, nor beside it.
func TestBuildInterrupted(t *testing.T) {
	o := project(t, "bookworm")
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = func(step string, done, total int64) {
		if step == stepWriting {
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

// A base image that somebody writes to in the midst of a build makes no images, and is
// what the error is of.
func TestBuildOverwritten(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(base *os.File) error
	}{
		{"same", func(base *os.File) error { // the byte that is there: any other would be noticed by what it breaks
			_, err := base.WriteAt([]byte{0xfd}, 0)
			return err
		}},
		{"cut", func(base *os.File) error { return base.Truncate(20_000) }},
	} {
		for _, format := range Formats() {
			t.Run(c.name+" "+format, func(t *testing.T) {
				o := project(t, "stretch")
				o.Format, o.Only = format, []string{"tom-nook"}
				base, err := os.OpenFile(filepath.Join(filepath.Dir(o.NodesFile), "base.img.xz"), os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer base.Close()
				o.Progress = func(step string, done, total int64) {
					if step == stepWriting {
						if err := c.spoil(base); err != nil {
							t.Error(err)
						}
					}
				}
				_, err = Build(t.Context(), o)
				if KindOf(err) != KindImage || !strings.Contains(err.Error(), "base.img.xz: it was written to while it was read") {
					t.Errorf("got %v", err)
				}
				if left, err := os.ReadDir(o.Out); err == nil {
					t.Errorf("left behind: %s with %v", o.Out, left)
				}
			})
		}
	}
}

// A new output folder that another build has removed, since it failed, is made again.
func TestBuildFolderGone(t *testing.T) {
	o := project(t, "stretch")
	o.Only = []string{"tom-nook"}
	gone := false
	o.Progress = func(string, int64, int64) { // first while the base's digest is computed
		gone = gone || os.Remove(o.Out) == nil
	}
	if _, err := Build(t.Context(), o); err != nil || !gone {
		t.Errorf("folder removed: %v, got %v", gone, err)
	}
}

// So it is where the base is written to before that, while it is examined.
func TestBuildOverwrittenEarly(t *testing.T) {
	o := project(t, "stretch")
	o.Only = []string{"tom-nook"}
	base := filepath.Join(filepath.Dir(o.NodesFile), "base.img.xz")
	o.Progress = func(string, int64, int64) { // first while the digest is computed
		if err := os.Truncate(base, 20_000); err != nil {
			t.Error(err)
		}
	}
	_, err := Build(t.Context(), o)
	if KindOf(err) != KindImage || !strings.HasSuffix(err.Error(), "base.img.xz: it was written to while it was read; begin again when it is complete") {
		t.Errorf("got %v", err)
	}
}

// The output folder may be named by way of others: none that were made for it are left.
func TestBuildFolderNamedOddly(t *testing.T) {
	o := project(t, "stretch")
	dir := filepath.Dir(o.Out)
	o.Only = []string{"tom-nook"}
	write(t, filepath.Join(dir, "base.img.xz"), []byte("no image"))
	before, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	o.Out = dir + "/new/../dist/"
	if _, err := Build(t.Context(), o); KindOf(err) != KindImage {
		t.Fatalf("got %v", err)
	}
	if after, err := os.ReadDir(dir); err != nil || len(after) != len(before) {
		t.Errorf("there were %v, and are %v, %v", before, after, err)
	}
}

// A second build replaces its own images, and nothing else without --force.
func TestBuildReplaces(t *testing.T) {
	o := project(t, "stretch")
	o.Only = []string{"tom-nook"}
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatalf("building again: %v", err)
	}
	image := filepath.Join(o.Out, "tom-nook.img")
	// One that is damaged where its node does not stand is what a rebuild is for.
	good := read(t, image)
	write(t, image, good[:48<<20]) // where the root partition begins
	if err := os.Truncate(image, int64(len(good))); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatalf("a damaged image of piimg's was not replaced: %v", err)
	}
	if !bytes.Equal(read(t, image), good) {
		t.Error("the rebuilt image is another")
	}
	// A node of another cluster that has the same name is another node.
	nodes := read(t, o.NodesFile)
	write(t, o.NodesFile, bytes.Replace(nodes, []byte("name: villagers"), []byte("name: islanders"), 1))
	secrets := o.SecretsFile
	o.SecretsFile = filepath.Join(t.TempDir(), "secrets.yaml")
	if _, err := Build(t.Context(), o); KindOf(err) != KindOutput || !strings.Contains(err.Error(), "of the cluster villagers") {
		t.Fatalf("another cluster's image was not refused as such: %v", err)
	}
	if !bytes.Equal(read(t, image), good) {
		t.Error("the other cluster's image was replaced")
	}
	write(t, o.NodesFile, nodes)
	o.SecretsFile = secrets
	if err := os.Rename(image, filepath.Join(o.Out, "rover.img")); err != nil {
		t.Fatal(err)
	}
	o.Only = []string{"rover"}
	_, err := Build(t.Context(), o)
	if KindOf(err) != KindOutput || !strings.Contains(err.Error(), "tom-nook") {
		t.Fatalf("another node's image was not refused as such: %v", err)
	}
	write(t, filepath.Join(o.Out, "rover.img"), []byte("my thesis"))
	if _, err := Build(t.Context(), o); KindOf(err) != KindOutput {
		t.Fatalf("a file that is no image was not refused: %v", err)
	}
	if got := read(t, filepath.Join(o.Out, "rover.img")); string(got) != "my thesis" {
		t.Fatalf("the refused file now holds %d bytes", len(got))
	}
	o.Force = true
	report, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(read(t, filepath.Join(o.Out, "rover.img")))); got != report.Nodes[0].SHA256 {
		t.Errorf("the image's sha256 is %s, reported as %s", got, report.Nodes[0].SHA256)
	}
}

// A build with --only makes the same images as one of all nodes, however many are
// worked on at once.
func TestBuildOnly(t *testing.T) {
	for _, format := range Formats() {
		all, one := project(t, "stretch"), project(t, "stretch")
		all.Format, one.Format = format, format
		all.Jobs, one.Jobs = 4, 1
		one.Only = []string{"blathers"}
		a, err := Build(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Build(t.Context(), one)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(a.Nodes, func(n NodeReport) bool { return n.Hostname == "blathers" })
		if len(b.Nodes) != 1 || b.Nodes[0].SHA256 != a.Nodes[i].SHA256 {
			t.Errorf("%s: blathers alone is %+v, among all %+v", format, b.Nodes, a.Nodes[i])
		}
	}
}

// SOURCE_DATE_EPOCH is the time of what a build changes, and of nothing else.
func TestBuildTime(t *testing.T) {
	o := project(t, "bookworm")
	o.Only = []string{"tom-nook"}
	o.Time = time.Unix(1_800_000_000, 0)
	report, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	checkFileSystems(t, report.Nodes[0].Image)
	in, err := Inspect(t.Context(), report.Nodes[0].Image, o)
	if err != nil {
		t.Fatal(err)
	}
	if in.System == nil || in.System.Node == nil || in.System.Node.Hostname != "tom-nook" || in.System.Hostname != "tom-nook" {
		t.Errorf("inspect says %+v, %v", in.System, in.Problems)
	}
}
