package ext4

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// handle is a file that the session has open.
type handle struct {
	file *File
	th   *thing
	flag int
	pos  int64
}

// session runs operations on a file system and on the model side by side.
type session struct {
	t       *rapid.T
	tb      testing.TB
	img     string
	f       *FS
	m       model
	handles []*handle
	grown   bool
	// large says that files of gigabytes may be made, nearly all holes.
	large bool

	steps, calls, refused, full int
}

func (s *session) open() {
	st, size := storage(s.tb, s.img)
	f, err := Open(st, 0, size, Options{Time: testTime()})
	if err != nil {
		s.t.Fatalf("open: %v", err)
	}
	s.f = f
}

// slack is how many free blocks beyond its content no operation should need:
// for the maps of a file and of a directory, and for the index of the latter.
const slack = 40

// do runs one operation. Where the model expects it to succeed it may still
// fail because the file system is full, if that is true; then, and where it is
// to fail, it must have changed nothing. It says whether the operation took place.
func (s *session) do(what string, content int, apply func(), want error, call func() error) bool {
	before := s.f.Info()
	err := call()
	s.calls++
	if err == nil && want == nil {
		apply()
		return true
	}
	after := s.f.Info()
	free := int64(before.FreeBlocks) - int64(before.Reserved)
	need := 2*int64(content)/int64(before.BlockSize) + slack
	switch {
	case errors.Is(err, ErrNoSpace) && free < need, errors.Is(err, ErrNoInodes) && before.FreeInodes == 0:
		s.full++
	case !matches(err, want):
		s.t.Fatalf("%s: %v, want %v (%d blocks and %d inodes were free)", what, err, want, free, before.FreeInodes)
	default:
		s.refused++
	}
	if before.FreeBlocks != after.FreeBlocks || before.FreeInodes != after.FreeInodes {
		s.t.Fatalf("%s failed (%v), and %d blocks and %d inodes are free, before %d and %d",
			what, err, after.FreeBlocks, after.FreeInodes, before.FreeBlocks, before.FreeInodes)
	}
	if n := s.full + s.refused; n < 10 || n%10 == 0 { // it takes time
		if bad := s.m.compare(s.f, s.f.sb.inodeSize); bad != nil {
			s.t.Fatalf("after %s failed (%v): %v", what, err, bad)
		}
	}
	return false
}

func matches(err, want error) bool {
	var unsupported *UnsupportedError
	if errors.As(want, &unsupported) {
		return errors.As(err, &unsupported)
	}
	return want != nil && errors.Is(err, want)
}

func (s *session) number(label string, lo, hi int) int {
	return rapid.IntRange(lo, hi).Draw(s.t, label)
}

func (s *session) oneIn(n int, label string) bool { return s.number(label, 1, n) == 1 }

