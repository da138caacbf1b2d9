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
	// Owns are files and folders of the root partition that nobody else writes to.
	// What the base image has there and the plan does not, which is what piimg made
	// of it for another node, is removed.
	Owns []string
	// Guarded are those of Owns whose content must not reach another node, not even
	// in the free space of its image: a base image that has them is refused for nodes
	// that do not get them.
	Guarded []string
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

// planOwned removes what an earlier build left for another node: a worker made
// from a control plane's image would have the cluster's keys, and a plain node
// would start the cluster a second time.
func (b *builder) planOwned() {
	forgot := false
	for _, a := range b.Additions {
		for _, name := range a.Guarded {
			if b.left(name) {
				b.fail("the base image holds /%s of another node, whose keys would stay in the free space of this one's image; start from an untouched base image", name)
			}
		}
		for _, name := range a.Owns {
			forgot = b.forget(name, a.Why) || forgot
		}
	}
	if forgot {
		// As with any file that is removed, its blocks are free and not overwritten.
		b.notice("What the base image had for another node is removed; its keys can still be found in the free space of this image. Make images for cards that leave your hands from an untouched base image.")
	}
}

// left reports whether the base has something at a path, and the plan nothing.
func (b *builder) left(name string) bool {
	canon, e, err := b.d.resolve(plan.Root, name, false)
	b.try(err)
	return err == nil && e.kind != isNothing && e.edit == nil && b.d.full[plan.Root][canon] == 0
}

// forget removes what is at a path unless the plan puts it there, and reports
// whether there was anything.
func (b *builder) forget(name, why string) (forgot bool) {
	canon, e, err := b.d.resolve(plan.Root, name, false)
	switch {
	case err != nil:
		b.try(err)
	case e.kind == isNothing:
	case e.kind == isDir && (e.edit != nil || b.d.full[plan.Root][canon] > 0):
		names, err := b.d.readDir(plan.Root, canon)
		b.try(err)
		for _, n := range names {
			forgot = b.forget(canon+"/"+n, why) || forgot
		}
	case e.edit == nil:
		b.remove(canon, why)
		forgot = true
	}
	return forgot
}
