package raspios

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/plan/plantest"
	"pgregory.net/rapid"
)

func drawName(t *rapid.T) string {
	names := rapid.SampledFrom([]string{"a", "b", "c"})
	p := names.Draw(t, "name")
	for range rapid.IntRange(0, 2).Draw(t, "depth") {
		p += "/" + names.Draw(t, "name")
	}
	return p
}

// What a draft shows is what the image holds once its edits are applied.
func TestDraftShowsTheResult(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := plantest.New()
		target := rapid.SampledFrom([]string{"/a", "b", "../c", "/b/c", "nowhere", "../../.."})
		for range rapid.IntRange(0, 6).Draw(t, "base") {
			e := plan.Edit{Partition: plan.Root, Path: drawName(t), Mode: 0o755}
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				e.Op, e.Content = plan.Write, []byte(e.Path)
			case 1:
				e.Op = plan.Mkdir
			case 2:
				e.Op, e.Target = plan.Symlink, target.Draw(t, "target")
			}
			_ = plan.Apply(context.Background(), []plan.Edit{e}, nil, base) // what does not fit is left out
		}
		boot := plantest.New()
		d := newDraft(boot, base)
		for range rapid.IntRange(0, 8).Draw(t, "ops") {
			name := drawName(t)
			canon, at, err := d.resolve(plan.Root, name, false)
			if err != nil {
				continue
			}
			e := plan.Edit{Partition: plan.Root, Path: name}
			switch op := rapid.IntRange(0, 4).Draw(t, "op"); {
			case op == 0 && (at.kind == isNothing || at.kind == isFile || at.kind == isLink):
				e.Op, e.Content, e.Mode = plan.Write, []byte("new "+name), 0o644
			case op == 1 && (at.kind == isNothing || at.kind == isFile || at.kind == isLink):
				e.Op, e.Target = plan.Symlink, target.Draw(t, "target")
			case op == 2 && at.kind == isNothing:
				e.Op, e.Mode = plan.Mkdir, 0o755
			case op == 3:
				if _, err := d.drop(plan.Root, name, ""); err != nil && !strings.Contains(err.Error(), "is renamed") {
					t.Fatal(err)
				}
				continue
			case op == 4 && at.kind == isDir && at.base == canon && len(d.list()) == 0:
				to, _, err := d.resolve(plan.Root, "renamed", false)
				if err != nil || canon == "." {
					continue
				}
				e.Op, e.From, e.Path = plan.Rename, canon, to
			default:
				continue
			}
			if err := d.put(e); err != nil {
				continue
			}
			// A plan is refused as a whole; leave out what would make it so.
			if plan.Validate(d.list()) != nil {
				d.unset(plan.Root, e.Path)
				if plan.Validate(d.list()) != nil {
					return
				}
			}
		}
		if plan.Validate(d.list()) != nil {
			return
		}
		after := base.Clone()
		if err := plan.Apply(context.Background(), d.list(), boot, after); err != nil {
			if strings.Contains(err.Error(), "leads nowhere") || strings.Contains(err.Error(), "too many") {
				return
			}
			t.Fatalf("%v: %v", d.list(), err)
		}
		check(t, d, after, "")
	})
}

// A folder may be made below what was a file and has been removed.
func TestDraftFolderWhereAFileWas(t *testing.T) {
	base := plantest.New()
	write := plan.Edit{Partition: plan.Root, Path: "b", Op: plan.Write, Content: []byte("b")}
	if err := plan.Apply(context.Background(), []plan.Edit{write}, nil, base); err != nil {
		t.Fatal(err)
	}
	d := newDraft(plantest.New(), base)
	if _, err := d.drop(plan.Root, "b", ""); err != nil {
		t.Fatal(err)
	}
	if err := d.put(plan.Edit{Partition: plan.Root, Path: "b/a/a", Op: plan.Mkdir, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"b", "b/a", "b/a/a"} {
		if _, err := d.readDir(plan.Root, dir); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// check compares a draft with a file system, path by path.
func check(t *rapid.T, d *draft, after *plantest.FS, dir string) {
	for _, n := range []string{"a", "b", "c", "renamed"} {
		name := strings.TrimPrefix(dir+"/"+n, "/")
		want := isNothing
		info, err := after.Lstat(name)
		if err == nil {
			switch {
			case info.IsDir():
				want = isDir
			case info.Mode()&fs.ModeSymlink != 0:
				want = isLink
			default:
				want = isFile
			}
		}
		canon, e, err := d.resolve(plan.Root, name, false)
		if err == nil && e.kind != want || err != nil && want != isNothing {
			t.Fatalf("%s (%s): the draft shows %d, %v, the result is %d; edits %v\n%s", name, canon, e.kind, err, want, d.list(), after.Dump(false))
		}
		switch want {
		case isFile:
			got, err := d.read(plan.Root, name)
			if b, _ := fs.ReadFile(after, name); err != nil || string(got) != string(b) {
				t.Fatalf("%s: the draft reads %q, %v, the result %q", name, got, err, b)
			}
		case isLink:
			if target, _ := after.ReadLink(name); target != e.target {
				t.Fatalf("%s: the draft leads to %q, the result to %q", name, e.target, target)
			}
		case isDir:
			var names []string
			list, _ := after.ReadDir(name)
			for _, l := range list {
				names = append(names, l.Name())
			}
			if got, err := d.readDir(plan.Root, name); err != nil || !slices.Equal(got, names) {
				t.Fatalf("%s: the draft lists %v, %v, the result %v; edits %v", name, got, err, names, d.list())
			}
			if strings.Count(name, "/") < 3 {
				check(t, d, after, name)
			}
		}
	}
}
