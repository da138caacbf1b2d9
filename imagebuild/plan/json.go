package plan

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"time"
	"unicode/utf8"
)

// jsonPlan and jsonEdit are the documented form of WriteJSON. Names and meanings
// stay; fields may be added.
type jsonPlan struct {
	Node    string     `json:"node"`
	Notices []string   `json:"notices"`
	Edits   []jsonEdit `json:"edits"`
}

type jsonEdit struct {
	Partition Partition `json:"partition"`
	Path      string    `json:"path"`
	Op        Op        `json:"op"`
	From      string    `json:"from,omitempty"`
	Target    string    `json:"target,omitempty"`
	Mode      string    `json:"mode,omitempty"`
	UID       *int      `json:"uid,omitempty"`
	GID       *int      `json:"gid,omitempty"`
	Time      string    `json:"time,omitempty"`
	Why       string    `json:"why,omitempty"`
	Secret    bool      `json:"secret,omitempty"`
	Size      *int64    `json:"size,omitempty"`
	SHA256    string    `json:"sha256,omitempty"`
	Source    string    `json:"source,omitempty"`
	Content   *string   `json:"content,omitempty"`
}

// WriteJSON prints plans as one indented JSON array. Each plan is an object
//
//	node     string, the hostname
//	notices  array of strings
//	edits    array of edits, sorted by partition and path
//
// and each edit an object with
//
//	partition  "boot" or "root"
//	path       relative to the partition, slash-separated
//	op         "write", "mkdir", "symlink", "remove" or "rename"
//	from       rename: the old path
//	target     symlink: where it leads
//	mode       write and mkdir on root: octal permission bits, "0644"
//	uid, gid   write, mkdir and symlink on root
//	time       RFC 3339, where the edit sets a modification time
//	why        what the edit is for, in a few words
//	secret     true where content must not be shown; it is then "<secret>", and
//	           size and sha256 are left out
//	size       write: bytes
//	sha256     write: of the content, lower-case hex
//	source     write: the file on the host that the content comes from
//	content    write: the content itself, if it is valid UTF-8, not secret, not in
//	           a source file, and at most 64 KiB
func WriteJSON(w io.Writer, plans []Plan) error {
	out := make([]jsonPlan, len(plans))
	for i, p := range plans {
		out[i] = p.json()
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

// MarshalJSON returns the plan in the form of [WriteJSON], secrets hidden.
func (p Plan) MarshalJSON() ([]byte, error) { return json.Marshal(p.json()) }

func (p Plan) json() jsonPlan {
	j := jsonPlan{Node: p.Node, Notices: []string{}, Edits: make([]jsonEdit, 0, len(p.Edits))}
	j.Notices = append(j.Notices, p.Notices...)
	for _, e := range p.Edits {
		j.Edits = append(j.Edits, e.json())
	}
	return j
}

// MarshalJSON returns the edit in the form of [WriteJSON], secrets hidden.
func (e Edit) MarshalJSON() ([]byte, error) { return json.Marshal(e.json()) }

func (e Edit) json() jsonEdit {
	j := jsonEdit{
		Partition: e.Partition, Path: e.Path, Op: e.Op, From: e.From, Target: e.Target,
		Why: e.Why, Secret: e.Secret,
	}
	if e.Partition == Root && (e.Op == Write || e.Op == Mkdir || e.Op == Symlink) {
		j.UID, j.GID = &e.UID, &e.GID
		if e.Op != Symlink {
			j.Mode = octal(e.Mode)
		}
	}
	if !e.Time.IsZero() {
		j.Time = e.Time.UTC().Format(time.RFC3339)
	}
	if e.Op != Write {
		return j
	}
	if e.Source != nil {
		j.Source = e.Source.Path
	}
	if e.Secret {
		s := hidden
		j.Content = &s
		return j
	}
	size, sum := e.Size(), e.SHA256()
	j.Size, j.SHA256 = &size, hex.EncodeToString(sum[:])
	if e.Source == nil && len(e.Content) <= maxJSONShown && utf8.Valid(e.Content) {
		s := string(e.Content)
		j.Content = &s
	}
	return j
}
