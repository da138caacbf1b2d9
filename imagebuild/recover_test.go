package imagebuild

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// What the journal of an image holds that was not unmounted cleanly is part of
// the base, for plans, for builds and for inspect.
func TestDirtyBase(t *testing.T) {
	tooltest.Need(t, "e2fsck", "fsck.fat", "debugfs", "sha256sum")
	for _, release := range []string{"stretch", "trixie-2026-04"} {
		t.Run(release, func(t *testing.T) {
			o := project(t, release)
			o.Only = []string{"tom-nook"}
			raw := unpack(t, o)
			root := at(raw, open(t, raw).parts.root)
			// The journal says that another release's debian_version was written.
			block := strings.Fields(run(t, "debugfs", "-R", "blocks /etc/debian_version", root))
			content := filepath.Join(t.TempDir(), "block")
			old := run(t, "debugfs", "-R", "cat /etc/debian_version", root)
			old = old[strings.IndexByte(old, '\n')+1:] // after the version of debugfs
			changed := strings.Repeat("9", len(old)-1) + "\n"
			write(t, content, append([]byte(changed), make([]byte, 4096-len(changed))...))
			script := filepath.Join(t.TempDir(), "script")
			write(t, script, []byte("jo\njw -b "+block[len(block)-1]+" "+content+"\njc\n"))
			run(t, "debugfs", "-w", "-f", script, root)
			write(t, o.NodesFile, bytes.Replace(read(t, o.NodesFile), []byte("base.img.xz"), []byte("base.img"), 1))
			before := run(t, "sha256sum", raw)

			inspection, err := Inspect(t.Context(), raw, o)
			if err != nil {
				t.Fatal(err)
			}
			if state := inspection.Partitions[1].FileSystem.State; len(state) != 1 || inspection.System == nil {
				t.Errorf("inspect says %q, %q", state, inspection.Problems)
			}
			var notices []string
			o.Notice = func(s string) { notices = append(notices, s) }
			report, err := Build(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(notices, "\n"), "replayed 1 transactions") {
				t.Errorf("notices: %q", notices)
			}
			image := report.Nodes[0].Image
			checkFileSystems(t, image)
			if got := run(t, "debugfs", "-R", "cat /etc/debian_version", at(image, open(t, image).parts.root)); !strings.HasSuffix(got, changed) {
				t.Errorf("debian_version is %q, want %q", got, changed)
			}
			if before != run(t, "sha256sum", raw) {
				t.Error("the base image itself was changed")
			}
		})
	}
}
