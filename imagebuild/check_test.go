package imagebuild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCheckReleases finds the small images clean, as they are packed.
func TestCheckReleases(t *testing.T) {
	for _, release := range releases(t) {
		r, err := Check(context.Background(), filepath.Join(shared, "images", release+".img.xz"), Options{CacheDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := errors.Join(r.Err(), r.WriteText(&text)); err != nil || !r.Clean() || len(r.Partitions) != 2 {
			t.Errorf("%s: %v\n%s", release, err, &text)
		}
		if p := r.Partitions[1]; p.FileSystem != "ext4" || p.Label != "rootfs" || p.Blocks == 0 {
			t.Errorf("%s: partition 2 is %+v", release, p)
		}
	}
}

// TestCheckInterrupted ends a check from outside.
func TestCheckInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	o := Options{CacheDir: t.TempDir()}
	o.Progress = func(step string, done, _ int64) {
		if step == stepCheck && done > 0 {
			cancel()
		}
	}
	if _, err := Check(ctx, filepath.Join(shared, "images", "buster.img.xz"), o); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted check: %v", err)
	}
}

// TestCheckReport is about what is printed of findings, and what scripts get.
func TestCheckReport(t *testing.T) {
	group := 0
	p := PartitionChecked{
		Index: 2, Label: "root\x1b", FileSystem: "ext4", Findings: []Finding{
			{Code: "dup", Path: "a\nb", Inode: 12, Detail: "one"},
			{Code: "other-kind", Group: &group, Block: 7, Detail: "two"},
			{Code: "dup", Cluster: 3, Detail: "three"},
		},
		Omitted: 4, Unchecked: []string{"quota usage"},
	}
	p.Findings = append(p.Findings, slices.Repeat([]Finding{{Code: "dup", Detail: "again"}}, 20)...)
	r := &CheckReport{Path: "x.img", Table: "mbr", Partitions: []PartitionChecked{p, {Index: 3, Problem: "too odd"}}}
	var got strings.Builder
	if err := r.WriteText(&got); err != nil {
		t.Fatal(err)
	}
	want := `x.img
  partition 2 "root\x1b": ext4, 27 findings
    dup
      "a\nb", inode 12: one
      cluster 3: three
` + strings.Repeat("      again\n", 18) + `      … and 2 more of this kind
    other kind
      group 0, block 7: two
    4 more
    not checked: quota usage
  partition 3: cannot be checked: too odd
`
	if got.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", &got, want)
	}
	if err := r.Err(); KindOf(err) != KindImage || !strings.Contains(err.Error(), "x.img: partition 3: too odd") {
		t.Errorf("Err = %v", err)
	}
	b, err := json.Marshal(r.Partitions[0].Findings[1])
	if want := `{"code":"other-kind","group":0,"block":7,"detail":"two"}`; err != nil || !bytes.Equal(b, []byte(want)) {
		t.Errorf("%v: %s, want %s", err, b, want)
	}
}
