package raspios

import (
	"strings"
	"time"

	"github.com/piimg/piimg/imagebuild/plan"
)

const whyTime = "clock"

// planTime sees to it that a board without a clock starts at the time of the
// build or later, and sets the time servers. Before its clock is set by the
// network, a node otherwise lives years ago, where certificates are not yet valid.
func (b *builder) planTime() {
	b.clockFile()
	b.fakeHwclock()
	if len(b.node.NTP) == 0 {
		return
	}
	if !b.facts.Timesyncd {
		b.fail("ntp: the image has no systemd-timesyncd; install it into the image, or leave ntp out")
		return
	}
	b.write("etc/systemd/timesyncd.conf.d/90-piimg.conf", "[Time]\nNTP="+strings.Join(b.node.NTP, " ")+"\n", 0o644, "ntp")
}

// clockFile sets the file whose modification time systemd-timesyncd starts the
// clock at.
func (b *builder) clockFile() {
	if !b.facts.Timesyncd {
		return
	}
	const old, current = "var/lib/systemd/clock", "var/lib/systemd/timesync/clock"
	files := []string{current}
	// Until version 235 it was elsewhere; an image may have both.
	if v := b.facts.Systemd; v > 0 && v < 235 {
		files = []string{old}
		if b.exists(current) {
			files = append(files, current)
		}
	}
	uid, gid := 0, 0
	if acc, ok := parseAccount(parseTable(b.text("etc/passwd"), 7).row("systemd-timesync")); ok {
		uid, gid = acc.uid, acc.gid
	}
	for _, name := range files {
		floor := b.Time
		_, e, err := b.d.resolve(plan.Root, name, true)
		if err == nil && e.kind == isFile && e.info != nil && e.info.ModTime().After(floor) {
			floor = e.info.ModTime() // never back
		}
		if dir := strings.TrimSuffix(name, "/clock"); name == current && !b.exists(dir) {
			b.mkdir(dir, 0o755, uid, gid, whyTime)
		}
		b.try(b.d.put(plan.Edit{
			Partition: plan.Root, Path: name, Op: plan.Write, Mode: 0o644, UID: uid, GID: gid,
			Time: floor.Truncate(time.Second), Why: whyTime,
		}))
	}
}

// fakeHwclock sets what the package fake-hwclock starts the clock at.
func (b *builder) fakeHwclock() {
	if !b.facts.FakeHwclock {
		return
	}
	const file = "etc/fake-hwclock.data"
	if t, err := time.ParseInLocation(time.DateTime, strings.TrimSpace(b.text(file)), time.UTC); err == nil && !t.Before(b.Time) {
		return
	}
	b.edit(file, b.Time.UTC().Format(time.DateTime)+"\n", whyTime)
}
