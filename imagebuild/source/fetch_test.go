package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/source/internal/imgtest"
)

// server serves one file, with failures.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	file     []byte
	etag     string
	modified string
	noRange  bool
	status   []int // answered first, one after the other
	cut      []int // bytes after which answers break off, one after the other
	onCut    func()
	requests []string // method, Range and If-Range
}

func newServer(t *testing.T, file []byte) *server {
	s := &server{file: file, etag: `"v1"`}
	s.Server = httptest.NewTLSServer(s)
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+r.Header.Get("Range")+" "+r.Header.Get("If-Range")))
	if len(s.status) > 0 {
		code := s.status[0]
		s.status = s.status[1:]
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(code)
		return
	}
	if s.etag != "" {
		w.Header().Set("ETag", s.etag)
	}
	var modified time.Time
	if s.modified != "" {
		modified, _ = http.ParseTime(s.modified)
	}
	if s.noRange {
		r.Header.Del("Range")
	}
	if len(s.cut) > 0 {
		w = &cutWriter{ResponseWriter: w, left: s.cut[0], onCut: s.onCut}
		s.cut = s.cut[1:]
	}
	http.ServeContent(w, r, "", modified, bytes.NewReader(s.file))
}

// cutWriter breaks the connection off.
type cutWriter struct {
	http.ResponseWriter
	left  int
	onCut func()
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if len(p) >= w.left {
		w.ResponseWriter.Write(p[:w.left])
		w.ResponseWriter.(http.Flusher).Flush()
		if w.onCut != nil {
			w.onCut()
		}
		panic(http.ErrAbortHandler)
	}
	w.left -= len(p)
	return w.ResponseWriter.Write(p)
}

