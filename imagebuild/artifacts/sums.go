package artifacts

import (
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
)

// maxSums bounds the size of a SHA256SUMS that is read, in bytes.
const maxSums = 4 << 20

// Sums are the digests of a SHA256SUMS by the files' slash-separated names.
type Sums map[string][32]byte

// ParseSums reads what sha256sum(1) writes: a digest, a space, a space or an
// asterisk, a name. Names may begin with "./". A line whose name has a backslash,
// a line feed or a carriage return begins with a backslash and has the three
// escaped. Each problem names its line.
func ParseSums(text string) (Sums, []string) {
	all := Sums{}
	var problems []string
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "" {
			continue
		}
		name, sum, err := parseSum(line)
		if err != nil {
			problems = append(problems, fmt.Sprintf("line %d: %v", n, err))
			continue
		}
		if old, ok := all[name]; ok && old != sum {
			problems = append(problems, fmt.Sprintf("line %d: %s has another digest further up: remove the wrong line", n, name))
			continue
		}
		all[name] = sum
	}
	return all, problems
}

func parseSum(line string) (name string, sum [32]byte, err error) {
	rest, escaped := strings.CutPrefix(line, `\`)
	digest, name, ok := strings.Cut(rest, " ")
	if ok && len(digest) == 64 && len(name) > 1 && (name[0] == ' ' || name[0] == '*') {
		_, err = hex.Decode(sum[:], []byte(digest))
		name = name[1:]
	} else {
		ok = false
	}
	if escaped && ok {
		name, ok = unescape(name)
	}
	if !ok || err != nil {
		return "", sum, fmt.Errorf("%.80q is not what sha256sum writes: write the file anew with sha256sum", line)
	}
	clean := path.Clean(name)
	if path.IsAbs(clean) || clean == "." || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", sum, fmt.Errorf("%q is outside of the folder: run sha256sum within it", name)
	}
	return clean, sum, nil
}

func unescape(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", false
		}
		switch s[i] {
		case '\\':
			b.WriteByte('\\')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		default:
			return "", false
		}
	}
	return b.String(), true
}

// Format writes the digests as sha256sum does, sorted by name.
func (s Sums) Format() []byte {
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	escaper := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)
	var b []byte
	for _, name := range names {
		e := escaper.Replace(name)
		if e != name {
			b = append(b, '\\')
		}
		b = fmt.Appendf(b, "%x  %s\n", s[name], e)
	}
	return b
}
