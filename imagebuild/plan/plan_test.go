package plan_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/plan"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMerge(t *testing.T) {
	got := plan.Merge(
		[]plan.Edit{write("etc/b", "1"), write("etc-x", "1"), write("etc", "0")},
		[]plan.Edit{write("etc/a", "1"), write("etc/b", "2")},
		[]plan.Edit{{Partition: plan.Boot, Path: "ssh", Op: plan.Write}, {Partition: plan.Boot, Path: "SSH", Op: plan.Remove}},
	)
	want := "[remove boot:/SSH write root:/etc write root:/etc/a write root:/etc/b write root:/etc-x]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if string(got[3].Content) != "2" {
		t.Errorf("the earlier edit won: %q", got[3].Content)
	}
}

func TestValidate(t *testing.T) {
	boot := func(path string) plan.Edit { return plan.Edit{Partition: plan.Boot, Path: path, Op: plan.Write} }
	rename := func(from, to string) plan.Edit {
		return plan.Edit{Partition: plan.Root, Op: plan.Rename, From: from, Path: to}
	}
	link := plan.Edit{Partition: plan.Root, Path: "a", Op: plan.Symlink, Target: "b"}
	for _, c := range []struct {
		edits []plan.Edit
		want  string // "" means valid
	}{
		{[]plan.Edit{write("a/b", ""), remove("a"), link}, "another edit of this path"},
		{[]plan.Edit{write("a/b", ""), remove("a")}, ""},
		{[]plan.Edit{write("a/b", ""), write("a", "")}, "/a is made a file"},
		{[]plan.Edit{write("a/b/c", ""), link}, "/a is made a symbolic link"},
		{[]plan.Edit{remove("a/b"), link}, "/a is made a symbolic link"},
		{[]plan.Edit{write("a-b", ""), link}, ""},
		{[]plan.Edit{write("/a", "")}, "relative"},
		{[]plan.Edit{write("a//b", "")}, "clean"},
		{[]plan.Edit{write("a/../b", "")}, "clean"},
		{[]plan.Edit{write(".", "")}, "clean"},
		{[]plan.Edit{write("", "")}, "clean"},
		{[]plan.Edit{write("a\x00b", "")}, "NUL"},
		{[]plan.Edit{write("a\xffb", "")}, "UTF-8"},
		{[]plan.Edit{write(strings.Repeat("ä", 128), "")}, "255 bytes"},
		{[]plan.Edit{boot(strings.Repeat("ä", 128))}, ""},
		{[]plan.Edit{boot(strings.Repeat("ä", 256))}, "UTF-16"},
		{[]plan.Edit{boot("ssh"), boot("SSH")}, "upper and lower case"},
		{[]plan.Edit{write("ssh", ""), write("SSH", "")}, ""},
		{[]plan.Edit{boot("Overlays"), boot("overlays/x")}, "made a file"},
		{[]plan.Edit{boot("a:b")}, "':' cannot stand"},
		{[]plan.Edit{boot("a\nb")}, `'\n' cannot stand`},
		{[]plan.Edit{boot("a.")}, "end in a dot"},
		{[]plan.Edit{boot("x/a /y")}, "space"},
		{[]plan.Edit{{Partition: plan.Boot, Path: "a", Op: plan.Symlink, Target: "b"}}, "no symbolic links"},
		{[]plan.Edit{{Partition: plan.Root, Path: "a", Op: plan.Symlink}}, "target"},
		{[]plan.Edit{{Partition: plan.Root, Path: "a", Op: plan.Mkdir, Content: []byte("x")}}, "content"},
		{[]plan.Edit{{Partition: plan.Root, Path: "a", Op: plan.Write, Content: []byte("x"), Source: &plan.Source{}}}, "twice"},
		{[]plan.Edit{{Partition: plan.Root, Path: "a", Op: plan.Write, Mode: fs.ModeDir}}, "permission bits"},
		{[]plan.Edit{{Partition: plan.Root, Path: "a", Op: plan.Write, UID: -1}}, "out of range"},
		{[]plan.Edit{{Partition: "swap", Path: "a", Op: plan.Write}}, "partition"},
		{[]plan.Edit{{Partition: plan.Root, Path: "a", Op: "chmod"}}, "unknown operation"},
		{[]plan.Edit{rename("home/a", "home/b"), write("home/b/x", ""), remove("home/b/y")}, ""},
		{[]plan.Edit{rename("home/a", "home/b"), write("home/a/x", "")}, "name the new path"},
		{[]plan.Edit{rename("home/a", "home/b"), write("home/a", "")}, "name the new path"},
		{[]plan.Edit{rename("home/a", "home/b"), remove("home")}, "holds what is renamed"},
		{[]plan.Edit{rename("home/a", "home/b"), rename("home/b", "home/c")}, "overlaps"},
		{[]plan.Edit{rename("home/a", "home/a/b")}, "above or below itself"},
		{[]plan.Edit{rename("", "a")}, "from"},
	} {
		err := plan.Validate(c.edits)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: got %v, want %q", c.edits, err, c.want)
		}
	}
	// Everything wrong comes out at once.
	err := plan.Validate([]plan.Edit{write("/a", ""), boot("a:b"), boot("ssh"), boot("SSH")})
	if n := len(strings.Split(err.Error(), "\n")); n != 3 {
		t.Errorf("%d errors, want 3: %v", n, err)
	}
}

