package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Fetch returns the path of the file at an https address, which it downloads
// into the cache folder unless a file with the SHA-256 o.SHA256 is there
// already; in that case no request is made, whatever the address.
//
// A download that breaks off, or is ended by ctx, goes on where it stopped, now
// or at the next call, if the server's file is still the same by its ETag or
// date. Failures that may pass are retried some times, with growing pauses. The
// file gets its name only when its digest is right. Several processes that want
// the same file download it once.
func Fetch(ctx context.Context, rawURL string, o Options) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", errors.New("the image's address is no URL; write https://…") // err has all of it, keys in the query, too
	}
	if err := onlyHTTPS(u); err != nil {
		return "", err
	}
	if o.SHA256 == "" {
		return "", &Error{Path: display(u), Detail: "the sha256 of a download must be given", Remedy: "the publisher of the image states it"}
	}
	sum, err := parseSum(o.SHA256)
	if err != nil {
		return "", &Error{Path: display(u), Detail: "expected sha256", Err: err}
	}
	dir, err := o.cacheDir(dirDownloads)
	if err != nil {
		return "", err
	}
	d := &download{o: &o, url: u, sum: sum, dir: dir, dest: filepath.Join(dir, sum+"-"+fileName(u))}
	if have, err := d.cached(ctx); err != nil || have != "" {
		return have, err
	}
	unlock, err := o.lock(ctx, filepath.Join(dir, sum+".lock"), "downloading "+display(u))
	if err != nil {
		return "", err
	}
	defer unlock()
	if have, err := d.cached(ctx); err != nil || have != "" { // by whoever held the lock
		return have, err
	}
	if err := d.run(ctx); err != nil {
		return "", err
	}
	return d.dest, nil
}

// onlyHTTPS refuses addresses that are not https.
func onlyHTTPS(u *url.URL) error {
	if u.Scheme != "https" || u.Host == "" {
		return &Error{Path: display(u), Detail: "only https addresses are accepted", Remedy: "use one that begins with https://, or download the file and give its path"}
	}
	return nil
}

// display returns an address as it may be shown and stored: without a password,
// and without the query, which may hold a signature.
func display(u *url.URL) string {
	v := *u
	v.RawQuery, v.Fragment, v.RawFragment = "", "", ""
	return v.Redacted()
}

// fileName makes a harmless file name of the last part of the address.
func fileName(u *url.URL) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._-+", r):
			return r
		}
		return '_'
	}, path.Base(u.Path))
	const most = 100
	if len(name) > most {
		name = name[len(name)-most:]
	}
	if name = strings.TrimLeft(name, "."); name == "" || name == "_" {
		return "image"
	}
	return name
}

// download is one file on its way.
type download struct {
	o    *Options
	url  *url.URL
	sum  string
	dir  string
	dest string // of the whole file
}

func (d *download) name() string { return display(d.url) }

// cached returns the path of a verified file with the wanted digest, or "".
func (d *download) cached(ctx context.Context) (string, error) {
	// By the digest alone: the same file may have been had from elsewhere.
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, d.sum+"-") {
			continue
		}
		file := filepath.Join(d.dir, name)
		got, err := d.hash(ctx, file)
		switch {
		case err != nil && ctx.Err() != nil:
			return "", err
		case err == nil && got == d.sum:
			return file, nil
		}
		d.o.notice("%s has changed since it was downloaded; downloading it again", file)
		if err := os.Remove(file); err != nil {
			return "", err
		}
	}
	return "", nil
}

// hash returns the digest of a file.
func (d *download) hash(ctx context.Context, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	return hashFile(ctx, io.NewSectionReader(f, 0, st.Size()), d.o)
}

// part and statePath name the files of a download that isn't complete.
func (d *download) part() string      { return filepath.Join(d.dir, d.sum+".part") }
func (d *download) statePath() string { return filepath.Join(d.dir, d.sum+".part.json") }

// state says what a .part file is a part of.
type state struct {
	URL          string `json:"url"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"lastModified,omitempty"`
}

// validator returns what If-Range takes, or "": a strong ETag, or else a date.
func (s state) validator() string {
	if s.ETag != "" && !strings.HasPrefix(s.ETag, "W/") {
		return s.ETag
	}
	return s.LastModified
}

func (d *download) loadState() (s state) {
	text, err := os.ReadFile(d.statePath())
	if err != nil || json.Unmarshal(text, &s) != nil || s.URL != d.name() {
		return state{}
	}
	return s
}

func (d *download) saveState(s state) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return d.o.cacheFailed("write to", os.WriteFile(d.statePath(), text, 0o600))
}

// Bounds on retrying: so many failures in a row that brought no bytes.
const (
	maxFailures = 6
	firstPause  = time.Second
	maxPause    = 30 * time.Second
	maxAsked    = 2 * time.Minute // longest pause that a server may ask for
	maxStall    = time.Minute     // longest time without a byte
)

