package strictyaml

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// file is the text of a file, by lines, and what of it must not be shown.
type file struct {
	name  string
	lines [][]rune
	masks []Span
}

const (
	stars = "********" // stands for a secret of any length
	width = 100        // characters of a line that an excerpt shows
)

func newFile(name, text string) *file {
	f := &file{name: name}
	for line := range strings.SplitSeq(text, "\n") {
		f.lines = append(f.lines, []rune(line))
	}
	return f
}

func (f *file) mask(s Span) { f.masks = append(f.masks, s) }

// columns returns the masked columns of a line, as pairs of from (inclusive)
// and to (exclusive), from 1, sorted and not overlapping.
func (f *file) columns(line int) [][2]int {
	text := f.lines[line-1]
	indent := 1
	for indent <= len(text) && unicode.IsSpace(text[indent-1]) {
		indent++
	}
	var cols [][2]int
	for _, m := range f.masks {
		if line < m.Line || line > m.EndLine {
			continue
		}
		from, to := indent, len(text)+1
		if line == m.Line {
			from = m.Col
		}
		if line == m.EndLine {
			to = min(to, m.EndCol)
		}
		if from < to {
			cols = append(cols, [2]int{from, to})
		}
	}
	slices.SortFunc(cols, func(a, b [2]int) int { return a[0] - b[0] })
	var merged [][2]int
	for _, c := range cols {
		if n := len(merged); n > 0 && c[0] <= merged[n-1][1] {
			merged[n-1][1] = max(merged[n-1][1], c[1])
			continue
		}
		merged = append(merged, c)
	}
	return merged
}

// excerpt returns the line that at starts on, and carets below what of it at
// covers. Lines that are too long are cut, tabs become one space, and
// characters that a terminal might obey are replaced.
func (f *file) excerpt(at Span) string {
	if at.Line < 1 || at.Line > len(f.lines) {
		return ""
	}
	text := f.lines[at.Line-1]
	if len(text) == 0 {
		return ""
	}
	end := at.Col + 1
	if at.EndLine > at.Line {
		end = len(text) + 1
	} else if at.EndLine == at.Line {
		end = max(end, at.EndCol)
	}

	var shown []rune
	from, to := -1, -1 // the carets, as indexes of shown
	masks := f.columns(at.Line)
	for col := 1; col <= len(text); col++ {
		if from < 0 && col >= at.Col {
			from = len(shown)
		}
		if len(masks) > 0 && col == masks[0][0] {
			shown = append(shown, []rune(stars)...)
			inside := at.Col > col && at.Col < masks[0][1]
			col = masks[0][1] - 1
			if inside {
				from = len(shown) - len(stars)
			}
			masks = masks[1:]
		} else {
			shown = append(shown, printable(text[col-1]))
		}
		if col < end {
			to = len(shown)
		}
	}
	if from < 0 {
		from = len(shown)
	}
	to = max(to, from+1)
	shown, from, to = crop(shown, from, to)
	number := fmt.Sprint(at.Line)
	return fmt.Sprintf("%s | %s\n%s | %s%s", number, strings.TrimRight(string(shown), " "),
		strings.Repeat(" ", len(number)), strings.Repeat(" ", from), strings.Repeat("^", to-from))
}

// crop cuts a long line to what is around its carets.
func crop(line []rune, from, to int) ([]rune, int, int) {
	if len(line) <= width {
		return line, from, to
	}
	start := max(0, min(from-width/3, len(line)-width))
	stop := min(len(line), start+width)
	cut := slices.Clone(line[start:stop])
	if start > 0 {
		cut[0] = '…'
	}
	if stop < len(line) {
		cut[len(cut)-1] = '…'
	}
	from -= start
	return cut, from, max(from+1, min(to-start, len(cut)))
}

func printable(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case !unicode.IsPrint(r):
		return '\uFFFD'
	}
	return r
}

var keyBefore = regexp.MustCompile(`["']?([\pL\pN_-]+)["']?\s*:`)

// HoldsSecret says whether text looks as if it held a key for secrets and its
// value. Such text must not be quoted in a message.
func HoldsSecret(text string) bool {
	for _, m := range keyBefore.FindAllStringSubmatch(text, -1) {
		if secretKey(m[1]) {
			return true
		}
	}
	return false
}

// maskText hides secrets in a file whose structure is unknown, because it does
// not parse: all that follows a secret key on its line, and the lines below that
// may belong to it. If the line leaves a bracket or a quote open, all the rest of
// the file is hidden.
func (f *file) maskText() {
	for i := 0; i < len(f.lines); i++ {
		line := string(f.lines[i])
		for _, m := range keyBefore.FindAllStringSubmatchIndex(line, -1) {
			if !secretKey(line[m[2]:m[3]]) {
				continue
			}
			s := Span{Line: i + 1, Col: len([]rune(line[:m[1]])) + 1}
			last := len(f.lines)
			if closed(line[m[1]:]) {
				last = i + 1
				for last < len(f.lines) && continues(f.lines[i], f.lines[last]) {
					last++
				}
			}
			s.EndLine, s.EndCol = last, len(f.lines[last-1])+1
			f.mask(s)
			break
		}
	}
}

var keyLine = regexp.MustCompile(`^[ \t]*(- +)*["']?[\pL\pN_-]+["']?[ \t]*:([ \t]|$)`)

// continues says whether a line below that of a key may belong to its value:
// unless it is another key, and not indented more.
func continues(key, line []rune) bool {
	return indent(line) > indent(key) || !keyLine.MatchString(string(line))
}

func indent(line []rune) int {
	n := 0
	for n < len(line) && (line[n] == ' ' || line[n] == '\t') {
		n++
	}
	return n
}

// closed says whether no bracket and no quote stays open at the end of s.
func closed(s string) bool {
	return strings.Count(s, `"`)%2 == 0 && strings.Count(s, `'`)%2 == 0 &&
		strings.Count(s, "{") <= strings.Count(s, "}") && strings.Count(s, "[") <= strings.Count(s, "]")
}
