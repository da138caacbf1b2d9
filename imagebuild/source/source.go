// Package source reads base images: disk images as they are published and
// kept, packed or not, from a path or from an https address.
//
// [Open] recognises the packing by content, never by name: raw images, .xz,
// .zip, .gz and .zst. Whatever the packing, an [Image] is read at random with
// ReadAt, or once from end to end with Scan, in bounded memory:
//
//   - A raw image, and one stored without compression in a .zip, is read as it is.
//   - An .xz file of blocks of moderate size, as xz makes with several threads
//     and without filters for machine code, is read through its index: blocks
//     are decoded when something in them is asked for, several at a time, and
//     kept in a cache bounded in bytes. What falls out of it is kept, sparsely,
//     in an unnamed file of the cache folder, so that no block is ever decoded
//     twice for ReadAt.
//   - A .zst file with a seek table at its end, as piimg makes it, is read by that:
//     a frame is decoded when something in it is asked for.
//   - Anything else is unpacked once, sparsely, into the cache folder, and used
//     again by its packed file's SHA-256 from then on. Each megabyte of such a
//     file is verified, when it is first read, against the digests that were
//     taken when it was unpacked: a wrong byte in an image is a machine that
//     doesn't boot, and disks do go bad.
//
// [Fetch] downloads an image into the cache folder. The cache folder holds
//
//	downloads/<sha256>-<name>    files that have been downloaded and verified
//	unpacked/<sha256>.img        images, named by the SHA-256 of the packed file
//	unpacked/<sha256>.json       their sizes and digests
//	packed/<sha256>-1.img.xz     images packed again, in blocks that can be spliced
//
// and beside them .lock and .part files of work that is, or was, under way.
// Everything in it can be removed at any time when piimg does not run; [PruneCache]
// removes what is not in use.
//
// The package knows nothing of what is in an image but that a disk begins with
// a partition table.
package source

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/piimg/piimg/imagebuild/source/xzfile"
)

// Options says how an image is opened or fetched. The zero value is usable.
type Options struct {
	// CacheDir is the folder for what is downloaded or unpacked. It is made
	// when it is needed. Empty means DefaultCacheDir.
	CacheDir string

	// SHA256 is the expected digest of the packed file, 64 hexadecimal digits.
	// Empty means: what a file named like the image with .sha256 behind it
	// says, or unknown. Fetch requires it.
	SHA256 string

	// VerifyLater lets Open return before the digest is known, which is computed
	// meanwhile. Nothing of the image is to be trusted, nor what comes of it to be
	// believed, errors included, until SHA256 has returned without an error.
	VerifyLater bool

	// FileSystems lets Open also take an ext4 file system without a partition
	// table; one of FAT begins as a disk does, and is always taken.
	FileSystems bool

	// Workers is how many blocks may be decoded at once. 0 means as many as
	// there are CPUs. It is lowered to what fits Memory.
	Workers int

	// Memory bounds what decoded blocks and the dictionaries of decoders take,
	// in bytes. 0 means DefaultMemory. Files whose blocks are too large for it
	// are unpacked into the cache folder.
	Memory int64

	// MostMemory, if it is more than Memory, is what files may take whose blocks are too
	// large for that, so that fewer have to be unpacked.
	MostMemory int64

	// Again is what errors tell to do about a damaged image. Empty means to
	// download it again.
	Again string

	// Notice, if set, is told in a sentence what takes long or looks odd.
	Notice func(string)

	// Progress, if set, is called now and then during long work, by one
	// goroutine at a time. What is one of the Progress constants. Done and
	// total are bytes; total is -1 while it is unknown.
	Progress func(what string, done, total int64)

	// Client makes the requests of Fetch. Nil means one that finds its proxy
	// in the environment as net/http does. Its CheckRedirect is not used.
	Client *http.Client

	// sleep waits between attempts; tests replace it.
	sleep func(context.Context, time.Duration) error
}

// DefaultMemory is Options.Memory if that is 0: enough for three workers and
// two blocks of cache with the blocks of 24 MiB that xz -6 makes.
const DefaultMemory = 144 << 20

// What Options.Progress is told of.
const (
	ProgressVerify   = "verify"   // computing the SHA-256 or CRC of a file
	ProgressUnpack   = "unpack"   // unpacking into the cache folder
	ProgressDownload = "download" // downloading
)

// DefaultCacheDir returns the folder used if Options.CacheDir is empty: piimg
// in the user's cache folder (os.UserCacheDir).
func DefaultCacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder: %w; name one", err)
	}
	return filepath.Join(dir, "piimg"), nil
}

// cacheRoot returns the cache folder, which may not be there.
func (o *Options) cacheRoot() (string, error) {
	if o.CacheDir != "" {
		return o.CacheDir, nil
	}
	return DefaultCacheDir()
}

// cacheDir returns the folder sub of the cache folder, which it makes.
func (o *Options) cacheDir(sub string) (string, error) {
	dir, err := o.cacheRoot()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, sub)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot make the cache folder: %w; %s", err, o.otherCache())
	}
	return dir, nil
}

// cacheFailed returns the error for something that cannot be done with the cache folder:
// "unpack into", say. It returns nil for nil.
func (o *Options) cacheFailed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot %s the cache folder: %w; free some space or %s", what, err, o.otherCache())
}