func TestSplit(t *testing.T) {
	a := []plan.Edit{remove("var/a"), write("etc/hosts", "1"), write("etc/swap", "off"), write("var/a/x", "1")}
	b := []plan.Edit{write("etc/hosts", "2"), write("etc/swap", "off"), write("var/a/x", "1")}
	b[1].Why = "another reason"
	split := func(lists ...[]plan.Edit) (shared []plan.Edit, own [][]plan.Edit) {
		var plans []plan.Plan
		for _, l := range lists {
			plans = append(plans, plan.Plan{Edits: l})
		}
		s := plan.Split(plans)
		for _, p := range plans {
			mine, err := s.Own(p)
			if err != nil {
				t.Fatal(err)
			}
			own = append(own, mine)
		}
		return s.Shared(), own
	}
	shared, own := split(a, b)
	if got := fmt.Sprint(shared, own); got != "[write root:/etc/swap] "+
		"[[remove root:/var/a write root:/etc/hosts write root:/var/a/x] [write root:/etc/hosts write root:/var/a/x]]" {
		t.Error(got)
	}
	shared, own = split(a)
	if len(shared) != 0 || len(own[0]) != len(a) {
		t.Errorf("one plan: shared %v, own %v", shared, own)
	}
	if shared, own := split(); shared != nil || len(own) != 0 {
		t.Errorf("no plan: %v %v", shared, own)
	}
}

// A plan that is made anew, and comes out otherwise where it was shared, is not
// taken for that of the same node.
func TestSplitOfChangedPlans(t *testing.T) {
	edits := func(tool, host string) plan.Plan {
		return plan.Plan{Edits: []plan.Edit{write("opt/tool", tool), write("etc/host", host)}}
	}
	s := plan.Split([]plan.Plan{edits("1", "a"), edits("1", "b")})
	if own, err := s.Own(edits("1", "c")); err != nil || fmt.Sprint(own) != "[write root:/etc/host]" {
		t.Errorf("%v %v", own, err)
	}
	for _, p := range []plan.Plan{edits("2", "a"), {}, {Edits: []plan.Edit{write("etc/host", "a")}}} {
		if own, err := s.Own(p); err == nil || !strings.Contains(err.Error(), "since the plans were made") && !strings.Contains(err.Error(), "when the plans were made") {
			t.Errorf("%v: %v %v", p.Edits, own, err)
		}
	}
}

