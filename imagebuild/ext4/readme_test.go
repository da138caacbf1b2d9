package ext4

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestReadme looks for the README's code among the examples, which run.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	flat := func(code string) string {
		return regexp.MustCompile(`(?m)^[\t ]+`).ReplaceAllString(strings.ReplaceAll(code, "\r\n", "\n"), "")
	}
	snippets := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(strings.ReplaceAll(string(readme), "\r\n", "\n"), -1)
	if len(snippets) == 0 {
		t.Error("the README has no code")
	}
	for _, s := range snippets {
		if !strings.Contains(flat(string(examples)), flat(s[1])) {
			t.Errorf("not in example_test.go:\n%s", s[1])
		}
	}
}
