package plan

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"
)

// Text beyond these limits is described, not shown.
const (
	maxShown      = 4 << 10  // bytes, in WriteText
	maxShownLines = 16       // of a script, in WriteText
	maxJSONShown  = 64 << 10 // bytes, in WriteJSON
)

// hidden stands for content that must not be printed.
const hidden = "<secret>"

// WriteText prints a plan for people: its notices, then each edit with what it
// leaves. Small text files are shown, others and longer scripts described by size and hash, secrets
// not at all. The form may change; programs read that of [WriteJSON].
func WriteText(w io.Writer, p Plan) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "node %s: %d edits\n", p.Node, len(p.Edits))
	for _, n := range p.Notices {
		fmt.Fprintf(b, "note: %s\n", n)
	}
	for _, e := range p.Edits {
		fmt.Fprintf(b, "\n%s\n", headline(e))
		if e.Op == Write {
			writeContent(b, e)
		}
	}
	return b.Flush()
}

// headline describes an edit in one line, apart from its content.
func headline(e Edit) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s:/%s", e.Op, e.Partition, printable(e.Path))
	switch e.Op {
	case Rename:
		s.Reset()
		fmt.Fprintf(&s, "%s %s:/%s -> /%s", e.Op, e.Partition, printable(e.From), printable(e.Path))
	case Symlink:
		fmt.Fprintf(&s, " -> %s", printable(e.Target))
		if e.UID != 0 || e.GID != 0 {
			fmt.Fprintf(&s, " %d:%d", e.UID, e.GID)
		}
	case Write, Mkdir:
		if e.Partition == Root {
			fmt.Fprintf(&s, " %s %d:%d", octal(e.Mode), e.UID, e.GID)
		}
		if !e.Time.IsZero() {
			fmt.Fprintf(&s, " %s", e.Time.UTC().Format(time.RFC3339))
		}
	}
	if e.Why != "" {
		fmt.Fprintf(&s, "  (%s)", e.Why)
	}
	return s.String()
}

func writeContent(b *bufio.Writer, e Edit) {
	switch {
	case e.Secret:
		fmt.Fprintf(b, "    %s\n", hidden)
	case e.Size() == 0:
		fmt.Fprintf(b, "    (empty)\n")
	case e.Source != nil || len(e.Content) > maxShown || !isText(e.Content) || isProgram(e.Content):
		fmt.Fprintf(b, "    (%d bytes, sha256 %x)\n", e.Size(), e.SHA256())
	default:
		text, ended := strings.CutSuffix(string(e.Content), "\n")
		for line := range strings.SplitSeq(text, "\n") {
			if line != "" {
				line = " " + line
			}
			fmt.Fprintf(b, "    |%s\n", line)
		}
		if !ended {
			fmt.Fprintf(b, "    (no newline at the end)\n")
		}
	}
}

// isProgram reports whether p is a script that is too long to be read in passing.
func isProgram(p []byte) bool {
	return bytes.HasPrefix(p, []byte("#!")) && bytes.Count(p, []byte("\n")) > maxShownLines
}

// isText reports whether a terminal can show p as it stands.
func isText(p []byte) bool {
	if !utf8.Valid(p) {
		return false
	}
	for _, r := range string(p) {
		if r != '\n' && r != '\t' && (r < 0x20 || r >= 0x7f && r < 0xa0) {
			return false
		}
	}
	return true
}

// printable quotes a name that a terminal cannot show as it stands.
func printable(s string) string {
	if isText([]byte(s)) && !strings.ContainsAny(s, "\n\t") {
		return s
	}
	q := fmt.Sprintf("%q", s)
	return q[1 : len(q)-1]
}

// octal returns permission bits as chmod(1) takes them: "0644", "4755".
func octal(m fs.FileMode) string {
	n := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		n |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		n |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		n |= 0o1000
	}
	return fmt.Sprintf("%04o", n)
}
