package plan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/plan/plantest"
)

// What was applied is found by its records, as they are read back from JSON; what was
// changed since is not, unless it is secret content, of which a record knows nothing.
func TestVerifyRecords(t *testing.T) {
	edits := []plan.Edit{
		{Partition: plan.Boot, Path: "piimg.txt", Op: plan.Write, Content: []byte("boot")},
		write("etc/hostname", "isabelle\n"),
		{Partition: plan.Root, Path: "etc/shadow", Op: plan.Write, Mode: 0o640, GID: 42, Content: []byte("the secret"), Secret: true},
		{Partition: plan.Root, Path: "home/tool", Op: plan.Write, Mode: 0o755 | fs.ModeSetuid, UID: 5, Content: nil, Time: time.Unix(1700000000, 0)},
		{Partition: plan.Root, Path: "srv", Op: plan.Mkdir, Mode: 0o777 | fs.ModeSticky},
		{Partition: plan.Root, Path: "etc/link", Op: plan.Symlink, Target: "hostname"},
		{Partition: plan.Root, Path: "var/moved", Op: plan.Rename, From: "var/log/c"},
		remove("home/pi/.profile"),
	}
	b, root := boot(), base()
	if err := plan.Apply(t.Context(), edits, b, root); err != nil {
		t.Fatal(err)
	}
	var records []plan.Record
	for _, e := range edits {
		records = append(records, e.Record())
	}
	content, err := json.Marshal(records)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte("secret\"")) && bytes.Contains(content, []byte("the secret")) || strings.Count(string(content), `"sha256"`) != 3 {
		t.Errorf("the records tell too much, or too little:\n%s", content)
	}
	records = nil
	if err := json.Unmarshal(content, &records); err != nil {
		t.Fatal(err)
	}
	if err := verifyRecords(t, records, b, root); err != nil {
		t.Fatalf("of what was applied: %v", err)
	}
	for what, c := range map[string]struct {
		do   func(*plantest.FS) error
		want string
	}{
		"secret content": {func(f *plantest.FS) error { f.PutMode("etc/shadow", "another", 0o640, 0, 42); return nil }, ""},
		"secret mode":    {func(f *plantest.FS) error { return f.Chmod("etc/shadow", 0o644) }, "write root:/etc/shadow: mode is 0644, not 0640"},
		"secret gone":    {func(f *plantest.FS) error { return f.Remove("etc/shadow") }, "write root:/etc/shadow: "},
		"content":        {func(f *plantest.FS) error { f.Put("etc/hostname", "isabelle!"); return nil }, "write root:/etc/hostname: content is not what was written"},
		"setuid":         {func(f *plantest.FS) error { return f.Chmod("home/tool", 0o755) }, "write root:/home/tool: mode is 0755, not 4755"},
		"owner":          {func(f *plantest.FS) error { return f.Lchown("home/tool", 0, 0) }, "write root:/home/tool: owner is 0:0, not 5:0"},
		"time":           {func(f *plantest.FS) error { f.SetTime("home/tool", time.Unix(1, 0)); return nil }, "write root:/home/tool: time is "},
		"sticky":         {func(f *plantest.FS) error { return f.Chmod("srv", 0o777) }, "mkdir root:/srv: mode is 0777, not 1777"},
		"target": {func(f *plantest.FS) error {
			if err := f.Remove("etc/link"); err != nil {
				return err
			}
			if err := f.Symlink("hosts", "etc/link"); err != nil {
				return err
			}
			return f.Lchown("etc/link", 0, 0)
		}, `symlink root:/etc/link: leads to "hosts", not to "hostname"`},
		"removed": {func(f *plantest.FS) error { f.Put("home/pi/.profile", ""); return nil }, "remove root:/home/pi/.profile: /home/pi/.profile is still there"},
		"renamed": {func(f *plantest.FS) error { f.Put("var/log/c", ""); return nil }, "rename root:/var/log/c to /var/moved: /var/log/c is still there"},
	} {
		changed := root.Clone()
		if err := c.do(changed); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		err := verifyRecords(t, records, b, changed)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "\n") > 0) {
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
	}
}

// Records that make no sense are refused, and nothing panics.
func TestVerifyRecordsRefuses(t *testing.T) {
	size := int64(3)
	for _, r := range []plan.Record{
		{},
		{Partition: "swap", Path: "a", Op: plan.Remove},
		{Partition: plan.Root, Path: "../a", Op: plan.Remove},
		{Partition: plan.Root, Path: "a", Op: "format"},
		{Partition: plan.Root, Path: "a", Op: plan.Write},
		{Partition: plan.Root, Path: "a", Op: plan.Write, Size: &size, SHA256: strings.Repeat("x", 64)},
		{Partition: plan.Root, Path: "a", Op: plan.Mkdir, Mode: "99999"},
		{Partition: plan.Root, Path: "a", Op: plan.Mkdir, Mode: "0755", Time: "noon"},
	} {
		if err := verifyRecords(t, []plan.Record{r}, boot(), base()); err == nil {
			t.Errorf("%+v is taken", r)
		}
	}
}

// verifyRecords returns all that is wrong, joined.
func verifyRecords(t *testing.T, records []plan.Record, boot, root plan.Target) error {
	t.Helper()
	var errs []error
	err := plan.VerifyRecords(t.Context(), boot, root, func(err error) { errs = append(errs, err) }, records[:len(records)/2], records[len(records)/2:])
	return errors.Join(append(errs, err)...)
}

// However many edits somebody writes into a manifest, verifying them takes no time that
// grows with their square: for as many as these, that would be hours.
func TestVerifyRecordsMany(t *testing.T) {
	records := make([]plan.Record, 1_000_000)
	for i := range records {
		records[i] = plan.Record{Partition: plan.Root, Path: fmt.Sprintf("nope/%d", i), Op: plan.Remove}
	}
	if err := verifyRecords(t, records, boot(), base()); err != nil {
		t.Errorf("removed: %v", err)
	}
	for i := range records {
		records[i].Op, records[i].From = plan.Rename, fmt.Sprintf("yes/%d", i)
	}
	if err := verifyRecords(t, records, boot(), base()); err == nil || !strings.Contains(err.Error(), "1000000 renames") {
		t.Errorf("renamed: %v", err)
	}
}

// Nor does one with as many folders in one path as somebody can write.
func TestVerifyRecordsDeep(t *testing.T) {
	deep := strings.Repeat("a/", 1_000_000) + "b"
	for _, p := range []plan.Partition{plan.Boot, plan.Root} {
		for _, r := range []plan.Record{
			{Partition: p, Path: deep, Op: plan.Remove},
			{Partition: p, Path: "b", Op: plan.Rename, From: deep},
		} {
			err := verifyRecords(t, []plan.Record{r}, boot(), base())
			if err == nil || !strings.Contains(err.Error(), "more than the 4095") || len(err.Error()) > 1000 {
				t.Errorf("%s on %s: got %.1000v", r.Op, p, err)
			}
		}
	}
}
