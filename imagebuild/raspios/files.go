package raspios

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
)

// maxInline is how large a file of the host may be to stand in the plan itself;
// larger ones are streamed when the plan is applied.
const maxInline = 1 << 20

// place is where a path of the running system lies.
type place struct {
	partition plan.Partition
	path      string
}

// place finds the partition of a path: what is below the mount point of the boot
// partition is on that, also by way of a link such as /boot/config.txt.
func (b *builder) place(name string) (place, error) {
	name = rooted(name)
	if name == "" || name == "." {
		return place{}, errors.New("is the root of the image; name a file")
	}
	dir, _, err := b.d.resolve(plan.Root, path.Dir(name), true)
	if err != nil {
		return place{}, err
	}
	canon := path.Join(dir, path.Base(name))
	if p, ok := b.onBoot(canon); ok {
		return p, nil
	}
	if full, _, err := b.d.resolve(plan.Root, canon, true); err == nil {
		if p, ok := b.onBoot(full); ok {
			return p, nil
		}
	}
	return place{plan.Root, canon}, nil
}

func (b *builder) onBoot(canon string) (place, bool) {
	if rest, ok := strings.CutPrefix(canon, rooted(b.facts.BootMount)+"/"); ok {
		return place{plan.Boot, rest}, true
	}
	return place{}, false
}

// otherBoot tells the user of a path below the boot partition's mount point of
// another release.
func (b *builder) otherBoot(name string) {
	const old, current = "/boot", "/boot/firmware"
	switch mount := b.facts.BootMount; {
	case mount == current && path.Dir(name) == old:
		if at, err := b.place(name); err == nil && at.partition == plan.Root {
			b.notice("%s is not on the boot partition, which this image has at %s.", name, mount)
		}
	case mount == old && strings.HasPrefix(name, current+"/"):
		b.notice("%s is in a folder firmware of the boot partition, which this image has at %s.", name, mount)
	}
}

// planFiles puts the user's own files into the image.
func (b *builder) planFiles() {
	for _, f := range b.node.Files {
		if err := b.file(f); err != nil {
			b.fail("files: %s: %w", f.Path, err)
		}
	}
}

func (b *builder) file(f nodes.File) error {
	at, err := b.place(f.Path)
	if err != nil {
		return err
	}
	b.otherBoot(f.Path)
	e := plan.Edit{
		Partition: at.partition, Path: at.path, Op: plan.Write, Mode: f.Mode, Content: f.Content, Why: "files",
	}
	if f.Source != "" {
		if e.Content, e.Source, err = b.Shared.load(f.Source, openHost(f.Source)); err != nil {
			return err
		}
	}
	uid, gid, err := b.owner(f.Owner)
	if err != nil {
		return err
	}
	if at.partition == plan.Boot {
		if uid != 0 || gid != 0 || f.Mode != 0 && f.Mode != 0o644 && f.Mode != 0o755 {
			b.notice("%s is on the boot partition, a FAT, which has neither owners nor modes: those given are not used.", f.Path)
		}
		e.Mode = 0
	} else {
		e.UID, e.GID = uid, gid
		e.Secret = f.Mode&0o004 == 0
	}
	return b.putUserFile(e)
}

// putUserFile adds an edit after a look at what is there. Files that not everybody
// may read are taken for secrets by its callers.
func (b *builder) putUserFile(e plan.Edit) error {
	_, at, err := b.d.resolve(e.Partition, e.Path, false)
	if err != nil {
		return err
	}
	switch {
	case at.kind == isDir && e.Op != plan.Mkdir:
		return errors.New("is a folder in the image, which a file cannot replace")
	case at.kind == isSpecial:
		return errors.New("is a special file in the image, which is not replaced")
	}
	return b.d.put(e)
}

// owner looks "user:group" up in the image as it will be. Either may be a number;
// without a group it is the user's own.
func (b *builder) owner(s string) (uid, gid int, err error) {
	if s == "" {
		return 0, 0, nil
	}
	user, group, hasGroup := strings.Cut(s, ":")
	passwd := parseTable(b.text("etc/passwd"), 7)
	if uid, err = strconv.Atoi(user); err == nil {
		if acc, ok := parseAccount(passwd.number(2, uid)); ok {
			gid = acc.gid
		} else if !hasGroup {
			return 0, 0, fmt.Errorf("owner %q: the image has no user with this number; give the group as well, as in %q", s, s+":"+s)
		}
	} else {
		acc, ok := parseAccount(passwd.row(user))
		if !ok {
			return 0, 0, fmt.Errorf("owner %q: the image has no user %q; give a number or a user of its /etc/passwd", s, user)
		}
		uid, gid = acc.uid, acc.gid
	}
	if !hasGroup {
		return uid, gid, nil
	}
	if gid, err = strconv.Atoi(group); err == nil {
		return uid, gid, nil
	}
	row := parseTable(b.text("etc/group"), 4).row(group)
	if row == nil {
		return 0, 0, fmt.Errorf("owner %q: the image has no group %q; give a number or a group of its /etc/group", s, group)
	}
	gid, err = strconv.Atoi(row[2])
	return uid, gid, err
}

func openHost(name string) func() (fs.File, error) {
	return func() (fs.File, error) { return os.Open(name) }
}

// load reads a file of the host, or its size and hash if it is large. name is its
// path on the host.
func load(name string, open func() (fs.File, error)) ([]byte, *plan.Source, error) {
	f, err := open()
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is no regular file", name)
	}
	if info.Size() <= maxInline {
		content, err := io.ReadAll(io.LimitReader(f, maxInline+1))
		if err == nil && len(content) > maxInline {
			err = fmt.Errorf("%s grows while it is read", name)
		}
		if content == nil {
			content = []byte{}
		}
		return content, nil, err
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return nil, nil, err
	}
	return nil, &plan.Source{Path: name, Size: n, SHA256: [32]byte(h.Sum(nil))}, nil
}