// run downloads, verifies and names the file.
func (d *download) run(ctx context.Context) error {
	f, err := os.OpenFile(d.part(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return d.o.cacheFailed("write to", err)
	}
	err = d.transfer(ctx, f)
	if err == nil {
		err = d.o.cacheFailed("write to", f.Sync())
	}
	size, serr := f.Seek(0, io.SeekEnd)
	if cerr := f.Close(); err == nil {
		err = d.o.cacheFailed("write to", cerr)
	}
	if err != nil {
		if size == 0 && serr == nil { // there is nothing to go on with
			os.Remove(d.part())
			os.Remove(d.statePath())
		}
		return err
	}
	got, err := d.hash(ctx, d.part())
	if err != nil {
		return err
	}
	if got != d.sum {
		os.Remove(d.part())
		os.Remove(d.statePath())
		return &ChecksumError{Path: d.name(), Want: d.sum, Got: got, Size: size}
	}
	if err := os.Rename(d.part(), d.dest); err != nil {
		return d.o.cacheFailed("write to", err)
	}
	os.Remove(d.statePath())
	return nil
}

// transfer gets all bytes into f, with as many requests as it takes.
func (d *download) transfer(ctx context.Context, f *os.File) error {
	pause := firstPause
	var best int64
	for failures := 0; ; {
		end, err := d.attempt(ctx, f)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if end > best { // farther than ever: it is worth going on
			best, failures, pause = end, 0, firstPause
		}
		failures++
		var passing *passingError
		if !errors.As(err, &passing) {
			return err
		}
		if failures >= maxFailures {
			return &Error{
				Path: d.name(), Kind: ErrDownload, Err: passing.err,
				Detail: fmt.Sprintf("given up after %d attempts", failures),
				Remedy: "try again later: what has been downloaded is kept, and the download goes on from there",
			}
		}
		wait := max(pause, min(passing.after, maxAsked))
		d.o.notice("download of %s: %v; trying again in %s", d.name(), passing.err, wait)
		if err := d.o.wait(ctx, wait); err != nil {
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

// passingError is a failure that may not happen again.
type passingError struct {
	err   error
	after time.Duration // that the server asks to wait
}

func (e *passingError) Error() string { return e.err.Error() }
func (e *passingError) Unwrap() error { return e.err }

// client returns the client to use, which follows redirects to https only.
func (d *download) client() *http.Client {
	c := http.Client{}
	if d.o.Client != nil {
		c = *d.o.Client
	}
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("too many redirects")
		}
		return onlyHTTPS(req.URL)
	}
	return &c
}

// attempt makes one request for what is missing of f, and returns how many
// bytes f has then, if the request brought any.
func (d *download) attempt(ctx context.Context, f *os.File) (end int64, err error) {
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	st := d.loadState()
	if st.validator() == "" {
		have = 0 // there is no telling whether it belongs to the same file
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(maxStall, func() { cancel(fmt.Errorf("no data for %s", maxStall)) })
	defer stall.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url.String(), nil)
	if err != nil {
		return 0, err
	}
	// A range of the file is wanted, not of something compressed on the way.
	req.Header.Set("Accept-Encoding", "identity")
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
		req.Header.Set("If-Range", st.validator())
	}
	resp, err := d.client().Do(req)
	if err != nil {
		return 0, d.requestError(ctx, err)
	}
	defer resp.Body.Close()

	total := int64(-1)
	switch resp.StatusCode {
	case http.StatusOK:
		have = 0
		total = resp.ContentLength
	case http.StatusPartialContent:
		first, all, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || have == 0 || first != have {
			return 0, d.restart(f, "the server sent another part than was asked for")
		}
		total = all
	case http.StatusRequestedRangeNotSatisfiable:
		if _, all, ok := contentRange(resp.Header.Get("Content-Range")); ok && all == have && have > 0 {
			return 0, nil // all of it is there already
		}
		return 0, d.restart(f, "the server has no such part")
	default:
		return 0, d.statusError(resp)
	}
	if have == 0 {
		if err := f.Truncate(0); err != nil {
			return 0, err
		}
		st := state{URL: d.name(), ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified")}
		if err := d.saveState(st); err != nil {
			return 0, err
		}
	}
	return d.copyBody(ctx, f, resp.Body, have, total, stall)
}

// copyBody appends a response's body to f, which has have bytes of total, and
// returns how many it has then.
func (d *download) copyBody(ctx context.Context, f *os.File, body io.Reader, have, total int64, stall *time.Timer) (end int64, err error) {
	buf := make([]byte, 256<<10)
	for {
		n, rerr := body.Read(buf)
		if n > 0 {
			stall.Reset(maxStall)
			if _, err := f.WriteAt(buf[:n], have); err != nil {
				return have, d.o.cacheFailed("write to", err)
			}
			have += int64(n)
			d.o.progress(ProgressDownload, have, total)
		}
		if rerr == io.EOF && have < total {
			rerr = io.ErrUnexpectedEOF
		}
		switch rerr {
		case nil:
		case io.EOF:
			return have, nil
		default:
			return have, d.requestError(ctx, rerr)
		}
	}
}

// restart empties f, so that the next attempt begins anew.
func (d *download) restart(f *os.File, why string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	return &passingError{err: errors.New(why)}
}

// requestError says whether the error of a request may pass.
func (d *download) requestError(ctx context.Context, err error) error {
	var e *Error
	if errors.As(err, &e) { // from CheckRedirect
		return &Error{Path: d.name(), Kind: ErrDownload, Detail: "it redirects to " + e.Path, Remedy: "only https is accepted"}
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	var ue *url.Error
	if errors.As(err, &ue) { // it repeats the address, with its password
		err = ue.Err
	}
	if certificateError(err) {
		return &Error{Path: d.name(), Kind: ErrDownload, Err: err, Remedy: "check the address and this computer's clock"}
	}
	return &passingError{err: err}
}
