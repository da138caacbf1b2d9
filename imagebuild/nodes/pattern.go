package nodes

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// maxNodes is how many nodes a nodes.yaml may have.
const maxNodes = 10_000

// maxRanges is how many pairs of brackets a pattern may have.
const maxRanges = 16

// A pattern stands for many names: text with numbers in brackets, in the form
// that pdsh, ClusterShell and Slurm know as host lists. worker-[001-100] is
// worker-001 to worker-100; [1-4,7] are five numbers; with several pairs of
// brackets the last one counts fastest.
type pattern []step

// step is a stretch of fixed text, and the numbers after it; the last step of a
// pattern may have none.
type step struct {
	text    string
	numbers []string
}

const (
	// rangePattern is a pair of brackets and what may be in it.
	rangePattern = `[\[][0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*\]`
	// octetPattern is a part of an IPv4 address, or of a pattern of them.
	octetPattern = `([0-9]{1,3}|[0-9]*` + rangePattern + `[0-9]*)`
)

var rangeRE = regexp.MustCompile(rangePattern)

// isPattern says whether text is meant to be a pattern: no name and no address
// has a bracket.
func isPattern(s string) bool { return strings.ContainsAny(s, "[]") }

const patternHint = "write the first and the last number in brackets: worker-[001-100]; lists such as [1-4,7] are possible"

// pattern reads text with brackets. ok is false if something is wrong with it,
// which was reported.
func (c *checker) pattern(v text) (p pattern, ok bool) {
	rest := v.V
	for rest != "" {
		fixed, after, found := strings.Cut(rest, "[")
		if strings.Contains(fixed, "]") {
			c.fail(at(v), patternHint, "%q closes a bracket that it does not open", v.V)
			return nil, false
		}
		if !found {
			p = append(p, step{text: fixed})
			return p, c.fits(v, p)
		}
		inside, next, closed := strings.Cut(after, "]")
		if !closed || strings.Contains(inside, "[") {
			c.fail(at(v), patternHint, "the range of %q is not closed", v.V)
			return nil, false
		}
		numbers, ok := c.numbers(v, inside)
		if !ok {
			return nil, false
		}
		if p, rest = append(p, step{fixed, numbers}), next; !c.fits(v, p) {
			return nil, false
		}
	}
	return p, true
}

// fits refuses a pattern that stands for too many names, or for names that are too
// long for what comes of it to be held.
func (c *checker) fits(v text, p pattern) bool {
	fixed := 0
	for _, s := range p {
		fixed += len(s.text)
	}
	if len(p) > maxRanges || fixed > 253 {
		c.fail(at(v), "a name can have 63 characters", "the range has a name that is too long")
		return false
	}
	if p.len() > maxNodes {
		c.fail(at(v), "split the fleet over several files", "%q stands for more than %d nodes, which is what piimg takes at most", v.V, maxNodes)
		return false
	}
	return true
}

var numbersRE = regexp.MustCompile(`^([0-9]+)(?:-([0-9]+))?$`)

// numbers reads what is between two brackets.
func (c *checker) numbers(v text, inside string) ([]string, bool) {
	if strings.TrimSpace(inside) == "" {
		c.fail(at(v), patternHint, "the range of %q is empty", v.V)
		return nil, false
	}
	var out []string
	for item := range strings.SplitSeq(inside, ",") {
		m := numbersRE.FindStringSubmatch(item)
		if m == nil {
			c.fail(at(v), patternHint, "%q is neither a number nor two numbers with a hyphen", item)
			return nil, false
		}
		if m[2] == "" {
			m[2] = m[1]
		}
		few, ok := c.count(v, item, m[1], m[2])
		if !ok {
			return nil, false
		}
		if out = append(out, few...); len(out) > maxNodes {
			break // fits refuses it
		}
	}
	seen := map[string]bool{}
	for _, n := range out {
		if seen[n] {
			c.fail(at(v), "name each number once", "the range of %q has the number %s twice", v.V, n)
			return nil, false
		}
		seen[n] = true
	}
	return out, true
}

// count counts from one number to another. A number that begins with a zero is
// padded, and then both have as many digits.
func (c *checker) count(v text, item, from, to string) ([]string, bool) {
	padded := len(from) > 1 && from[0] == '0' || len(to) > 1 && to[0] == '0'
	if padded && len(from) != len(to) {
		width := max(len(from), len(to))
		c.fail(at(v), fmt.Sprintf("write %s-%s, or %s-%s", padTo(width, from), padTo(width, to), trimZeros(from), trimZeros(to)),
			"%s and %s of the range %s have leading zeros and different lengths", from, to, item)
		return nil, false
	}
	first, errFirst := strconv.ParseUint(from, 10, 32)
	last, errLast := strconv.ParseUint(to, 10, 32)
	switch {
	case errFirst != nil || errLast != nil || len(from) > 10 || len(to) > 10:
		c.fail(at(v), "", "the range has a number of more than 10 digits, or one above 4294967295")
		return nil, false
	case last < first:
		c.fail(at(v), "write "+to+"-"+from, "the range %s runs backwards", item)
		return nil, false
	}
	var out []string
	for n := first; n <= last && len(out) <= maxNodes; n++ {
		out = append(out, fmt.Sprintf("%0*d", len(from), n))
	}
	return out, true
}

func padTo(width int, s string) string { return strings.Repeat("0", width-len(s)) + s }

func trimZeros(s string) string {
	if t := strings.TrimLeft(s, "0"); t != "" {
		return t
	}
	return "0"
}

// len returns how many names p stands for, or a number above maxNodes.
func (p pattern) len() int {
	n := 1
	for _, s := range p {
		if len(s.numbers) > 0 {
			n *= len(s.numbers)
		}
		if n > maxNodes {
			return maxNodes + 1
		}
	}
	return n
}

// all returns the names that p stands for, in their order.
func (p pattern) all() []string {
	names := []string{""}
	for _, s := range p {
		if len(s.numbers) == 0 {
			for i := range names {
				names[i] += s.text
			}
			continue
		}
		longer := make([]string, 0, len(names)*len(s.numbers))
		for _, name := range names {
			for _, n := range s.numbers {
				longer = append(longer, name+s.text+n)
			}
		}
		names = longer
	}
	return names
}

// noPattern refuses a pattern where one thing is meant. It reports whether v is one.
func (c *checker) noPattern(v text, what string) bool {
	if !rangeRE.MatchString(v.V) {
		return false
	}
	c.fail(at(v), "ranges are for the hostname and the ip of an entry of nodes", "%s %q is a range, and there is one %s", what, v.V, what)
	return true
}
