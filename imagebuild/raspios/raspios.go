// Package raspios knows how each release of Raspberry Pi OS wants to be set up.
//
// [Detect] reads from an image what it holds; [Plan] decides which files of it
// are to be changed so that it becomes the node that nodes.yaml describes. Both
// read the image through fs.FS and change nothing: a plan is data, carried out by
// package plan. What is decided, and why, is in one file for each concern:
// user.go, ssh.go, hostname.go, network.go and so on.
//
// Concerns see the image as the ones before them leave it, so that a renamed
// user's files, or a file that two concerns add to, come out right, and each path
// has one edit in the end. A plan for an image that piimg has edited before
// describes the same state again; nothing is added twice.
package raspios

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/secrets"
)

// Input is what a plan is made from.
type Input struct {
	Config *nodes.Config
	Node   nodes.Node // one of Config.Nodes
	Facts  *Facts     // from Detect of the same image
	// Boot and Root are the image's partitions. Root should be an fs.ReadLinkFS;
	// symbolic links are followed within the partition.
	Boot, Root fs.FS
	// Shared is what the nodes of a cluster have in common, if several plans are
	// made; it goes with Config, Boot and Root. nil is made anew.
	Shared    *Shared
	Secrets   *secrets.Secrets
	Base      BaseInfo
	Version   string    // piimg's own
	Time      time.Time // the build's: the clock of the node starts here
	Additions []Addition
}

// BaseInfo names the base image.
type BaseInfo struct {
	Name   string // of the file
	SHA256 string // of the file as published, lower-case hex; "" if unknown
}

// Plan decides what is to be changed for one node. If something about the node
// cannot be done, it returns everything that cannot, joined; each error names the
// node, and what to do.
func Plan(in Input) (plan.Plan, error) {
	if in.Shared == nil {
		in.Shared = NewShared(in.Config, in.Boot, in.Root)
	}
	in.Boot, in.Root = in.Shared.boot, in.Shared.root
	b := &builder{Input: in, d: newDraft(in.Boot, in.Root), node: in.Node, facts: in.Facts}
	for _, concern := range []func(*builder){
		(*builder).planUser, // first: paths and owners below depend on it
		(*builder).planSSH,
		(*builder).planHostname,
		(*builder).planSwap,
		(*builder).planNetwork,
		(*builder).planWifi,
		(*builder).planLocale,
		(*builder).planTime,
		(*builder).planPresets,
		(*builder).planAdditions, // before the command line, which they add to
		(*builder).planCmdline,
		(*builder).planConfig,
		(*builder).planFiles, // the user's own files win
		(*builder).planOverlays,
		(*builder).planOwned, // all that puts files there has done so
		(*builder).checkCmdline,
		(*builder).planCloudInit, // looks whether the user brings a configuration
		(*builder).planFirstBoot,
		(*builder).planNote,
	} {
		concern(b)
	}
	p := plan.Plan{Node: in.Node.Hostname, Edits: b.d.list(), Notices: b.notices}
	if err := plan.Validate(p.Edits); err != nil {
		b.fail("%w", err)
	}
	if len(b.errs) > 0 {
		return plan.Plan{}, errors.Join(b.errs...)
	}
	return p, nil
}

// builder collects edits, errors and notices of one node.
type builder struct {
	Input
	d       *draft
	node    nodes.Node
	facts   *Facts
	user    account // the login user as it will be
	args    []string
	errs    []error
	notices []string
}

// fail notes an error; the plan goes on, so that all come out together. If the
// last argument is several errors, each is noted by itself.
func (b *builder) fail(format string, args ...any) {
	if n := len(args) - 1; n >= 0 {
		if several, ok := args[n].(interface{ Unwrap() []error }); ok {
			for _, err := range several.Unwrap() {
				b.fail(format, append(slices.Clone(args[:n]), err)...)
			}
			return
		}
	}
	err := fmt.Errorf("node %s: "+format, append([]any{b.node.Hostname}, args...)...)
	for _, e := range b.errs {
		if e.Error() == err.Error() {
			return // the same file was read twice
		}
	}
	b.errs = append(b.errs, err)
}

// try notes an error that an operation on the draft returned.
func (b *builder) try(err error) {
	if err != nil {
		b.fail("%w", err)
	}
}

func (b *builder) notice(format string, args ...any) {
	b.notices = append(b.notices, fmt.Sprintf(format, args...))
}

// text returns a file of the root partition, "" if there is none.
func (b *builder) text(name string) string { return b.read(plan.Root, name) }

func (b *builder) read(p plan.Partition, name string) string {
	content, err := b.d.read(p, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.try(err)
	}
	return string(content)
}

func (b *builder) exists(name string) bool { return b.d.exists(plan.Root, name) }

