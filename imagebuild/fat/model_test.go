package fat

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// model is what the file system must hold: what the names are in lower case, to
// what is there.
type model map[string]*thing

type thing struct {
	path    string // as it is on disk
	dir     bool
	content []byte
}

func (m model) get(p string) *thing { return m[strings.ToLower(p)] }

// canonical returns p with the directory's name as it is on disk.
func (m model) canonical(p string) string {
	if dir := path.Dir(p); dir != "." {
		return m.get(dir).path + "/" + path.Base(p)
	}
	return p
}

func (m model) under(p string) []*thing {
	var out []*thing
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(k, strings.ToLower(p)+"/") {
			out = append(out, m[k])
		}
	}
	return out
}

func (m model) tree() map[string]string {
	out := map[string]string{}
	for _, x := range m {
		if x.dir {
			out[x.path+"/"] = ""
		} else {
			out[x.path] = string(x.content)
		}
	}
	return out
}

var modelNames = []string{
	"cmdline.txt", "CMDLINE.TXT", "ssh", "SSH", "userconf.txt", "piimg-node.txt", "Piimg-Node.txt", "a b.txt", "ab.txt",
	"very long name with spaces and more than twenty-six characters.conf", "very long name with spaces, another.conf",
	"x", "X.Y", ".hidden", "..two", "a.b.c", "Ärger.txt", "ärger.txt", "😀😀😀😀😀😀😀", "+,;=[].txt", "network-config", "user-data",
	"exactly-13-ch", "exactly-26-characters-long", "~1", "name~1.t", "no.extension", "foo.conf", "foo.con", "foo.cont",
}

// TestModel makes random changes, and has fsck.fat and mtools look at the outcome.
// It makes a dozen sequences of changes on each kind of file system, or as many as the flag
// -rapid.checks says.
func TestModel(t *testing.T) {
	fsckPath, mcopy := tooltest.Path(t, "fsck.fat"), tooltest.Path(t, "mcopy")
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("12"); err != nil {
			t.Fatal(err)
		}
		defer checks.Value.Set(checks.DefValue)
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			img := newImage(t, k, true)
			base := img.open(t)
			b, err := Open(base, 0, img.size, Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			before, beforeSlots := tree(t, b), slots(t, b)
			dir := t.TempDir() + "/out"
			rapid.Check(t, func(t *rapid.T) {
				l := base.Fork()
				defer l.Close()
				f, err := Open(l, 0, img.size, Options{Time: buildTime})
				if err != nil {
					t.Fatal(err)
				}
				m := model{}
				for p, c := range before {
					name := strings.TrimSuffix(p, "/")
					m[strings.ToLower(name)] = &thing{path: name, dir: name != p, content: []byte(c)}
				}
				touched := map[string]bool{}
				for range rapid.IntRange(1, 25).Draw(t, "steps") {
					step(t, f, m, touched)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				want := m.tree()
				again, err := Open(l, 0, img.size, Options{ReadOnly: true})
				if err != nil {
					t.Fatal(err)
				}
				sameTree(t, "read back", tree(t, again), want)
				for p, s := range slots(t, again) {
					if old, ok := beforeSlots[p]; ok && !touched[strings.ToLower(p)] && s != old {
						t.Fatalf("the entry of %s was changed:\n% x\n% x", p, old, s)
					}
				}
				if r, err := Check(l, 0, img.size, CheckOptions{}); err != nil || !r.Clean() {
					t.Fatalf("Check: %v\n%s", err, r.text())
				}
				img.with(t, l, func(p string) {
					fsck(t, fsckPath, p)
					sameTree(t, "mtools", mtools(t, mcopy, p, dir), asMtools(want))
				})
			})
		})
	}
}

// asMtools returns the tree with names as mtools shows them, which takes a
// character beyond the basic plane for two that it doesn't know.
func asMtools(tree map[string]string) map[string]string {
	out := map[string]string{}
	for p, c := range tree {
		out[strings.ReplaceAll(p, "😀", "__")] = c
	}
	return out
}

