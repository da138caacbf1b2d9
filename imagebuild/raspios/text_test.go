package raspios

import (
	"bytes"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/nodes"
	"pgregory.net/rapid"
)

func TestAppendArgs(t *testing.T) {
	for _, c := range []struct{ text, args, want string }{
		{"a b\n", "c", "a b c\n"},
		{"a b", "c d", "a b c d"},
		{"a b \t\n", "c", "a b c\n"},
		{"a b\r\n", "c", "a b c\r\n"},
		{"a b\x00\x00", "c", "a b c\x00\x00"},
		{"a b\n\n# more\n", "c", "a b c\n\n# more\n"},
		{"", "c", "c"},
		{"\n", "c", "c\n"},
		{"a b\n", "b a", "a b\n"},
		{"a b\n", "c c", "a b c\n"},
		{"a cc\n", "c", "a cc c\n"},
		{"a " + regdom + "GB\n", regdom + "DE", "a " + regdom + "GB " + regdom + "DE\n"},
		{regdom + "DE " + regdom + "GB\n", regdom + "DE", regdom + "DE " + regdom + "GB " + regdom + "DE\n"},
		{regdom + "GB " + regdom + "DE\n", regdom + "DE", regdom + "GB " + regdom + "DE\n"},
	} {
		if got := string(appendArgs([]byte(c.text), strings.Fields(c.args))); got != c.want {
			t.Errorf("%q + %q: got %q, want %q", c.text, c.args, got, c.want)
		}
	}
}

// Whatever stands in cmdline.txt stays, on one line, and nothing is added twice.
func TestAppendArgsProperties(t *testing.T) {
	arg := rapid.StringMatching(`[a-z]{1,2}(=[a-z0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		line := strings.Join(rapid.SliceOf(arg).Draw(t, "line"), " ")
		end := rapid.SampledFrom([]string{"", "\n", "\r\n", "\x00"}).Draw(t, "end")
		args := rapid.SliceOf(arg).Draw(t, "args")
		got := appendArgs([]byte(line+end), args)
		if again := appendArgs(got, args); !bytes.Equal(again, got) {
			t.Fatalf("again: %q became %q", got, again)
		}
		s, ok := strings.CutPrefix(string(got), line)
		if s, ok2 := strings.CutSuffix(s, end); !ok || !ok2 || strings.ContainsAny(s, "\n\r\x00") {
			t.Fatalf("%q became %q", line+end, got)
		}
		have := strings.Fields(strings.TrimRight(string(got), "\x00"))
		for _, a := range args {
			n := 0
			for _, h := range have {
				if h == a {
					n++
				}
			}
			if n == 0 || n > 1 && strings.Count(" "+line+" ", " "+a+" ") < 1 {
				t.Fatalf("%q stands %d times in %q", a, n, got)
			}
		}
	})
}

func FuzzAppendArgs(f *testing.F) {
	f.Add([]byte("console=tty1 root=PARTUUID=1-02 rootwait\n"), "a=1")
	f.Fuzz(func(t *testing.T, text []byte, arg string) {
		if len(strings.Fields(arg)) != 1 || strings.Fields(arg)[0] != arg || strings.ContainsAny(arg, "\n\r\x00") {
			t.Skip("not one argument")
		}
		got := appendArgs(text, []string{arg})
		if !bytes.Equal(appendArgs(got, []string{arg}), got) {
			t.Errorf("%q + %q is added twice", text, arg)
		}
	})
}

func TestWithBlock(t *testing.T) {
	text := rapid.StringMatching(`([a-z# ]{0,5}\n){0,5}[a-z]{0,3}`)
	block := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,5}`), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		old := text.Draw(t, "text")
		a, b := block.Draw(t, "a"), block.Draw(t, "b")
		once := withBlock(old, a)
		if again := withBlock(once, a); again != once {
			t.Fatalf("%q became %q, then %q", old, once, again)
		}
		if !strings.HasPrefix(once, strings.TrimSuffix(old, "\n")) {
			t.Fatalf("%q became %q", old, once)
		}
		if direct, over := withBlock(old, b), withBlock(once, b); len(b) > 0 && direct != over {
			t.Fatalf("%q with %q: %q, and by way of %q: %q", old, b, direct, a, over)
		}
		if n := strings.Count(once, blockBegin); n > 1 || (n == 1) != (len(a) > 0) {
			t.Fatalf("%d blocks in %q", n, once)
		}
	})
}

func TestConfig(t *testing.T) {
	i := loadImage(t, "bookworm")
	old := content(t, i.boot, "config.txt")
	build(t, i, one(func(n *nodes.Node) { n.Config = []string{"a=1", "b=2"} }), 0)
	build(t, i, one(func(n *nodes.Node) { n.Config = []string{"b=2"} }), 0)
	want := old + "\n" + blockBegin + "\n[all]\nb=2\n" + blockEnd + "\n"
	if got := content(t, i.boot, "config.txt"); got != want {
		t.Errorf("got %q", got)
	}
	build(t, i, one(func(n *nodes.Node) {}), 0)
	if got := content(t, i.boot, "config.txt"); got != old {
		t.Errorf("without lines: got %q", got)
	}
}

func TestHosts(t *testing.T) {
	b := &builder{Input: Input{Config: config(), Shared: NewShared(config(), nil, nil)}, node: nodes.Node{Hostname: "blathers", Domain: "example.org"}}
	for _, c := range []struct{ text, want string }{
		{"127.0.0.1\tlocalhost\n127.0.1.1\t\traspberrypi\n127.0.1.1 x\n::1 localhost\n",
			"127.0.0.1\tlocalhost\n127.0.1.1\tblathers.example.org\tblathers\n::1 localhost\n"},
		{"127.0.0.1\tlocalhost", "127.0.0.1\tlocalhost\n127.0.1.1\tblathers.example.org\tblathers\n"},
		{"", "127.0.1.1\tblathers.example.org\tblathers\n"},
	} {
		want := c.want + "\n" + blockBegin + "\n10.0.0.50\tisabelle\n" + blockEnd + "\n"
		got := b.hosts(c.text)
		if got != want {
			t.Errorf("%q: got %q, want %q", c.text, got, want)
		}
		if again := b.hosts(got); again != got {
			t.Errorf("again: %q", again)
		}
	}
}