// otherCache says how to have another cache folder: os.UserCacheDir has it from there.
func (o *Options) otherCache() string {
	variable := "XDG_CACHE_HOME"
	switch {
	case o.CacheDir != "":
		return "name another cache folder"
	case runtime.GOOS == "windows":
		variable = "LocalAppData"
	case runtime.GOOS == "darwin":
		variable = "HOME"
	}
	return "name another cache folder with " + variable
}

func (o *Options) notice(format string, args ...any) {
	if o.Notice != nil {
		o.Notice(fmt.Sprintf(format, args...))
	}
}

func (o *Options) progress(what string, done, total int64) {
	if o.Progress != nil {
		o.Progress(what, done, total)
	}
}

// The kinds of packing, by which Packing.Kind names them.
const (
	KindRaw  = "img"
	KindXZ   = "img.xz"
	KindZip  = "zip"
	KindGzip = "img.gz"
	KindZstd = "img.zst"
)

// Packing describes how an image is packed.
type Packing struct {
	Kind       string // one of the Kind constants
	Detail     string // for people: "79 blocks of up to 24 MiB, CRC64"; may be empty
	PackedSize int64  // of the file, in bytes
	Name       string // of the image within a .zip, else empty
	Unpacked   string // path of the copy in the cache folder that is read instead, or empty
}

// A Chunk is a piece of an image: the Len bytes at offset Off.
type Chunk struct {
	Off, Len int64
	Data     []byte // nil means Len zero bytes; else Len bytes, valid until the function that got them returns
}

// content is an image in one way of being read.
type content interface {
	io.ReaderAt // reads that end at the image's end or before, only
	scan(ctx context.Context, fn func(Chunk) error) error
	readOnce(ctx context.Context, p []byte, off int64) (zero bool, err error)
	Close() error
}

// An Image is an opened base image. Its methods may be called by several
// goroutines at once; Close must come last.
type Image struct {
	path    string
	file    *os.File // packed
	size    int64    // unpacked
	packing Packing
	content content
	xz      *xzfile.File
	opts    Options
	was     fs.FileInfo // the packed file when it was opened; nil for those of the cache folder
	// repacked means that the file is a copy that Repack made.
	repacked bool

	want, wantFrom string // the digest that is expected, and the file that says so
	digestMu       sync.Mutex
	digest         *packedSum // nil until it is asked for
}

// Size returns the size of the unpacked image in bytes.
func (m *Image) Size() int64 { return m.size }

// Packing returns how the image is packed.
func (m *Image) Packing() Packing { return m.packing }

// XZ returns the block index of an .xz image that is read through it, and nil
// for all others; its blocks are packed by LZMA2 alone. With Packed it lets callers copy blocks as they are.
func (m *Image) XZ() *xzfile.File { return m.xz }

// Flat returns a file that holds the image, unpacked, and nothing else, or nil if
// there is none. It is a copy's in the cache folder, or the image's own; it must
// only be read, and not after Close.
func (m *Image) Flat() *os.File {
	switch c := m.content.(type) {
	case *rawContent:
		if c.size == m.packing.PackedSize {
			return c.f
		}
	case *cachedContent:
		return c.f
	}
	return nil
}

// Packed returns the bytes of the packed file. It must not be used after Close.
func (m *Image) Packed() *io.SectionReader {
	return io.NewSectionReader(m.file, 0, m.packing.PackedSize)
}

// ReadAt implements io.ReaderAt on the unpacked image.
func (m *Image) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: read at negative offset %d", m.path, off)
	}
	if off >= m.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > m.size-off
	if short {
		p = p[:m.size-off]
	}
	n, err := m.content.ReadAt(p, off)
	if err == io.EOF && n == len(p) {
		err = nil
	}
	switch {
	case err != nil:
		return n, m.fail(err)
	case short:
		return n, io.EOF
	}
	return n, nil
}

// Scan reads the whole image once, in order. It calls fn, one call at a time,
// with chunks of at most a few megabytes that follow on each other and together
// cover the image. Runs of zero bytes come as chunks without data, of any
// length; runs shorter than 64 KiB may come as data.
// Several blocks are decoded at once, ahead of fn, where the packing allows it.
//
// Scan stops at fn's first error and returns it as it is. Fn may use ReadAt; it
// must not call Scan.
func (m *Image) Scan(ctx context.Context, fn func(Chunk) error) error {
	var end int64
	var fnErr error
	err := m.content.scan(ctx, func(c Chunk) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		end = c.Off + c.Len
		fnErr = fn(c)
		return fnErr
	})
	switch {
	case fnErr != nil:
		return fnErr
	case err != nil:
		return m.fail(err)
	case end != m.size:
		return m.fail(fmt.Errorf("scan ended at %d of %d bytes", end, m.size))
	}
	return nil
}

// Unchanged returns an error if the packed file has been written to since it was
// opened. What is written to in the midst of a build may be half the old and half the
// new, and each half sound. Files of the cache folder are locked instead.
func (m *Image) Unchanged() error {
	if m.was == nil {
		return nil
	}
	is, err := m.file.Stat()
	if err != nil {
		return m.fail(err)
	}
	if is.Size() != m.was.Size() || !is.ModTime().Equal(m.was.ModTime()) {
		return &Error{Path: m.path, Detail: "it was written to while it was read", Remedy: "begin again when it is complete"}
	}
	return nil
}

// Close frees what the image holds. The image must not be in use any more.
func (m *Image) Close() error {
	m.stopDigest()
	err := m.content.Close()
	if cerr := m.file.Close(); err == nil {
		err = cerr
	}
	return err
}