// step makes one random change, to the file system and to the model.
func step(t *rapid.T, f *FS, m model, touched map[string]bool) {
	var dirs, files []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k].dir {
			dirs = append(dirs, k)
		} else {
			files = append(files, k)
		}
	}
	dirs = append(dirs, ".")
	newPath := func() string {
		return path.Join(rapid.SampledFrom(dirs).Draw(t, "dir"), rapid.SampledFrom(modelNames).Draw(t, "name"))
	}
	anyPath := func() string {
		if len(files) > 0 && rapid.IntRange(0, 2).Draw(t, "existing") == 0 {
			return rapid.SampledFrom(files).Draw(t, "file")
		}
		return newPath()
	}
	data := func() []byte {
		size := rapid.SampledFrom([]int{0, 1, 100, 511, 512, 513, 2048, 4097, 30_000, 120_000}).Draw(t, "size")
		return content(size, rapid.Uint64Range(0, 9).Draw(t, "seed"))
	}
	touch := func(p string) { touched[strings.ToLower(p)] = true }
	// full is an end that all have in common: nothing may have changed but what was named.
	full := func(err error) bool { return errors.Is(err, ErrNoSpace) }

	switch op := rapid.SampledFrom([]string{"write", "write", "write", "stream", "append", "remove", "removeall", "mkdir", "rename", "rename"}).Draw(t, "op"); op {
	case "write", "stream", "append":
		p := anyPath()
		x := m.get(p)
		if x != nil && x.dir {
			return
		}
		touch(p)
		d := data()
		var err error
		want := d
		switch op {
		case "write":
			err = f.WriteFile(p, bytes.NewReader(d), int64(len(d)))
		case "stream":
			err = stream(f, p, os.O_RDWR|os.O_CREATE|os.O_TRUNC, d)
		case "append":
			if x != nil {
				want = append(bytes.Clone(x.content), d...)
			}
			err = stream(f, p, os.O_WRONLY|os.O_CREATE|os.O_APPEND, d)
		}
		if full(err) {
			if err := f.RemoveAll(p); err != nil {
				t.Fatal(err)
			}
			delete(m, strings.ToLower(p))
			return
		}
		if err != nil {
			t.Fatalf("%s %s: %v", op, p, err)
		}
		if x == nil {
			x = &thing{path: m.canonical(p)}
			m[strings.ToLower(p)] = x
		}
		x.content = want
	case "remove", "removeall":
		p := anyPath()
		if len(dirs) > 1 && rapid.Bool().Draw(t, "remove a directory") {
			p = rapid.SampledFrom(dirs[:len(dirs)-1]).Draw(t, "removed")
		}
		x, under := m.get(p), m.under(p)
		var err error
		if op == "remove" {
			err = f.Remove(p)
			if ok := x != nil && len(under) == 0; ok != (err == nil) {
				t.Fatalf("Remove(%s): %v, with %d below", p, err, len(under))
			}
		} else {
			err = f.RemoveAll(p)
			if err != nil {
				t.Fatalf("RemoveAll(%s): %v", p, err)
			}
		}
		if err == nil {
			for _, u := range under {
				delete(m, strings.ToLower(u.path))
				touch(u.path)
			}
			delete(m, strings.ToLower(p))
			touch(p)
		}
	case "mkdir":
		p := newPath()
		x := m.get(p)
		err := f.Mkdir(p)
		switch {
		case full(err):
			return
		case x != nil:
			if !errors.Is(err, fs.ErrExist) {
				t.Fatalf("Mkdir(%s), where there is something: %v", p, err)
			}
		case err != nil:
			t.Fatalf("Mkdir(%s): %v", p, err)
		default:
			m[strings.ToLower(p)] = &thing{path: m.canonical(p), dir: true}
			touch(p)
		}
	case "rename":
		from, to := anyPath(), anyPath()
		if len(dirs) > 1 && rapid.Bool().Draw(t, "rename a directory") {
			from = rapid.SampledFrom(dirs[:len(dirs)-1]).Draw(t, "renamed")
		}
		rename(t, f, m, touched, from, to, full)
	}
}

