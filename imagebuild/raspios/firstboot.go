package raspios

import (
	"strconv"
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

// planPresets tells systemd which units it is to enable on a first boot: without
// a word it enables all, also those that were turned off.
func (b *builder) planPresets() {
	if !b.facts.Presets {
		return
	}
	rules := "enable ssh.service\ndisable ssh.socket\n"
	if !b.node.SSH {
		rules = "disable ssh.service\ndisable ssh.socket\n"
	}
	b.write("etc/systemd/system-preset/10-piimg.preset", rules, 0o644, whySSH)
}

// planFirstBoot says what the user will see of it.
func (b *builder) planFirstBoot() {
	switch {
	case strings.HasPrefix(b.facts.FirstBoot, "init="):
		b.notice("The first boot grows the root file system over the card and then restarts once.")
	case b.facts.FirstBoot != "":
		b.notice("The first boot grows the root file system over the card.")
	}
	if b.d.exists(plan.Boot, "firstrun.sh") && strings.Contains(b.read(plan.Boot, "cmdline.txt"), "systemd.run=") {
		b.notice("The base image has a firstrun.sh of Raspberry Pi Imager, which runs on the first boot and may change what piimg set; better start from an image without it.")
	}
	if b.d.exists(plan.Boot, "custom.toml") {
		b.notice("The base image has a custom.toml of Raspberry Pi Imager, which is applied on the first boot and may change what piimg set; better start from an image without it.")
	}
	if n := b.facts.Node; n != nil {
		b.notice("The base image was made by piimg for node %s already (%s); an untouched base image is better.", n.Hostname, strconv.Quote(noteName))
	}
}
