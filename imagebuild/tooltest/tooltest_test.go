package tooltest

import (
	"fmt"
	"strings"
	"testing"
)

// said notes how a test ended.
type said struct{ how string }

func (s *said) Helper()           {}
func (s *said) Fatal(args ...any) { s.end("fatal: ", args) }
func (s *said) Skip(args ...any)  { s.end("skip: ", args) }
func (s *said) end(how string, args []any) {
	s.how = how + fmt.Sprint(args...)
	panic(s) // as runtime.Goexit ends a test
}

func TestPath(t *testing.T) {
	for _, c := range []struct{ name, path, ci, want string }{
		{"sh", "/bin", "true", "/bin/sh"},
		{"e2fsck", "", "false", "/usr/sbin/e2fsck"},
		{"jq", "", "false", "skip: jq is not installed"},
		{"jq", "", "true", "fatal: jq is not installed"},
		{"sl", "/usr/bin:/usr/games", "false", "fatal: sl is none of the programs"},
	} {
		t.Setenv("PATH", c.path)
		t.Setenv("CI", c.ci)
		end := &said{}
		func() {
			defer func() {
				if r := recover(); r != nil && r != any(end) {
					panic(r)
				}
			}()
			end.how = Path(end, c.name)
		}()
		if !strings.HasPrefix(end.how, c.want) {
			t.Errorf("%s with PATH=%s CI=%s: got %q, want %q", c.name, c.path, c.ci, end.how, c.want)
		}
	}
}
