package raspios

import (
	"slices"
	"strconv"
	"strings"
)

// account is one line of /etc/passwd.
type account struct {
	name     string
	uid, gid int
	home     string // absolute
}

// table is a file of colon-separated fields: passwd, shadow, group, gshadow,
// subuid, subgid. Lines that are no rows (comments, NIS) are kept as they are.
type table struct {
	rows  [][]string
	lines []any // int: a row; string: another line
}

// parseTable reads the lines that have at least fields fields.
func parseTable(text string, fields int) *table {
	t := &table{}
	for _, line := range lines(text) {
		row := strings.Split(line, ":")
		if len(row) < fields || row[0] == "" || strings.HasPrefix(line, "#") || line[0] == '+' || line[0] == '-' {
			t.lines = append(t.lines, line)
			continue
		}
		t.lines = append(t.lines, len(t.rows))
		t.rows = append(t.rows, row)
	}
	return t
}

// String returns the file again.
func (t *table) String() string {
	var s strings.Builder
	for _, l := range t.lines {
		switch l := l.(type) {
		case string:
			s.WriteString(l)
		case int:
			s.WriteString(strings.Join(t.rows[l], ":"))
		}
		s.WriteByte('\n')
	}
	return s.String()
}

// row returns the row of a name, nil if there is none.
func (t *table) row(name string) []string {
	for _, r := range t.rows {
		if r[0] == name {
			return r
		}
	}
	return nil
}

// add appends a row.
func (t *table) add(row ...string) {
	t.lines = append(t.lines, len(t.rows))
	t.rows = append(t.rows, row)
}

// number returns the row whose field holds a number, nil if there is none.
func (t *table) number(field, n int) []string {
	for _, r := range t.rows {
		if v, err := strconv.Atoi(r[field]); err == nil && v == n {
			return r
		}
	}
	return nil
}

// A group's members are a comma-separated field of group and gshadow.

func members(field string) []string {
	if field == "" {
		return nil
	}
	return strings.Split(field, ",")
}

func renameMember(field, old, name string) string {
	m := members(field)
	for i := range m {
		if m[i] == old {
			m[i] = name
		}
	}
	return strings.Join(m, ",")
}

func addMember(field, name string) string {
	if m := members(field); !slices.Contains(m, name) {
		return strings.Join(append(m, name), ",")
	}
	return field
}

func removeMember(field, name string) string {
	return strings.Join(slices.DeleteFunc(members(field), func(m string) bool { return m == name }), ",")
}

// parseAccount reads a row of passwd.
func parseAccount(row []string) (account, bool) {
	if len(row) < 7 {
		return account{}, false
	}
	uid, err1 := strconv.Atoi(row[2])
	gid, err2 := strconv.Atoi(row[3])
	return account{name: row[0], uid: uid, gid: gid, home: row[5]}, err1 == nil && err2 == nil
}