// Room is made for what every node writes, and only where nothing is in its way.
func TestReserve(t *testing.T) {
	link := plan.Edit{Partition: plan.Root, Op: plan.Symlink, Path: "srv", Target: "mnt"}
	key := plan.Edit{Partition: plan.Boot, Op: plan.Write, Path: "Key", Content: []byte("1")}
	otherCase := plan.Edit{Partition: plan.Boot, Op: plan.Write, Path: "KEY", Content: []byte("2")}
	plans := []plan.Plan{
		{Edits: []plan.Edit{write("etc/host", "a"), write("etc/one", "1"), write("var/a/x", "1"), write("srv/x", "1"), key, write("etc/same", "")}},
		{Edits: []plan.Edit{write("etc/host", "bbb"), remove("var/a"), write("var/a/x", "2"), link, write("srv/x", "2"), otherCase, write("etc/same", "")}},
	}
	got := plan.Split(plans).Reserved()
	if fmt.Sprint(got) != "[write root:/etc/host]" || string(got[0].Content) != "\x00\x00\x00" {
		t.Errorf("%v %q", got, got[0].Content)
	}
	if got := plan.Split(plans[:1]).Reserved(); len(got) != 0 {
		t.Errorf("one plan: %v", got)
	}
}

// example holds one of everything that is printed.
func example() plan.Plan {
	hash := write("etc/shadow", "pi:$6$abc$def:\n")
	hash.Secret, hash.Mode, hash.GID = true, 0o640, 42
	return plan.Plan{
		Node:    "isabelle",
		Notices: []string{"The first boot takes one restart more <than> usual."},
		Edits: plan.Merge([]plan.Edit{
			write("etc/hostname", "isabelle\n"), hash,
			write("etc/noeol", "a\n\n\tb"), write("etc/empty", ""),
			write("etc/binary", "\x00\xff"), write("etc/escape", "\x1b[31mred"),
			write("etc/long", strings.Repeat("line\n", 1000)),
			{Partition: plan.Root, Path: "opt/big", Op: plan.Write, Mode: 0o755 | fs.ModeSetuid, Source: &plan.Source{Path: "tool", Size: 1 << 30}},
			{Partition: plan.Root, Path: "home/tom/.ssh", Op: plan.Mkdir, Mode: 0o700, UID: 1000, GID: 1000, Why: "authorized keys"},
			{Partition: plan.Root, Path: "home/tom", Op: plan.Rename, From: "home/pi"},
			{Partition: plan.Root, Path: "etc/localtime", Op: plan.Symlink, Target: "/usr/share/zoneinfo/UTC"},
			{Partition: plan.Root, Path: "home/tom/l\x1b", Op: plan.Symlink, Target: "x", UID: 1, GID: 2},
			{Partition: plan.Root, Path: "var/clock", Op: plan.Write, Mode: 0o644, Time: time.Unix(1700000000, 0)},
			{Partition: plan.Boot, Path: "cmdline.txt", Op: plan.Write, Content: []byte("console=tty1\n")},
			remove("var/swap"),
		}),
	}
}

func TestPrint(t *testing.T) {
	var text, js bytes.Buffer
	if err := plan.WriteText(&text, example()); err != nil {
		t.Fatal(err)
	}
	if err := plan.WriteJSON(&js, []plan.Plan{example()}); err != nil {
		t.Fatal(err)
	}
	golden(t, "example.txt", text.Bytes())
	golden(t, "example.json", js.Bytes())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update rewrites it); got:\n%s", name, got)
	}
}

// No way of printing an edit shows a secret.
func TestSecretsStaySecret(t *testing.T) {
	p := example()
	var out strings.Builder
	plan.WriteText(&out, p)
	plan.WriteJSON(&out, []plan.Plan{p})
	j, _ := json.Marshal(p)
	out.Write(j)
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"}
	var secret []byte
	for _, e := range p.Edits {
		j, _ := json.Marshal(e)
		out.Write(j)
		for _, verb := range verbs {
			fmt.Fprintf(&out, verb, e)
		}
		if e.Secret {
			secret = e.Content
		}
	}
	for _, verb := range verbs {
		fmt.Fprintf(&out, verb, p)
	}
	for _, verb := range verbs {
		shown := strings.Trim(strings.TrimPrefix(fmt.Sprintf(verb, secret), "[]byte"), `[]{}"`)
		if shown == "" || strings.Contains(out.String(), shown) {
			t.Errorf("the secret shows by %s in:\n%s", verb, &out)
		}
	}
}
