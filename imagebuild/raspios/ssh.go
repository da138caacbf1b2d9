package raspios

import (
	"slices"
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

const whySSH = "ssh"

// keepHostKeys replaces the program that makes new host keys on the first boot.
const keepHostKeys = `#!/bin/sh
# The SSH host keys of this node were made when its image was built: keep them.
exit 0
`

// planSSH turns sshd on or off and gives the node its host keys.
func (b *builder) planSSH() {
	const (
		wanted = unitDir + "/multi-user.target.wants/ssh.service"
		alias  = unitDir + "/sshd.service"
	)
	if b.node.SSH {
		if b.d.unit("ssh.service") == "" {
			b.fail("ssh: the image has no ssh.service; use an image with openssh-server, or say ssh: false")
		}
		// The file is for the release's own switch, the links for the time before
		// it has run, and for images without it.
		b.try(b.d.put(plan.Edit{Partition: plan.Boot, Path: "ssh", Op: plan.Write, Why: whySSH}))
		b.unmask("ssh.service", whySSH)
		b.link(wanted, b.unitTarget("ssh.service"), whySSH)
		b.link(alias, b.unitTarget("ssh.service"), whySSH)
		b.remove("etc/ssh/sshd_not_to_be_run", whySSH)
	} else {
		b.drop(plan.Boot, "ssh", whySSH)
		b.drop(plan.Boot, "ssh.txt", whySSH)
		for _, l := range append(b.d.wants("ssh.service"), b.d.wants("ssh.socket")...) {
			b.remove(l, whySSH)
		}
		if !b.d.masked("sshd.service") {
			b.remove(alias, whySSH)
		}
	}
	b.hostKeys()
}

// hostKeys writes the keys that known_hosts names, and keeps the image from
// making others: each release has its own way of doing so.
func (b *builder) hostKeys() {
	keys, err := b.Secrets.HostKeys(b.node.Hostname)
	if err != nil {
		b.fail("failed to make SSH host keys: %w", err)
		return
	}
	var ours []string
	for _, k := range keys {
		ours = append(ours, k.Name, k.Name+".pub")
		b.try(b.d.put(plan.Edit{
			Partition: plan.Root, Path: "etc/ssh/" + k.Name, Op: plan.Write, Mode: 0o600,
			Content: k.Private, Secret: true, Why: "host key",
		}))
		b.write("etc/ssh/"+k.Name+".pub", strings.TrimSuffix(k.Public, "\n")+"\n", 0o644, "host key")
	}
	// Keys that came with the image would be those of all its copies.
	names, _ := b.d.readDir(plan.Root, "etc/ssh")
	for _, n := range names {
		if strings.HasPrefix(n, "ssh_host_") && strings.Contains(n, "_key") && !slices.Contains(ours, n) {
			b.remove("etc/ssh/"+n, "host key")
		}
	}
	const unit, program = "regenerate_ssh_host_keys.service", "usr/lib/raspberrypi-sys-mods/regenerate_ssh_host_keys"
	if b.d.unit(unit) != "" {
		b.mask(unit, "host key")
	}
	// From late Bullseye on, the init= program of the first boot calls it as well.
	if b.exists(program) {
		b.write(program, keepHostKeys, 0o755, "host key")
	}
}
