package imagebuild

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// What is wrong with many nodes in the same way is told once, and keeps its kind.
func TestNodeErrors(t *testing.T) {
	var all nodeErrors
	root := errors.New("no such user")
	for i := range 100 {
		name := fmt.Sprintf("w%02d", i)
		err := fmt.Errorf("node %s: files: %w", name, root)
		if i%50 == 0 {
			err = errors.Join(err, fmt.Errorf("node %s: wifi", name))
		}
		all.add(name, err)
	}
	got := all.err()
	want := "nodes w00, w01, w02, w03, w04, w05, w06 and 93 others: files: no such user\nnode w00: wifi\nnode w50: wifi"
	if got.Error() != want || !errors.Is(got, root) {
		t.Errorf("got\n%v\nwant\n%s", got, want)
	}
	if err := (&nodeErrors{}).err(); err != nil {
		t.Error(err)
	}
	if s := someOf(strings.Split("a b c d e f g h", " ")); s != "a, b, c, d, e, f, g, h" {
		t.Error(s)
	}
}