// pick is the name of something that there is, or "".
func (s *session) pick(label string, want func(*thing) bool) string {
	var names []string
	for n, th := range s.m {
		if want == nil || want(th) {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return rapid.SampledFrom(names).Draw(s.t, label)
}

// newName is a name that mostly does not exist yet, in a directory that mostly does.
func (s *session) newName() string {
	dir := s.pick("dir", (*thing).isDir)
	if s.oneIn(30, "astray") {
		dir = path.Join(s.pick("no dir", nil), "x")
	}
	base := rapid.OneOf(
		rapid.StringMatching(`[a-z]{1,12}`),
		rapid.SampledFrom([]string{
			strings.Repeat("n", 255), strings.Repeat("m", 256), strings.Repeat("ü", 100), "\xff\xfe\x80name", "ein Ding.conf", "a",
		}),
		rapid.StringMatching(`[a-zé]{100,120}`),
	).Draw(s.t, "base")
	return path.Join(dir, base)
}

// anyName is a name that exists, or a new one.
func (s *session) anyName(want func(*thing) bool) string {
	if n := s.pick("name", want); n != "" && !s.oneIn(3, "new") {
		return n
	}
	return s.newName()
}

func (s *session) content() []byte {
	n := rapid.OneOf(rapid.IntRange(0, 5000), rapid.IntRange(0, 200), rapid.IntRange(0, 150000)).Draw(s.t, "size")
	return noise(n, rapid.Uint32().Draw(s.t, "seed"))
}

// offset is where in a file of the given size something happens: in it, at
// its end, or far behind that.
func (s *session) offset(size int64) int64 {
	if s.large && s.oneIn(8, "far") {
		return rapid.SampledFrom([]int64{
			1<<31 - 5, 1 << 31, 1<<32 - 1, 1 << 32, 5<<30 + 123, 7 << 30,
		}).Draw(s.t, "far offset")
	}
	return rapid.OneOf(
		rapid.Int64Range(0, 300000), rapid.Int64Range(0, max(0, min(size, 1<<20))), rapid.Just(min(size, 1<<20)),
		rapid.SampledFrom([]int64{12 << 10, 268 << 10, 48 << 10, 64 << 10, 128 << 10, 1 << 20}),
	).Draw(s.t, "offset")
}

// put replaces a file's content, or makes it.
func (s *session) put() {
	name := s.anyName((*thing).isFile)
	if h := s.openFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC); h != nil {
		s.write(h)
		s.close(len(s.handles) - 1)
	}
}

func (s *session) openFile(name string, flag int) *handle {
	create, writing := flag&os.O_CREATE != 0, flag&(os.O_WRONLY|os.O_RDWR) != 0
	var apply func()
	var want error
	if writing {
		apply, want = s.m.openForWriting(name, create, flag&os.O_TRUNC != 0)
	} else {
		apply, want = s.m.alter(name, true, func(*thing) {})
	}
	var file *File
	if !s.do(fmt.Sprintf("open %q with flags %#x", name, flag), 0, apply, want, func() error {
		opened, err := s.f.OpenFile(name, flag)
		if err == nil {
			file = opened.(*File)
		}
		return err
	}) {
		return nil
	}
	h := &handle{file: file, th: s.m[name], flag: flag}
	s.handles = append(s.handles, h)
	return h
}

// reopenFile opens a file to be used by later operations.
func (s *session) openLater() {
	name := s.pick("file", (*thing).isFile)
	if name == "" || len(s.handles) > 8 {
		return
	}
	s.openFile(name, rapid.SampledFrom([]int{
		os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_TRUNC, os.O_RDWR | os.O_CREATE,
	}).Draw(s.t, "flags"))
}

// use does something to a file that is open.
func (s *session) use() {
	if len(s.handles) == 0 {
		return
	}
	i := s.number("handle", 0, len(s.handles)-1)
	h := s.handles[i]
	switch s.number("use", 0, 6) {
	case 0:
		s.close(i)
	case 1, 2:
		s.truncate(h)
	case 3:
		s.read(h)
	case 4:
		s.write(h)
	default:
		s.writeAt(h)
	}
}

func (s *session) close(i int) {
	h := s.handles[i]
	s.handles = slices.Delete(s.handles, i, i+1)
	s.calls++
	if err := h.file.Close(); err != nil {
		s.t.Fatalf("close: %v", err)
	}
}

// usable says what to expect of an operation on a file that is open.
func (h *handle) usable(writing bool) error {
	mode := h.flag & (os.O_WRONLY | os.O_RDWR)
	switch {
	case h.th.names == 0:
		return errRemoved
	case writing && mode == os.O_RDONLY:
		return errNotWritable
	case !writing && mode == os.O_WRONLY:
		return errNotReadable
	}
	return nil
}

func (s *session) write(h *handle) {
	p := s.content()
	if h.flag&os.O_APPEND != 0 && h.th.names > 0 {
		h.pos = h.th.content.size
	}
	apply := func() {
		if len(p) > 0 {
			h.th.content.writeAt(p, h.pos)
			h.th.mtime = testTime()
		}
		h.pos += int64(len(p))
	}
	s.do(fmt.Sprintf("write %d bytes at %d", len(p), h.pos), len(p), apply, h.usable(true), func() error {
		_, err := h.file.Write(p)
		return err
	})
}

func (s *session) writeAt(h *handle) {
	p, off := s.content(), s.offset(h.th.content.size)
	want := h.usable(true)
	if want == nil && s.oneIn(40, "too far") && len(p) > 0 {
		off, want = 1<<55, errFileTooBig
	}
	apply := func() {
		if len(p) > 0 {
			h.th.content.writeAt(p, off)
			h.th.mtime = testTime()
		}
	}
	s.do(fmt.Sprintf("write %d bytes at %d", len(p), off), len(p), apply, want, func() error {
		_, err := h.file.WriteAt(p, off)
		return err
	})
}

func (s *session) truncate(h *handle) {
	size := s.offset(h.th.content.size)
	apply := func() {
		h.th.content.truncate(size)
		h.th.mtime = testTime()
	}
	s.do(fmt.Sprintf("truncate to %d", size), 0, apply, h.usable(true), func() error { return h.file.Truncate(size) })
}

func (s *session) read(h *handle) {
	want := h.usable(false)
	p := make([]byte, s.number("length", 1, 20000))
	off := s.offset(h.th.content.size)
	n, err := h.file.ReadAt(p, off)
	s.calls++
	if want != nil {
		if !errors.Is(err, want) {
			s.t.Fatalf("read: %v, want %v", err, want)
		}
		return
	}
	part := make([]byte, min(int64(len(p)), max(0, h.th.content.size-off)))
	h.th.content.readAt(part, off)
	if string(part) != string(p[:n]) || err != nil && err != io.EOF {
		s.t.Fatalf("read %d bytes at %d of %d: %d, %v, want %d", len(p), off, h.th.content.size, n, err, len(part))
	}
}

func (s *session) mkdir() {
	name := s.newName()
	apply, want := s.m.create(name, newThing(fs.ModeDir|0o755))
	s.do(fmt.Sprintf("mkdir %q", name), 0, apply, want, func() error { return s.f.Mkdir(name) })
}

func (s *session) symlink() {
	name := s.newName()
	limit := min(s.f.sb.blockSize, 4096)
	n := rapid.SampledFrom([]int{9, 58, 59, 60, 61, 500, limit - 1, limit}).Draw(s.t, "length")
	th := newThing(fs.ModeSymlink | 0o777)
	th.target = "/nowhere/" + strings.Repeat("x", n-9)
	apply, want := s.m.create(name, th)
	if want == nil && n == limit {
		want = fs.ErrInvalid
	}
	s.do(fmt.Sprintf("symlink %q of %d bytes", name, n), 0, apply, want, func() error { return s.f.Symlink(th.target, name) })
}

func (s *session) mknod() {
	name := s.newName()
	kind := s.number("kind", 0, 4)
	mode := []uint16{modeBlock, modeChar, modeFIFO, modeSocket, modeRegular}[kind] | 0o640
	dev := rapid.SampledFrom([]uint64{0x103, makedev(8, 300), makedev(300, 5), makedev(0xFFF, 0xFFFFF)}).Draw(s.t, "dev")
	th := newThing(goMode(mode))
	if kind < 2 {
		th.rdev = dev
	}
	apply, want := s.m.create(name, th)
	s.do(fmt.Sprintf("mknod %q", name), 0, apply, want, func() error { return s.f.Mknod(name, uint32(mode), int(dev)) })
}

func (s *session) remove() {
	name := s.anyName(nil)
	if name == "lost+found" {
		return
	}
	apply, want := s.m.remove(name)
	s.do(fmt.Sprintf("remove %q", name), 0, apply, want, func() error { return s.f.Remove(name) })
}

func (s *session) rename() {
	from, to := s.anyName(nil), s.newName()
	if rapid.Bool().Draw(s.t, "replace") {
		to = s.anyName(nil)
	}
	if from == "lost+found" || to == "lost+found" {
		return
	}
	apply, want := s.m.rename(from, to)
	s.do(fmt.Sprintf("rename %q to %q", from, to), 0, apply, want, func() error { return s.f.Rename(from, to) })
}

func (s *session) link() {
	from, to := s.anyName(func(t *thing) bool { return !t.isDir() }), s.newName()
	apply, want := s.m.link(from, to)
	s.do(fmt.Sprintf("link %q to %q", to, from), 0, apply, want, func() error { return s.f.Link(from, to) })
}

func (s *session) chmod() {
	name := s.anyName(nil)
	mode := fs.FileMode(s.number("mode", 0, 0o777))
	for _, b := range []fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky} {
		if s.oneIn(4, "special") {
			mode |= b
		}
	}
	apply, want := s.m.alter(name, true, func(t *thing) { t.mode = t.mode.Type() | mode })
	s.do(fmt.Sprintf("chmod %q", name), 0, apply, want, func() error { return s.f.Chmod(name, mode) })
}

