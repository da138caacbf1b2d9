// Package pull fetches what nodes need into their folder of artifacts, and locks
// it: programs and CNI plugins from the publishers' releases, container images
// from registries. Debian packages are left to apt, which knows what else they need.
//
// Only https is spoken, also where a server redirects to. A download is accepted
// if it has the SHA-256 that artifacts.lock names; what is not locked yet must have
// the one that its publisher states beside it, and is locked then. Every file is
// looked into before it gets its name: a program of another architecture or
// version, or an archive without the image, is refused.
//
// Files appear complete or not at all. artifacts.lock is written before the file,
// and SHA256SUMS after it, so that a pull that was cut off anywhere can be run
// again, and goes on where it was.
package pull

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/hostfile"
	"github.com/piimg/piimg/imagebuild/sink"
)

// Options says what to pull, and how.
type Options struct {
	Dir          string                  // the folder of artifacts, made if there is none
	Requirements []artifacts.Requirement // of all nodes
	Installed    map[string]string       // packages of the base image, see [artifacts.Set.On]
	Binaries     string                  // a mirror of programs, see [artifacts.SourceOf]
	Update       bool                    // lock anew what is fetched, whatever artifacts.lock says
	CacheDir     string                  // of downloads; default: the user's cache folder
	Client       *http.Client            // default: one with the environment's proxy
	// Notice is told what takes long, one sentence at a time. It may be nil.
	Notice func(string)
	// Progress is told how far a step has come, in bytes. It may be nil.
	Progress func(step string, done, total int64)
}

// Result says what a pull did.
type Result struct {
	Fetched []artifacts.Locked      // in the order of the requirements
	Kept    int                     // requirements that were met before
	Missing []artifacts.Requirement // what is not fetched by piimg, and not there
}

// Run pulls what is missing. What could be fetched stays, even if something else
// could not; the error then names all of that.
func Run(ctx context.Context, o Options) (_ *Result, err error) {
	p := &puller{Options: o, client: secureClient(o.Client)}
	if p.Notice == nil {
		p.Notice = func(string) {}
	}
	if p.Progress == nil {
		p.Progress = func(string, int64, int64) {}
	}
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.end()) }()

	var errs []error
	for _, j := range p.jobs() {
		if err := p.do(ctx, j); err != nil {
			switch {
			case ctx.Err() != nil:
				return nil, ctx.Err()
			case j.optional():
				p.Notice(fmt.Sprintf("%v; the nodes can do without it", err))
			default:
				errs = append(errs, err)
			}
		}
	}
	return &p.result, errors.Join(errs...)
}

// puller is a pull under way.
type puller struct {
	Options
	client *http.Client
	set    *artifacts.Set // what was there
	locked *os.File
	lock   artifacts.Lock
	sums   artifacts.Sums
	result Result
}

// job is what one source gives: one file, or several of an archive.
type job struct {
	source artifacts.Source // without Member
	arch   string
	parts  []part
}

type part struct {
	requirement artifacts.Requirement
	member      string
	rel         string // where the file goes
}

// optional reports whether the nodes can do without all that the source gives.
func (j job) optional() bool {
	return !slices.ContainsFunc(j.parts, func(p part) bool { return !p.requirement.Optional })
}

const (
	lockFileName = ".piimg.lock"
	partPattern  = ".piimg-*.part" // that of package sink, whose RemoveStale finds them
)

