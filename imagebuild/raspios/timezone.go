package raspios

import (
	"io/fs"

	"github.com/piimg/piimg/imagebuild/plan"
)

// planTimezone sets the time zone, which must be one of the image's own.
func (b *builder) planTimezone() {
	zone := b.node.Timezone
	if zone == "" {
		return
	}
	const why = "timezone"
	file := "usr/share/zoneinfo/" + zone
	if !fs.ValidPath(file) {
		b.fail("timezone: %q is no name of a time zone; say for example Europe/Berlin", zone)
		return
	}
	if _, e, err := b.d.resolve(plan.Root, file, true); err != nil || e.kind != isFile {
		b.fail("timezone: the image has no /%s; say for example Europe/Berlin or Etc/UTC", file)
		return
	}
	b.edit("etc/timezone", zone+"\n", why)
	b.link("etc/localtime", "/"+file, why)
}
