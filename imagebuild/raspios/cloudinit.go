package raspios

import (
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

const cloudConfig = `# The node was set up when its image was built (piimg).
preserve_hostname: true
manage_etc_hosts: false
`

const cloudDisabled = `The node was set up when its image was built (piimg). Remove this file to let
cloud-init run.
`

// planCloudInit keeps cloud-init, which newer images have, from doing anything:
// what it would do has been done. If the user brings a user-data file, it runs,
// but leaves the hostname alone.
func (b *builder) planCloudInit() {
	if b.facts.Packages["cloud-init"] == "" && !b.exists("etc/cloud/cloud.cfg") {
		return
	}
	const why, disabled = "cloud-init", "etc/cloud/cloud-init.disabled"
	b.write("etc/cloud/cloud.cfg.d/99-piimg.cfg", cloudConfig, 0o644, why)
	_, e, err := b.d.resolve(plan.Boot, "user-data", true)
	if err != nil {
		b.try(err)
		return
	}
	if e.kind == isFile && e.edit != nil {
		b.remove(disabled, why)
		b.notice("cloud-init runs on the first boot, since you bring a user-data file.")
		return
	}
	if e.kind == isFile {
		for _, line := range lines(b.read(plan.Boot, "user-data")) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				b.notice("The base image's user-data for cloud-init is not used; give it as one of your files if it should be.")
				break
			}
		}
	}
	b.write(disabled, cloudDisabled, 0o644, why)
}
