package raspios

import (
	"io/fs"
	"path"
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

// Addition is what another package adds to a node's plan: it knows what a node is
// to become, and this package how the image takes it. The user's own files and
// overlays win over additions.
type Addition struct {
	// Edits are of either partition. Folders that lead to them are made where they
	// are missing, 0755 and root's.
	Edits []plan.Edit
	// Overlays are trees for the root partition: programs, which begin with "#!",
	// become 0755, other files 0644; all belong to root.
	Overlays []fs.FS
	// Cmdline are arguments for the kernel, one in each entry.
	Cmdline []string
	// Enable are systemd units that come with the addition, and are to be started:
	// timers with timers.target, others with multi-user.target.
	Enable []string
	// Notices are things that the user should know, one sentence each.
	Notices []string
	// Why says in a few words what the addition is for: "kubernetes".
	Why string
}

// planAdditions lays what other packages add over the image.
func (b *builder) planAdditions() {
	for _, a := range b.Additions {
		b.add(a)
	}
}

func (b *builder) add(a Addition) {
	for _, tree := range a.Overlays {
		b.embedded(tree, a.Why)
	}
	for _, e := range a.Edits {
		if e.Why == "" {
			e.Why = a.Why
		}
		b.try(b.putUserFile(e))
	}
	for _, unit := range a.Enable {
		target := "multi-user.target"
		if path.Ext(unit) == ".timer" {
			target = "timers.target"
		}
		if !b.exists(unitDir + "/" + unit) {
			b.fail("%s: the unit %s is to be started, and is not in the image", a.Why, unit)
			continue
		}
		b.link(unitDir+"/"+target+".wants/"+unit, "/"+unitDir+"/"+unit, a.Why)
	}
	b.args = append(b.args, a.Cmdline...)
	for _, n := range a.Notices {
		b.notice("%s", strings.TrimSpace(n))
	}
}