func (s *session) chown() {
	name := s.anyName(nil)
	uid, gid := s.number("uid", -1, 100000), s.number("gid", -1, 100000)
	apply, want := s.m.alter(name, false, func(t *thing) {
		if uid >= 0 {
			t.uid = uid
		}
		if gid >= 0 {
			t.gid = gid
		}
	})
	s.do(fmt.Sprintf("lchown %q", name), 0, apply, want, func() error { return s.f.Lchown(name, uid, gid) })
}

func (s *session) chtimes() {
	name := s.anyName(nil)
	moment := func(label string) time.Time {
		return time.Unix(rapid.Int64Range(-1<<31, 1<<31-1).Draw(s.t, label), rapid.Int64Range(0, 1e9-1).Draw(s.t, "ns")).UTC()
	}
	atime, mtime := moment("atime"), moment("mtime")
	apply, want := s.m.alter(name, false, func(t *thing) { t.atime, t.mtime = atime, mtime })
	s.do(fmt.Sprintf("lchtimes %q", name), 0, apply, want, func() error { return s.f.Lchtimes(name, time.Time{}, atime, mtime) })
}

// capability is cap_net_raw, as setcap(8) writes it: the kernel looks into this attribute.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func (s *session) setxattr() {
	name := s.anyName(nil)
	attr := rapid.SampledFrom([]string{"user.a", "user." + strings.Repeat("n", 100), "trusted.t", "security.capability"}).Draw(s.t, "attr")
	// All the attributes of a file fit into one block, but for those that fit nowhere.
	room := s.f.sb.blockSize
	n := rapid.SampledFrom([]int{0, 1, 3, 4, 20, 60, 100, room / 6, room / 4, room + s.f.sb.inodeSize}).Draw(s.t, "length")
	value := string(noise(n, 5))
	if attr == "security.capability" {
		value = capability
	}
	apply, want := s.m.setxattr(name, attr, value, room)
	s.do(fmt.Sprintf("setxattr %q %q of %d bytes", name, attr, len(value)), 0, apply, want, func() error {
		return s.f.Lsetxattr(name, attr, []byte(value))
	})
}