func digest(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

// pauses stands in for sleeping.
type pauses struct{ list []time.Duration }

func (p *pauses) sleep(ctx context.Context, d time.Duration) error {
	p.list = append(p.list, d)
	return ctx.Err()
}

// options returns options to fetch from s.
func (s *server) options(t *testing.T, p *pauses) Options {
	return Options{CacheDir: t.TempDir(), SHA256: digest(s.file), Client: s.Client(), sleep: p.sleep}
}

func mustFetch(t *testing.T, url string, o Options, want []byte) string {
	t.Helper()
	path, err := Fetch(context.Background(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("wrong bytes in %s, %v", path, err)
	}
	for _, name := range leftover(t, o.CacheDir) {
		if strings.Contains(name, ".part") {
			t.Errorf("left behind: %s", name)
		}
	}
	return path
}

func TestFetch(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(2<<20, 1)
	s := newServer(t, img)
	var p pauses
	o := s.options(t, &p)
	var last int64
	o.Progress = func(what string, done, total int64) {
		if what == ProgressDownload {
			if total != int64(len(img)) || done < last {
				t.Errorf("progress %s %d/%d", what, done, total)
			}
			last = done
		}
	}
	path := mustFetch(t, s.URL+"/pub/2024 image.img?sig=secret", o, img)
	if filepath.Base(path) != o.SHA256+"-2024_image.img" || last != int64(len(img)) {
		t.Errorf("path is %s, progress ended at %d", path, last)
	}
	// From the cache, without a request, whatever the address.
	s.Close()
	o.SHA256 = strings.ToUpper(o.SHA256)
	if again := mustFetch(t, "https://other.invalid/x.img", o, img); again != path {
		t.Errorf("path is %s", again)
	}
	if len(s.requests) != 1 {
		t.Errorf("requests: %q", s.requests)
	}
	opened(t, path, Options{SHA256: o.SHA256})
}

func TestFetchResumes(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(1<<20, 2)
	half := len(img) / 2
	for name, c := range map[string]struct {
		set  func(*server)
		want []string
	}{
		"by ETag":                  {func(s *server) {}, []string{"GET", `GET bytes=524288- "v1"`}},
		"by date":                  {func(s *server) { s.etag, s.modified = "", "Tue, 19 Nov 2024 10:00:00 GMT" }, []string{"GET", "GET bytes=524288- Tue, 19 Nov 2024 10:00:00 GMT"}},
		"weak ETag":                {func(s *server) { s.etag, s.modified = `W/"v1"`, "Tue, 19 Nov 2024 10:00:00 GMT" }, []string{"GET", "GET bytes=524288- Tue, 19 Nov 2024 10:00:00 GMT"}},
		"no way to tell":           {func(s *server) { s.etag = "" }, []string{"GET", "GET"}},
		"server without ranges":    {func(s *server) { s.noRange = true }, []string{"GET", `GET bytes=524288- "v1"`}},
		"file changes in between":  {func(s *server) { s.onCut = func() { s.etag = `"v2"` } }, []string{"GET", `GET bytes=524288- "v1"`}},
		"several breaks":           {func(s *server) { s.cut = []int{half, 1000, 2000} }, []string{"GET", `GET bytes=524288- "v1"`, `GET bytes=525288- "v1"`, `GET bytes=527288- "v1"`}},
		"break without a byte":     {func(s *server) { s.cut = []int{half, 1} }, []string{"GET", `GET bytes=524288- "v1"`, `GET bytes=524289- "v1"`}},
		"unavailable for a moment": {func(s *server) { s.cut, s.status = nil, []int{503, 429, 500, 408} }, []string{"GET", "GET", "GET", "GET", "GET"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, img)
			s.cut = []int{half}
			c.set(s)
			var p pauses
			mustFetch(t, s.URL+"/a.img", s.options(t, &p), img)
			if fmt.Sprint(s.requests) != fmt.Sprint(c.want) {
				t.Errorf("requests are %q", s.requests)
			}
		})
	}
}

// TestFetchLater ends a download, and goes on with it in another call.
func TestFetchLater(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(1<<20, 3)
	s := newServer(t, img)
	s.cut = []int{600_000}
	var p pauses
	o := s.options(t, &p)
	ctx, cancel := context.WithCancel(context.Background())
	o.sleep = func(context.Context, time.Duration) error { cancel(); return ctx.Err() }
	if _, err := Fetch(ctx, s.URL+"/a.img", o); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	if len(leftover(t, o.CacheDir)) != 2 {
		t.Errorf("left for later: %q", leftover(t, o.CacheDir))
	}
	mustFetch(t, s.URL+"/a.img", o, img)
	if len(s.requests) != 2 || s.requests[1] != `GET bytes=600000- "v1"` {
		t.Errorf("requests are %q", s.requests)
	}

	// All bytes were there, but the process ended before it was named.
	path := filepath.Join(o.CacheDir, "downloads", o.SHA256+"-a.img")
	part := filepath.Join(o.CacheDir, "downloads", o.SHA256+".part")
	if err := os.Rename(path, part); err != nil {
		t.Fatal(err)
	}
	state := fmt.Sprintf(`{"url":"%s/a.img","etag":"\"v1\""}`, s.URL)
	if err := os.WriteFile(part+".json", []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	mustFetch(t, s.URL+"/a.img", o, img)

	// The part belongs to another address.
	if err := errors.Join(os.Rename(path, part), os.Truncate(part, 100)); err != nil {
		t.Fatal(err)
	}
	mustFetch(t, s.URL+"/b.img", o, img)
}

func TestFetchRefuses(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(300_000, 4)
	s := newServer(t, img)
	var p pauses
	o := s.options(t, &p)
	plain := httptest.NewServer(s)
	t.Cleanup(plain.Close)
	redirects := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := s.URL
		if r.URL.Path == "/plain" {
			to = plain.URL
		}
		if r.URL.Path == "/loop" {
			to = ""
		}
		http.Redirect(w, r, to+"/loop?sig=secret", http.StatusFound)
	}))
	t.Cleanup(redirects.Close)

	fetch := func(url string, o Options) error {
		t.Helper()
		_, err := Fetch(context.Background(), url, o)
		if err == nil {
			t.Fatalf("%s: no error", url)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("a secret in the error: %v", err)
		}
		return err
	}
	expect := func(err error, want string) {
		t.Helper()
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
	expect(fetch(plain.URL+"/a.img", o), "only https")
	expect(fetch("file:///etc/passwd", o), "only https")
	expect(fetch("https://user:secret@/a.img", o), "only https")
	expect(fetch("https://[::1/a.img?sig=secret", o), "address")
	expect(fetch(redirects.URL+"/plain", o), "redirects to http://")
	expect(fetch(redirects.URL+"/loop", o), "redirects")
	unknown := o
	unknown.SHA256 = ""
	expect(fetch(s.URL+"/a.img", unknown), "sha256 of a download must be given")
	unknown.SHA256 = "xyz"
	expect(fetch(s.URL+"/a.img", unknown), "64 hexadecimal digits")
	if len(s.requests) != 0 {
		t.Errorf("requests: %q", s.requests)
	}

	// Not the file that was asked for: nothing is left of it.
	wrong := o
	wrong.SHA256 = strings.Repeat("ab", 32)
	err := fetch(s.URL+"/a.img", wrong)
	var sum *ChecksumError
	if !errors.As(err, &sum) || sum.Got != digest(img) || sum.Want != wrong.SHA256 {
		t.Errorf("error is %v", err)
	}
	if files := leftover(t, o.CacheDir); files != nil {
		t.Errorf("left behind: %q", files)
	}

	s.status = []int{404}
	s.requests = nil
	if err := fetch(s.URL+"/a.img?sig=secret", o); !errors.Is(err, ErrDownload) || len(s.requests) != 1 {
		t.Errorf("error is %v, requests are %q", err, s.requests)
	}

	// A certificate that nobody vouches for.
	strange := o
	strange.Client = nil
	p.list = nil
	if err := fetch(s.URL+"/a.img", strange); !errors.Is(err, ErrDownload) || len(p.list) != 0 {
		t.Errorf("error is %v after %d pauses", err, len(p.list))
	}

	// It does not get better.
	s.status = []int{500, 500, 500, 500, 500, 500, 500}
	p.list = nil
	err = fetch(s.URL+"/a.img", o)
	if !errors.Is(err, ErrDownload) || len(p.list) != maxFailures-1 || p.list[0] != 7*time.Second || p.list[4] != 16*time.Second {
		t.Errorf("error is %v after pauses %v", err, p.list)
	}
	// It always breaks off at the same place.
	s.status, s.noRange = nil, true
	s.cut = []int{5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000}
	if err := fetch(s.URL+"/a.img", o); !errors.Is(err, ErrDownload) {
		t.Errorf("error is %v", err)
	}
}

