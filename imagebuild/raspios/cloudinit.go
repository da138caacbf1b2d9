package raspios

import (
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

// cloudConfig is for the case that cloud-init runs all the same. Its own defaults
// would make new host keys and lock the password of the first user.
const cloudConfig = `# The node was set up when its image was built (piimg).
preserve_hostname: true
manage_etc_hosts: false
ssh_deletekeys: false
users: []
`

const cloudDisabled = `The node was set up when its image was built (piimg). Remove this file to let
cloud-init run.
`

// planCloudInit keeps cloud-init, which newer images have, from doing anything:
// what it would do has been done. If the user brings a file for it, it runs, but
// leaves alone what piimg set.
func (b *builder) planCloudInit() {
	if b.facts.Packages["cloud-init"] == "" && !b.exists("etc/cloud/cloud.cfg") {
		return
	}
	const why, disabled = "cloud-init", "etc/cloud/cloud-init.disabled"
	b.write("etc/cloud/cloud.cfg.d/99-piimg.cfg", cloudConfig, 0o644, why)
	var unused []string
	for _, name := range []string{"user-data", "network-config"} {
		_, e, err := b.d.resolve(plan.Boot, name, true)
		switch {
		case err != nil:
			b.try(err)
		case e.kind == isFile && e.edit != nil:
			b.remove(disabled, why)
			b.notice("cloud-init runs on the first boot, since you bring %s for it.", name)
			return
		case e.kind == isFile && !onlyComments(b.read(plan.Boot, name)):
			unused = append(unused, name)
		}
	}
	for _, name := range unused {
		b.notice("The base image's %s for cloud-init is not used; give it as one of your files if it should be.", name)
	}
	b.write(disabled, cloudDisabled, 0o644, why)
}

// onlyComments reports whether a YAML file says nothing.
func onlyComments(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return false
		}
	}
	return true
}