func (s *session) removexattr() {
	name := s.anyName(func(t *thing) bool { return len(t.xattrs) > 0 })
	attr := "user.none"
	if th := s.m[name]; th != nil && len(th.xattrs) > 0 {
		attr = rapid.SampledFrom(slices.Sorted(maps.Keys(th.xattrs))).Draw(s.t, "attr")
	}
	apply, want := s.m.removexattr(name, attr)
	s.do(fmt.Sprintf("removexattr %q %q", name, attr), 0, apply, want, func() error { return s.f.Lremovexattr(name, attr) })
}

// crowd adds and removes many entries of one directory, so that indexes come
// about and grow: symbolic links, or names of one file, which take no inodes.
func (s *session) crowd() {
	dir := s.pick("dir", (*thing).isDir)
	file := s.pick("file", (*thing).isFile)
	links := file != "" && rapid.Bool().Draw(s.t, "links")
	count := s.number("count", 1, 120)
	if links && s.oneIn(6, "many") {
		count *= 6
	}
	pad := strings.Repeat("p", s.number("pad", 0, 200))
	start := s.number("start", 0, 1000)
	for i := range count {
		name := path.Join(dir, fmt.Sprintf("%d-%s", start+i, pad))
		done := false
		if links {
			apply, want := s.m.link(file, name)
			done = s.do(fmt.Sprintf("link %q", name), 0, apply, want, func() error { return s.f.Link(file, name) })
		} else {
			th := newThing(fs.ModeSymlink | 0o777)
			th.target = "nowhere/t"
			apply, want := s.m.create(name, th)
			done = s.do(fmt.Sprintf("symlink %q", name), 0, apply, want, func() error { return s.f.Symlink(th.target, name) })
		}
		if !done {
			break
		}
	}
	kids := s.m.children(dir)
	for i := range s.number("removed", 0, len(kids)) {
		if name := kids[i]; !s.m[name].isDir() && i%3 != 0 {
			apply, want := s.m.remove(name)
			s.do(fmt.Sprintf("remove %q", name), 0, apply, want, func() error { return s.f.Remove(name) })
		}
	}
}