func TestFetchSpoiltCache(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(300_000, 5)
	s := newServer(t, img)
	var p pauses
	o := s.options(t, &p)
	path := mustFetch(t, s.URL+"/a.img", o, img)
	if err := os.Truncate(path, 1000); err != nil {
		t.Fatal(err)
	}
	var n notices
	o.Notice = n.add
	mustFetch(t, s.URL+"/a.img", o, img)
	if n.count("has changed since it was downloaded") != 1 || len(s.requests) != 2 {
		t.Errorf("notices %q, requests %q", n.text, s.requests)
	}
}

// Whatever cannot be written into the cache folder, the error says what helps.
func TestFetchCacheFailed(t *testing.T) {
	t.Parallel()
	s := newServer(t, testImage)
	sum := digest(testImage)
	for _, name := range []string{sum + ".lock", sum + ".part", sum + ".part.json", "a.img"} {
		o := Options{CacheDir: t.TempDir(), SHA256: sum, Client: s.Client()}
		dir := filepath.Join(o.CacheDir, dirDownloads)
		if name == "a.img" { // a folder whose name would do is none
			name = sum + "-a.img"
			o.Progress = func(what string, _, _ int64) { // once it is known not to be there
				if what == ProgressDownload {
					_ = os.MkdirAll(filepath.Join(dir, name, "in the way"), 0o700)
				}
			}
		} else if err := os.MkdirAll(filepath.Join(dir, name, "in the way"), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := Fetch(t.Context(), s.URL+"/a.img", o)
		if err == nil || !strings.HasPrefix(err.Error(), "cannot ") || strings.Count(err.Error(), "name another cache folder") != 1 {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestFetchOnce(t *testing.T) {
	t.Parallel()
	img := imgtest.Image(2<<20, 6)
	s := newServer(t, img)
	o := s.options(t, &pauses{})
	o.sleep = nil
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if path, err := Fetch(context.Background(), s.URL+"/a.img", o); err != nil || digestOf(path) != o.SHA256 {
				t.Errorf("%s: %v", path, err)
			}
		})
	}
	wg.Wait()
	if len(s.requests) != 1 {
		t.Errorf("requests: %q", s.requests)
	}
}

func digestOf(path string) string {
	p, _ := os.ReadFile(path)
	return digest(p)
}

func TestContentRange(t *testing.T) {
	t.Parallel()
	for h, want := range map[string]string{
		"bytes 5-9/10": "5 10 true", "bytes 5-9/*": "5 -1 true", "bytes */10": "-1 10 true",
		"": "0 0 false", "bytes 5-9": "0 0 false", "lines 5-9/10": "0 0 false", "bytes -5-9/10": "0 0 false", "bytes 5-9/-3": "0 0 false",
	} {
		first, total, ok := contentRange(h)
		if got := fmt.Sprint(first, total, ok); got != want {
			t.Errorf("%q: %s, want %s", h, got, want)
		}
	}
}
