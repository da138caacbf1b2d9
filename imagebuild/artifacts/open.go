package artifacts

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Open reads a folder: it finds out what every file is, and checks it against the
// folder's SHA256SUMS. Only regular files are accepted. All problems are reported
// at once, each with the file's name and what to do about it.
func Open(ctx context.Context, dir string) (*Set, error) {
	s, problems, err := Survey(ctx, dir)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, text := range Texts(s.Dir, problems) {
		errs = append(errs, errors.New(text))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

// Problem is one thing that is wrong with a folder.
type Problem struct {
	Rel  string // of the file, slash-separated; "" for the folder itself
	Text string // what is wrong, and what to do about it
}

// Texts returns the problems of a folder in a line each.
func Texts(dir string, problems []Problem) []string {
	var texts []string
	for _, p := range problems {
		texts = append(texts, fmt.Sprintf("%s: %s", filepath.Join(dir, filepath.FromSlash(p.Rel)), p.Text))
	}
	return texts
}

// Survey is Open for a folder that is not complete, or where something is wrong.
// The Set holds the files that nothing is wrong with; the problems are sorted by
// file. It is an error if there is no such folder: one of [fs.ErrNotExist].
func Survey(ctx context.Context, dir string) (*Set, []Problem, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, nil, err
	}
	defer f.root.Close()
	f.walk()
	f.compare()
	items := f.identify(ctx)
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	f.compareLock(items)
	slices.SortStableFunc(f.problems, func(a, b Problem) int { return cmp.Compare(a.Rel, b.Rel) })
	items = slices.DeleteFunc(items, func(it Item) bool {
		_, listed := f.sums[it.Rel]
		return !listed || slices.ContainsFunc(f.problems, func(p Problem) bool { return p.Rel == it.Rel })
	})
	return &Set{Dir: f.dir, Items: items, Lock: f.lock}, f.problems, nil
}

// folder is a folder that is being read.
type folder struct {
	dir   string // absolute
	root  *os.Root
	files []string // slash-separated, sorted
	sums  Sums
	lock  Lock

	mu       sync.Mutex
	problems []Problem
}

func (f *folder) wrong(rel, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problems = append(f.problems, Problem{rel, fmt.Sprintf(format, args...)})
}

// errNoFolder is the path of a folder that does not exist.
type errNoFolder string

func (e errNoFolder) Error() string {
	return fmt.Sprintf("the folder of artifacts %s does not exist: run piimg artifacts pull", string(e))
}

func (errNoFolder) Unwrap() error { return fs.ErrNotExist }

func openFolder(dir string) (*folder, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoFolder(abs)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the folder of artifacts: %w", err)
	}
	return &folder{dir: abs, root: root}, nil
}

// walk lists the files.
func (f *folder) walk() {
	err := fs.WalkDir(f.root.FS(), ".", func(rel string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			f.wrong(rel, "cannot be read: %v", err)
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
		case rel == "." || rel == SumsName || rel == LockName:
		case strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir():
		case d.Type()&fs.ModeSymlink != 0:
			f.wrong(rel, "is a symbolic link: put the file itself there")
		case !d.Type().IsRegular():
			f.wrong(rel, "is no regular file: remove it")
		default:
			f.files = append(f.files, rel)
		}
		return nil
	})
	if err != nil {
		f.wrong("", "%v", err)
	}
	slices.Sort(f.files)
}

// text reads a regular file of bounded size.
func (f *folder) text(rel string, most int64) ([]byte, error) {
	info, err := f.root.Lstat(rel)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is no regular file")
	}
	file, err := f.root.Open(rel)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("has more than %d bytes", most)
	}
	return text, err
}

// compare holds the list of files against SHA256SUMS.
func (f *folder) compare() {
	text, err := f.text(SumsName, maxSums)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(f.files) == 0:
		f.wrong("", "the folder of artifacts is empty: run piimg artifacts pull")
		return
	case errors.Is(err, fs.ErrNotExist):
		f.wrong(SumsName, "is missing: if you trust the files of the folder, make it there with sha256sum")
		return
	case err != nil:
		f.wrong(SumsName, "%v", err)
		return
	}
	var problems []string
	f.sums, problems = ParseSums(string(text))
	for _, p := range problems {
		f.wrong(SumsName, "%s", p)
	}
	if len(problems) > 0 {
		return
	}
	for _, rel := range f.files {
		if _, ok := f.sums[rel]; !ok {
			f.wrong(rel, "is not in %s: if you trust the file, add what sha256sum says of it; else remove it", SumsName)
		}
	}
	for rel := range f.sums {
		if _, found := slices.BinarySearch(f.files, rel); !found && rel != LockName {
			if _, err := f.root.Lstat(rel); errors.Is(err, fs.ErrNotExist) {
				f.wrong(rel, "is in %s, but not there: run piimg artifacts pull, or put the file back", SumsName)
			}
		}
	}
}

// identify hashes and identifies all files, some at a time.
func (f *folder) identify(ctx context.Context) []Item {
	items := make([]Item, len(f.files))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(len(f.files), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(f.files)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				it, err := f.item(ctx, f.files[i])
				if err != nil && ctx.Err() == nil {
					f.wrong(f.files[i], "%v", err)
				}
				items[i] = it
			}
		})
	}
	wg.Wait()
	return items
}

// item reads one file.
func (f *folder) item(ctx context.Context, rel string) (Item, error) {
	file, err := f.root.Open(rel)
	if err != nil {
		return Item{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Item{}, err
	}
	size, sum, err := hash(ctx, file)
	if err != nil {
		return Item{}, err
	}
	// What is not the file that it should be needs no closer look.
	if want, ok := f.sums[rel]; ok && want != sum {
		return Item{}, fmt.Errorf("is not the file that %s names, but has the sha256 %x: fetch it again", SumsName, sum)
	}
	if size != info.Size() {
		return Item{}, errors.New("changed while it was read")
	}
	it, err := identify(ctx, file, size, rel)
	if err != nil {
		return Item{}, err
	}
	it.Path, it.Rel, it.Size, it.SHA256 = filepath.Join(f.dir, filepath.FromSlash(rel)), rel, size, sum
	return it, nil
}

// hash reads r to its end.
func hash(ctx context.Context, r io.Reader) (size int64, sum [32]byte, err error) {
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return 0, sum, err
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		size += int64(n)
		if err == io.EOF {
			return size, [32]byte(h.Sum(nil)), nil
		}
		if err != nil {
			return 0, sum, err
		}
	}
}

// compareLock takes from artifacts.lock what files do not tell themselves, and
// refuses a file that is not the one that was fetched.
func (f *folder) compareLock(items []Item) {
	text, err := f.text(LockName, maxSums)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		f.lock, err = ParseLock(filepath.Join(f.dir, LockName), text)
	}
	if err != nil {
		f.wrong(LockName, "%v", err)
		return
	}
	for i, it := range items {
		l, ok := f.lock.File(it.Rel)
		switch {
		case !ok || it.Rel == "":
		case l.SHA256 != it.SHA256:
			f.wrong(it.Rel, "is not the file that %s says was fetched from %s: fetch it again by piimg artifacts pull, or remove it from %s", LockName, l.From, LockName)
		case it.Version == "" || it.Kind == Image:
			items[i].Version = l.Version
		}
	}
}