// fill leaves only a few blocks free.
func (s *session) fill() {
	info := s.f.Info()
	room := int64(info.FreeBlocks) - int64(info.Reserved) - int64(s.number("left", 0, 60))
	name := s.pick("file", (*thing).isFile)
	if room <= 0 || room*int64(info.BlockSize) > 12<<20 || name == "" || s.m[name].content.size > 1<<30 {
		return
	}
	h := s.openFile(name, os.O_RDWR|os.O_APPEND)
	for size := room * int64(info.BlockSize); size > 0 && h != nil; size -= writeChunk {
		p := noise(int(min(size, writeChunk)), 7)
		apply := func() {
			h.th.content.writeAt(p, h.th.content.size)
			h.th.mtime = testTime()
		}
		s.do(fmt.Sprintf("fill %q with %d bytes", name, len(p)), len(p), apply, nil, func() error {
			_, err := h.file.Write(p)
			return err
		})
	}
	if h != nil {
		s.close(len(s.handles) - 1)
	}
}

// grow enlarges the image and the file system in it, once.
func (s *session) grow() {
	if s.grown {
		return
	}
	s.grown = true
	s.reopen()
	fi, err := os.Stat(s.img)
	if err != nil {
		s.t.Fatal(err)
	}
	room := fi.Size() * 4
	size := fi.Size() + rapid.Int64Range(0, room-fi.Size()).Draw(s.t, "more")
	s.calls++
	if err := s.f.Close(); err != nil {
		s.t.Fatalf("close before growing: %v", err)
	}
	if err := os.Truncate(s.img, room); err != nil {
		s.t.Fatal(err)
	}
	s.open()
	if err := s.f.Grow(size); err != nil {
		s.t.Fatalf("grow from %d to %d bytes: %v", fi.Size(), size, err)
	}
}

// identify gives the file system another name, and another UUID.
func (s *session) identify() {
	label := rapid.StringMatching(`[a-z]{0,16}`).Draw(s.t, "label")
	s.do(fmt.Sprintf("label %q", label), 0, func() {}, nil, func() error { return s.f.SetLabel(label) })
	if got := s.f.Label(); got != label {
		s.t.Fatalf("label is %q, want %q", got, label)
	}
	uuid := [16]byte(noise(16, rapid.Uint32().Draw(s.t, "uuid")))
	var want error
	if s.f.sb.hasIncompat(incompatEAInode) && !s.f.sb.metadataCsum() {
		want = &UnsupportedError{}
	}
	s.do("set the UUID", 0, func() {}, want, func() error { return s.f.SetUUID(uuid) })
}

func (s *session) sync() {
	s.calls++
	if err := s.f.Sync(); err != nil {
		s.t.Fatalf("sync: %v", err)
	}
}

// reopen closes the file system, before or after the files that are open.
func (s *session) reopen() {
	if rapid.Bool().Draw(s.t, "files first") {
		for len(s.handles) > 0 {
			s.close(len(s.handles) - 1)
		}
	}
	s.calls++
	if err := s.f.Close(); err != nil {
		s.t.Fatalf("close the file system: %v", err)
	}
	for _, h := range s.handles {
		if _, err := h.file.WriteAt([]byte("x"), 0); !errors.Is(err, errClosed) {
			s.t.Fatalf("write to a file of a closed file system: %v", err)
		}
	}
	s.handles = nil
	s.open()
}