// write makes a file of the root partition that belongs to root.
func (b *builder) write(name, content string, mode fs.FileMode, why string) {
	b.try(b.d.put(plan.Edit{
		Partition: plan.Root, Path: name, Op: plan.Write, Mode: mode, Content: []byte(content), Why: why,
	}))
}

// rewrite changes the content of a file: links are followed, mode and owner of a
// file that is there stay, a new one gets those given. A file that holds the
// content already is left alone.
func (b *builder) rewrite(e plan.Edit) {
	canon, at, err := b.d.resolve(e.Partition, e.Path, true)
	if err != nil {
		b.try(err)
		return
	}
	e.Path, e.Op = canon, plan.Write
	switch {
	case at.kind == isFile && at.edit != nil:
		e.Mode, e.UID, e.GID = at.edit.Mode, at.edit.UID, at.edit.GID
		e.Secret = e.Secret || at.edit.Secret
	case at.kind == isFile:
		e.Mode = at.info.Mode() &^ fs.ModeType
		if uid, gid, ok := plan.Owner(at.info); ok {
			e.UID, e.GID = uid, gid
		}
		if old, err := b.d.read(e.Partition, canon); err == nil && bytes.Equal(old, e.Content) {
			return
		}
	case at.kind != isNothing:
		b.fail("%s partition: /%s is no file in the image", e.Partition, canon)
		return
	}
	b.try(b.d.put(e))
}

// edit is rewrite for files of the root partition that are 0644 if new.
func (b *builder) edit(name, content, why string) {
	b.rewrite(plan.Edit{Partition: plan.Root, Path: name, Mode: 0o644, Content: []byte(content), Why: why})
}

func (b *builder) mkdir(name string, mode fs.FileMode, uid, gid int, why string) {
	b.try(b.d.put(plan.Edit{
		Partition: plan.Root, Path: name, Op: plan.Mkdir, Mode: mode, UID: uid, GID: gid, Why: why,
	}))
}

func (b *builder) link(name, target, why string) {
	b.try(b.d.put(plan.Edit{Partition: plan.Root, Path: name, Op: plan.Symlink, Target: target, Why: why}))
}

// remove removes what is there; no edit is made for what is not.
func (b *builder) remove(name, why string) { b.drop(plan.Root, name, why) }

func (b *builder) drop(p plan.Partition, name, why string) {
	_, err := b.d.drop(p, name, why)
	b.try(err)
}

// unitTarget returns what links to a unit hold: its path in the running system.
func (b *builder) unitTarget(unit string) string {
	if file := b.d.unit(unit); file != "" && !b.facts.MergedUsr {
		return "/" + file
	}
	if b.facts.Release.before(Trixie) {
		return "/lib/systemd/system/" + unit
	}
	return "/usr/lib/systemd/system/" + unit
}

// mask makes sure that a unit is not started, by nothing and nobody: links are
// removed, and presets cannot bring them back.
func (b *builder) mask(unit, why string) {
	for _, l := range b.d.wants(unit) {
		b.remove(l, why)
	}
	b.link(unitDir+"/"+unit, "/dev/null", why)
}

// unmask undoes mask, which an earlier build may have done.
func (b *builder) unmask(unit, why string) bool {
	if !b.d.masked(unit) {
		return false
	}
	b.remove(unitDir+"/"+unit, why)
	return true
}

// Marks around what piimg adds to a file that is not its own.
const (
	blockBegin = "# piimg: begin"
	blockEnd   = "# piimg: end"
)

// withBlock returns text with the lines as a marked block at its end, in place of
// an earlier one; no lines, no block.
func withBlock(text string, lines []string) string {
	if len(lines) == 0 {
		return withText(text, "")
	}
	return withText(text, strings.Join(lines, "\n")+"\n")
}

// withText is withBlock of lines in one piece.
func withText(text, block string) string {
	var s strings.Builder
	var out []string
	inside := false
	for line := range strings.Lines(text) {
		switch strings.TrimSpace(line) {
		case blockBegin:
			inside = true
			// and the empty line that was put before it
			if n := len(out); n > 0 && strings.TrimSpace(out[n-1]) == "" {
				out = out[:n-1]
			}
			continue
		case blockEnd:
			if inside {
				inside = false
				continue
			}
		}
		if !inside {
			out = append(out, line)
		}
	}
	if block == "" {
		return strings.Join(out, "")
	}
	if kept := strings.Join(out, ""); kept != "" {
		s.WriteString(strings.TrimSuffix(kept, "\n") + "\n\n")
	}
	s.WriteString(blockBegin + "\n" + block + blockEnd + "\n")
	return s.String()
}

// lines splits text into its lines, without the ends of lines.
func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// rooted turns an absolute path of the image into one of the partition.
func rooted(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }
