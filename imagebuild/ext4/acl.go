package ext4

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"slices"
)

// Tags of ACL entries: whom the entry is for. Only entries for a named user or
// group have an id on disk.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20

	aclDiskVersion     = 1
	aclExchangeVersion = 2 // of getxattr(2) and setxattr(2), where every entry has an id
	aclNoID            = 0xFFFFFFFF
)

// acl is a POSIX access control list.
type acl []aclEntry

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

func (e aclEntry) named() bool { return e.tag == aclUser || e.tag == aclGroup }

// parseACL reads an ACL as it is stored.
func (in *inode) parseACL(p []byte) (acl, error) {
	le := binary.LittleEndian
	bad := func(what string) (acl, error) { return nil, corrupt("ACL", in.ino, 0, "%s", what) }
	if len(p) < 4 || le.Uint32(p) != aclDiskVersion {
		return bad("it is of no known version")
	}
	var a acl
	for p = p[4:]; len(p) > 0; {
		if len(p) < 4 {
			return bad("an entry reaches past the end")
		}
		e, n := aclEntry{le.Uint16(p), le.Uint16(p[2:]), aclNoID}, 4
		if e.named() {
			if n = 8; len(p) < n {
				return bad("an entry reaches past the end")
			}
			e.id = le.Uint32(p[4:])
		}
		a, p = append(a, e), p[n:]
	}
	if err := a.check(); err != nil {
		return bad(err.Error())
	}
	return a, nil
}

// disk is the ACL as it is stored.
func (a acl) disk() []byte {
	le := binary.LittleEndian
	p := le.AppendUint32(nil, aclDiskVersion)
	for _, e := range a {
		p = le.AppendUint16(le.AppendUint16(p, e.tag), e.perm)
		if e.named() {
			p = le.AppendUint32(p, e.id)
		}
	}
	return p
}

// parseExchangedACL reads an ACL as setxattr(2) takes it.
func parseExchangedACL(p []byte) (acl, error) {
	le := binary.LittleEndian
	if len(p) < 4 || len(p)%8 != 4 || le.Uint32(p) != aclExchangeVersion {
		return nil, fmt.Errorf("an ACL of %d bytes is not in the form of version %d: %w", len(p), aclExchangeVersion, fs.ErrInvalid)
	}
	var a acl
	for p = p[4:]; len(p) > 0; p = p[8:] {
		e := aclEntry{le.Uint16(p), le.Uint16(p[2:]), le.Uint32(p[4:])}
		if !e.named() {
			e.id = aclNoID
		}
		a = append(a, e)
	}
	if len(a) > 0 {
		if err := a.check(); err != nil {
			return nil, fmt.Errorf("ACL: %w: %w", err, fs.ErrInvalid)
		}
	}
	return a, nil
}

// exchange is the ACL as getxattr(2) returns it.
func (a acl) exchange() []byte {
	le := binary.LittleEndian
	p := le.AppendUint32(nil, aclExchangeVersion)
	for _, e := range a {
		p = le.AppendUint32(le.AppendUint16(le.AppendUint16(p, e.tag), e.perm), e.id)
	}
	return p
}

// check demands what the kernel does: one entry each for owner, group and
// others, in the order of the tags, and a mask if anyone is named.
func (a acl) check() error {
	count := map[uint16]int{}
	for i, e := range a {
		switch e.tag {
		case aclUserObj, aclUser, aclGroupObj, aclGroup, aclMask, aclOther:
		default:
			return fmt.Errorf("entry %d has the unknown tag %#x", i, e.tag)
		}
		if e.perm > 7 {
			return fmt.Errorf("entry %d has the permissions %#o", i, e.perm)
		}
		if e.named() && e.id == aclNoID {
			return fmt.Errorf("entry %d names nobody", i)
		}
		if i > 0 && (e.tag < a[i-1].tag || e.tag == a[i-1].tag && !e.named()) {
			return fmt.Errorf("entry %d is out of order", i)
		}
		count[e.tag]++
	}
	if count[aclUserObj] == 0 || count[aclGroupObj] == 0 || count[aclOther] == 0 {
		return fmt.Errorf("no entry for owner, group or others")
	}
	if count[aclUser]+count[aclGroup] > 0 && count[aclMask] == 0 {
		return fmt.Errorf("somebody is named, but there is no mask")
	}
	return nil
}

// classes returns the entries that the three triples of permission bits speak
// of: owner, mask (or group, where there is no mask), others. a is valid.
func (a acl) classes() [3]*aclEntry {
	var c [3]*aclEntry
	for i := range a {
		switch e := &a[i]; e.tag {
		case aclUserObj:
			c[0] = e
		case aclGroupObj, aclMask: // the mask comes later
			c[1] = e
		case aclOther:
			c[2] = e
		}
	}
	return c
}

// mode is what the permission bits are with the ACL. Its set-id and sticky bits are those of old.
func (a acl) mode(old uint16) uint16 {
	m := old &^ 0o777
	for i, e := range a.classes() {
		m |= e.perm << (6 - 3*i)
	}
	return m
}

// minimal says whether the permission bits alone say what the ACL says.
func (a acl) minimal() bool { return len(a) == 3 }

// setExchangedACL sets an ACL given in the form of setxattr(2); one without entries removes it.
func (in *inode) setExchangedACL(index byte, value []byte) error {
	a, err := parseExchangedACL(value)
	if err != nil {
		return err
	}
	switch {
	case in.isSymlink():
		return fmt.Errorf("a symbolic link has no ACL: %w", fs.ErrInvalid)
	case index == xattrIndexDefaultACL && !in.isDir():
		return fmt.Errorf("a default ACL is for directories only: %w", fs.ErrInvalid)
	}
	return in.setACL(index, a)
}

// setACL sets or removes an ACL, and with an access ACL the permission bits.
func (in *inode) setACL(index byte, a acl) error {
	if index == xattrIndexACL && a != nil {
		in.put16(iMode, a.mode(in.mode()))
		if a.minimal() {
			a = nil
		}
	}
	if a == nil {
		_, err := in.removeXattr(index, "")
		return err
	}
	return in.setXattr(index, "", a.disk())
}

// acl returns the ACL of one kind, nil if the inode has none.
func (in *inode) acl(index byte) (acl, error) {
	list, err := in.xattrs()
	if err != nil {
		return nil, err
	}
	i := findXattr(list, index, "")
	if i < 0 {
		return nil, nil
	}
	value, err := in.xattrValue(list[i])
	if err != nil {
		return nil, err
	}
	return in.parseACL(value)
}

// chmod sets the permission bits, and what an access ACL says of the same three classes.
func (in *inode) chmod(perm uint16) error {
	a, err := in.acl(xattrIndexACL)
	if err != nil {
		return err
	}
	in.put16(iMode, in.mode()&modeType|perm)
	if a == nil {
		return nil
	}
	for i, e := range a.classes() {
		e.perm = perm >> (6 - 3*i) & 7
	}
	return in.setXattr(xattrIndexACL, "", a.disk())
}

// inheritACL gives a new inode what the default ACL of its directory says, cut
// down to the permissions that it was made with.
func (in *inode) inheritACL(dir *inode) error {
	if in.isSymlink() {
		return nil
	}
	a, err := dir.acl(xattrIndexDefaultACL)
	if err != nil || a == nil {
		return err
	}
	if in.isDir() {
		if err := in.setACL(xattrIndexDefaultACL, a); err != nil {
			return err
		}
	}
	a = slices.Clone(a)
	for i, e := range a.classes() {
		e.perm &= in.mode() >> (6 - 3*i) & 7
	}
	return in.setACL(xattrIndexACL, a)
}