func rename(t *rapid.T, f *FS, m model, touched map[string]bool, from, to string, full func(error) bool) {
	x, y := m.get(from), m.get(to)
	err := f.Rename(from, to)
	same := strings.EqualFold(from, to)
	into := strings.HasPrefix(strings.ToLower(to), strings.ToLower(from)+"/")
	switch {
	case x == nil, into, y != nil && !same && (y.dir || x.dir):
		if err == nil {
			t.Fatalf("Rename(%s, %s) succeeded", from, to)
		}
		return
	case full(err):
		if y != nil && !same {
			if g, _ := f.ReadFile(to); string(g) != string(y.content) {
				delete(m, strings.ToLower(to)) // it was removed to make room
			}
		}
		return
	case err != nil:
		t.Fatalf("Rename(%s, %s): %v", from, to, err)
	}
	under := m.under(from)
	delete(m, strings.ToLower(from))
	target := m.canonical(to)
	touched[strings.ToLower(from)], touched[strings.ToLower(to)] = true, true
	for _, u := range under {
		delete(m, strings.ToLower(u.path))
		touched[strings.ToLower(u.path)] = true
		u.path = target + u.path[len(x.path):]
		m[strings.ToLower(u.path)] = u
		touched[strings.ToLower(u.path)] = true
	}
	x.path = target
	m[strings.ToLower(to)] = x
}

// stream writes d in uneven pieces.
func stream(f *FS, p string, flag int, d []byte) error {
	h, err := f.OpenFile(p, flag)
	if err != nil {
		return err
	}
	for i := 1; len(d) > 0; i++ {
		n := min(len(d), i*777)
		if _, err := h.Write(d[:n]); err != nil {
			h.Close()
			return err
		}
		d = d[n:]
	}
	return h.Close()
}

// TestHandles has several handles on one file, against a slice of bytes.
func TestHandles(t *testing.T) {
	img := newImage(t, kinds[len(kinds)-1], false)
	rapid.Check(t, func(rt *rapid.T) {
		l := img.open(t)
		f, err := Open(l, 0, img.size, Options{Time: buildTime})
		if err != nil {
			rt.Fatal(err)
		}
		var want []byte
		h := make([]interface {
			io.ReadWriteSeeker
			io.ReaderAt
		}, 3)
		for i := range h {
			x, err := f.openFile("file", os.O_RDWR|os.O_CREATE)
			if err != nil {
				rt.Fatal(err)
			}
			h[i] = x
		}
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				w := rapid.SampledFrom(h).Draw(t, "handle")
				off := rapid.IntRange(0, 20_000).Draw(t, "off")
				d := content(rapid.IntRange(0, 5000).Draw(t, "len"), 1)
				if _, err := w.Seek(int64(off), io.SeekStart); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(d); err != nil {
					t.Fatal(err)
				}
				if len(d) > 0 {
					if missing := off + len(d) - len(want); missing > 0 {
						want = append(want, make([]byte, missing)...)
					}
					copy(want[off:], d)
				}
			},
			"read": func(t *rapid.T) {
				r := rapid.SampledFrom(h).Draw(t, "handle")
				off := rapid.IntRange(0, 30_000).Draw(t, "off")
				p := make([]byte, rapid.IntRange(1, 5000).Draw(t, "len"))
				n, err := r.ReadAt(p, int64(off))
				w := want[min(off, len(want)):min(off+len(p), len(want))]
				if !bytes.Equal(p[:n], w) || (err == io.EOF) != (len(w) < len(p)) {
					t.Fatalf("ReadAt(%d, %d) = %d, %v; want %d bytes", len(p), off, n, err, len(w))
				}
			},
			"truncate": func(t *rapid.T) {
				x, err := f.OpenFile("/file", os.O_WRONLY|os.O_TRUNC)
				if err != nil {
					t.Fatal(err)
				}
				x.Close()
				want = nil
			},
			"other": func(t *rapid.T) {
				d := content(rapid.IntRange(0, 5000).Draw(t, "len"), 2)
				if err := f.WriteFile(fmt.Sprint("other", len(d)%7), bytes.NewReader(d), int64(len(d))); err != nil {
					t.Fatal(err)
				}
			},
		})
		got, err := f.ReadFile("file")
		if err != nil || !bytes.Equal(got, want) {
			rt.Fatalf("ReadFile: %d bytes, %v; want %d", len(got), err, len(want))
		}
	})
}
