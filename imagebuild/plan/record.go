package plan

import (
	"context"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strconv"
	"time"
)

// Record says what an edit leaves without its content: what a manifest keeps of it,
// and by which it is found in an image later ([VerifyRecords]). Of what is secret it
// has the path and who may read it, and nothing that derives from the content.
// Its JSON form is stable.
type Record struct {
	Partition Partition `json:"partition" jsonschema:"enum=boot,enum=root" jsonschema_description:"boot is the FAT partition, root the ext4 one"`
	Path      string    `json:"path" jsonschema_description:"relative to the partition, slash-separated"`
	Op        Op        `json:"op" jsonschema:"enum=write,enum=mkdir,enum=symlink,enum=remove,enum=rename"`
	From      string    `json:"from,omitempty" jsonschema_description:"rename: the old path"`
	Target    string    `json:"target,omitempty" jsonschema_description:"symlink: where it leads"`
	Mode      string    `json:"mode,omitempty" jsonschema:"pattern=^[0-7]{4}$" jsonschema_description:"write and mkdir on root: octal permission bits"`
	UID       *int      `json:"uid,omitempty" jsonschema_description:"write, mkdir and symlink on root"`
	GID       *int      `json:"gid,omitempty" jsonschema_description:"write, mkdir and symlink on root"`
	Time      string    `json:"time,omitempty" jsonschema:"format=date-time" jsonschema_description:"where the edit sets a modification time"`
	Why       string    `json:"why,omitempty" jsonschema_description:"what the edit is for"`
	Secret    bool      `json:"secret,omitempty" jsonschema_description:"the content is secret: neither size nor sha256 are told"`
	Size      *int64    `json:"size,omitempty" jsonschema_description:"write: bytes"`
	SHA256    string    `json:"sha256,omitempty" jsonschema:"pattern=^[0-9a-f]{64}$" jsonschema_description:"write: of the content"`
}

// Record returns the edit's record.
func (e Edit) Record() Record {
	j := e.json()
	return Record{
		Partition: j.Partition, Path: j.Path, Op: j.Op, From: j.From, Target: j.Target, Mode: j.Mode,
		UID: j.UID, GID: j.GID, Time: j.Time, Why: j.Why, Secret: j.Secret, Size: j.Size, SHA256: j.SHA256,
	}
}

// edit returns an edit that leaves what the record says. It can be verified, not applied.
func (r Record) edit() (Edit, error) {
	e := Edit{Partition: r.Partition, Path: r.Path, Op: r.Op, From: r.From, Target: r.Target, Secret: r.Secret, Why: r.Why}
	if e.Op == Rename || e.Op == Remove {
		return e, nil
	}
	if r.UID != nil && r.GID != nil {
		e.UID, e.GID = *r.UID, *r.GID
	}
	if r.Mode != "" {
		m, err := strconv.ParseUint(r.Mode, 8, 12)
		if err != nil {
			return e, fmt.Errorf("%v: its mode %q is none", e, r.Mode)
		}
		e.Mode = fs.FileMode(m & 0o777)
		for bit, mode := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
			if m&bit != 0 {
				e.Mode |= mode
			}
		}
	}
	if r.Time != "" {
		t, err := time.Parse(time.RFC3339, r.Time)
		if err != nil {
			return e, fmt.Errorf("%v: its time %q is none", e, r.Time)
		}
		e.Time = t
	}
	if e.Op != Write {
		return e, nil
	}
	e.Source = &Source{}
	e.unknown = r.Secret
	if r.Secret {
		return e, nil
	}
	if r.Size == nil || *r.Size < 0 || len(r.SHA256) != 64 {
		return e, fmt.Errorf("%v: it has no size or no sha256", e)
	}
	e.Source.Size = *r.Size
	if _, err := hex.Decode(e.Source.SHA256[:], []byte(r.SHA256)); err != nil {
		return e, fmt.Errorf("%v: its sha256 %q is none", e, r.SHA256)
	}
	return e, nil
}

// maxRenames is how many renames there may be among records. Each is compared with all
// other edits, and piimg makes one or two.
const maxRenames = 1000

// VerifyRecords is [Verify] for the records of edits: of those that are secret it
// reads no content. It tells of each difference, of which there may be more than is good
// to keep. The error says what is wrong with the records themselves, or is the context's.
func VerifyRecords(ctx context.Context, boot, root Target, tell func(error), records ...[]Record) error {
	n := 0
	for _, some := range records {
		n += len(some)
	}
	edits := make([]Edit, 0, n)
	renames := 0
	for _, some := range records {
		for _, r := range some {
			e, err := r.edit()
			if err != nil {
				return err
			}
			if e.Op == Rename {
				renames++
			}
			edits = append(edits, e)
		}
	}
	if renames > maxRenames {
		return fmt.Errorf("there are %d renames, and %d are the most that is verified", renames, maxRenames)
	}
	if err := Validate(edits); err != nil {
		return err
	}
	return verifyEach(ctx, edits, boot, root, tell)
}