// begin locks the folder against other pulls, and reads what is there.
func (p *puller) begin(ctx context.Context) (err error) {
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return fmt.Errorf("failed to make the folder of artifacts: %w", err)
	}
	p.locked, err = os.OpenFile(filepath.Join(p.Dir, lockFileName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("failed to lock the folder of artifacts: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.end())
		}
	}()
	ok, err := hostfile.TryLock(p.locked)
	if err != nil {
		return fmt.Errorf("failed to lock %s: %w", p.Dir, err)
	}
	if !ok {
		return fmt.Errorf("another piimg artifacts pull is at work in %s: wait for it", p.Dir)
	}
	for _, sub := range []string{"", "bin", "cni", "images"} {
		if err := sink.RemoveStale(filepath.Join(p.Dir, sub)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := p.readLists(); err != nil {
		return err
	}
	set, _, err := artifacts.Survey(ctx, p.Dir)
	if err != nil {
		return err
	}
	p.set = set.On(p.Installed)
	return nil
}

// end unlocks the folder.
func (p *puller) end() error { return errors.Join(hostfile.Unlock(p.locked), p.locked.Close()) }

// readLists reads artifacts.lock and SHA256SUMS. A file that is locked but not
// listed was cut off between the two, and is listed now; Survey holds it against
// its digest.
func (p *puller) readLists() error {
	name := filepath.Join(p.Dir, artifacts.LockName)
	text, err := os.ReadFile(name)
	if err == nil {
		p.lock, err = artifacts.ParseLock(name, text)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	name = filepath.Join(p.Dir, artifacts.SumsName)
	text, err = os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var problems []string
	p.sums, problems = artifacts.ParseSums(string(text))
	var errs []error
	for _, problem := range problems {
		errs = append(errs, fmt.Errorf("%s: %s", name, problem))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	changed := false
	for _, l := range p.lock.Files {
		_, listed := p.sums[l.Rel]
		if _, err := os.Lstat(p.path(l.Rel)); err == nil && !listed {
			p.sums[l.Rel], changed = l.SHA256, true
		}
	}
	if changed {
		return p.writeSums()
	}
	return nil
}

func (p *puller) path(rel string) string { return filepath.Join(p.Dir, filepath.FromSlash(rel)) }

func (p *puller) writeSums() error {
	return sink.WriteFile(p.path(artifacts.SumsName), p.sums.Format(), 0o644)
}

// jobs returns what is to be fetched: one job for each source.
func (p *puller) jobs() []job {
	var jobs []job
	var seen []string
	for _, r := range p.Requirements {
		if key := string(r.Kind) + " " + r.String(); slices.Contains(seen, key) {
			continue
		} else {
			seen = append(seen, key)
		}
		source, ok := artifacts.SourceOf(r, p.Binaries)
		if it, met := p.set.Meeting(r); met {
			if _, ours := p.lock.File(it.Rel); !p.Update || !ok || !ours {
				p.result.Kept++
				continue
			}
		} else if p.set.OnBase(r) {
			p.result.Kept++
			continue
		}
		if !ok {
			if !r.Optional {
				p.result.Missing = append(p.result.Missing, r)
			}
			continue
		}
		part := part{requirement: r, member: source.Member, rel: place(r, source)}
		source.Member = ""
		i := slices.IndexFunc(jobs, func(j job) bool { return j.source == source && j.arch == r.Arch })
		if i < 0 || source.Image != "" {
			jobs = append(jobs, job{source: source, arch: r.Arch})
			i = len(jobs) - 1
		}
		jobs[i].parts = append(jobs[i].parts, part)
	}
	return jobs
}

func (p *puller) do(ctx context.Context, j job) error {
	for _, part := range j.parts {
		if err := p.mayReplace(part.rel); err != nil {
			return err
		}
	}
	var err error
	if j.source.Image != "" {
		err = p.image(ctx, j)
	} else {
		err = p.download(ctx, j)
	}
	if err != nil {
		return fmt.Errorf("failed to fetch %s: %w", j.source, err)
	}
	return nil
}

// mayReplace refuses to replace a file that piimg did not fetch.
func (p *puller) mayReplace(rel string) error {
	_, err := os.Lstat(p.path(rel))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, ours := p.lock.File(rel); !ours {
		return fmt.Errorf("%s is not what is needed, but was not fetched by piimg, which does not replace it: remove it, and its line in %s", p.path(rel), artifacts.SumsName)
	}
	return nil
}
