package imagebuild

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// order is the architecture: a package knows only packages that stand before it.
var order = []string{
	"imagebuild/hostfile",
	"imagebuild/nodes/strictyaml",
	"imagebuild/nodes",
	"imagebuild/secrets",
	"imagebuild/lzma2",
	"imagebuild/source/xzfile",
	"imagebuild/source",
	"imagebuild/layer",
	"imagebuild/fat",
	"imagebuild/ext4/jbd2",
	"imagebuild/ext4",
	"imagebuild/disk",
	"imagebuild/plan",
	"overlays",
	"imagebuild/raspios",
	"imagebuild/artifacts",
	"imagebuild/kube",
	"imagebuild/sink",
	"imagebuild/bmap",
	"imagebuild/tally",
	"imagebuild/manifest",
	"imagebuild/artifacts/pull",
	"imagebuild",
	"cmd/piimg",
}

// bytesOnly are the packages that know nothing of Raspberry Pi OS, nor of plans.
var bytesOnly = []string{"imagebuild/lzma2", "imagebuild/source", "imagebuild/source/xzfile", "imagebuild/layer", "imagebuild/fat", "imagebuild/ext4", "imagebuild/ext4/jbd2", "imagebuild/disk", "imagebuild/sink", "imagebuild/bmap", "imagebuild/tally"}

// noBytes are those that decide, and never touch an image.
var noBytes = []string{"imagebuild/raspios", "imagebuild/nodes", "imagebuild/secrets", "imagebuild/kube"}

func TestImports(t *testing.T) {
	const module = "github.com/piimg/piimg/"
	seen := map[string]bool{}
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "testdata" {
			return filepath.SkipDir
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(strings.TrimPrefix(name, ".."+string(filepath.Separator))))
		if strings.HasSuffix(pkg, "test") { // helpers of tests: internal/imgtest, plantest
			return nil
		}
		seen[pkg] = true
		at := slices.Index(order, pkg)
		if at < 0 {
			t.Errorf("%s has no place in the architecture: add it to order", pkg)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			other, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			switch i := slices.Index(order, other); {
			case i < 0 || i >= at:
				t.Errorf("%s imports %s, which does not stand before it", name, other)
			case slices.Contains(bytesOnly, pkg) && !slices.Contains(bytesOnly, other) && other != "imagebuild/hostfile":
				t.Errorf("%s imports %s: it must know nothing but bytes", name, other)
			case slices.Contains(noBytes, pkg) && slices.Contains(bytesOnly, other):
				t.Errorf("%s imports %s: it must not touch bytes", name, other)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range order {
		if !seen[pkg] {
			t.Errorf("%s is in order, but there is no such package", pkg)
		}
	}
}
