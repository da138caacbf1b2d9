package strictyaml

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File    string `json:"file"`           // as it was named to the program
	Line    int    `json:"line"`           // from 1
	Column  int    `json:"column"`         // from 1, in characters
	Path    string `json:"path,omitempty"` // such as nodes[2].ip; "" is the file as a whole
	Message string `json:"message"`        // what is wrong
	Hint    string `json:"hint,omitempty"` // what to do about it
	// Excerpt is the line of the file, and a line with carets below it. Secrets
	// are masked.
	Excerpt string `json:"excerpt,omitempty"`
}

// String returns the problem as a person should see it, on one to four lines,
// without a newline at the end.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	for line := range strings.Lines(p.Excerpt) {
		b.WriteString("\n  " + strings.TrimSuffix(line, "\n"))
	}
	if p.Hint != "" {
		b.WriteString("\n  fix: " + p.Hint)
	}
	return b.String()
}

// Error is everything that is wrong with a file, in the order of the file. It
// is never empty.
type Error struct {
	Problems []Problem `json:"problems"`
}

// Error returns all problems, with a blank line between them.
func (e *Error) Error() string {
	s := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		s[i] = p.String()
	}
	return strings.Join(s, "\n\n")
}

// Report collects the problems of one file.
type Report struct {
	file    *file
	entries []entry
	notices []entry
	seen    map[entry]bool
}

type entry struct {
	at                  Span
	path, message, hint string
}

// Add reports a problem at a place. A problem that was reported before, word
// for word, is left out: what defaults give is checked for every node.
func (r *Report) Add(at Span, path, message, hint string) {
	e := entry{at, path, message, hint}
	if !r.seen[e] {
		r.seen[e] = true
		r.entries = append(r.entries, e)
	}
}

// Notice records something that the user should know, but that is not wrong.
func (r *Report) Notice(at Span, path, message string) {
	e := entry{at, path, message, ""}
	if !r.seen[e] {
		r.seen[e] = true
		r.notices = append(r.notices, e)
	}
}

// Mask keeps a stretch of the file out of all excerpts.
func (r *Report) Mask(s Span) { r.file.mask(s) }

// Failed says whether a problem was reported.
func (r *Report) Failed() bool { return len(r.entries) > 0 }

// FailedIn says whether a problem was reported in a value or below it. Path is
// such as nodes or nodes[2].ip.
func (r *Report) FailedIn(path string) bool {
	return slices.ContainsFunc(r.entries, func(e entry) bool {
		rest, ok := strings.CutPrefix(e.path, path)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// Err returns nil, or an *[Error] with all problems in the order of the file.
func (r *Report) Err() error {
	if len(r.entries) == 0 {
		return nil
	}
	return &Error{Problems: r.problems(r.entries)}
}

// Notices returns what was recorded by Notice, in the order of the file.
func (r *Report) Notices() []Problem { return r.problems(r.notices) }

func (r *Report) problems(entries []entry) []Problem {
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b entry) int {
		switch {
		case a.at.before(b.at):
			return -1
		case b.at.before(a.at):
			return 1
		}
		return 0
	})
	var problems []Problem
	for _, e := range entries {
		problems = append(problems, Problem{
			File:    r.file.name,
			Line:    e.at.Line,
			Column:  e.at.Col,
			Path:    e.path,
			Message: e.message,
			Hint:    e.hint,
			Excerpt: r.file.excerpt(e.at),
		})
	}
	return problems
}
