package source

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// contentRange parses a Content-Range header: "bytes 5-9/10", "bytes 5-9/*" or
// "bytes */10". What isn't stated is -1.
func contentRange(h string) (first, total int64, ok bool) {
	unit, rest, _ := strings.Cut(h, " ")
	span, all, found := strings.Cut(rest, "/")
	if unit != "bytes" || !found {
		return 0, 0, false
	}
	first, total = -1, -1
	var err error
	if all != "*" {
		if total, err = strconv.ParseInt(all, 10, 64); err != nil || total < 0 {
			return 0, 0, false
		}
	}
	if span != "*" {
		from, _, _ := strings.Cut(span, "-")
		if first, err = strconv.ParseInt(from, 10, 64); err != nil || first < 0 {
			return 0, 0, false
		}
	}
	return first, total, true
}

// statusError returns the error for a response that isn't the file.
func (d *download) statusError(resp *http.Response) error {
	err := fmt.Errorf("the server answers %s", resp.Status)
	switch code := resp.StatusCode; {
	case code >= 500 && code != http.StatusNotImplemented, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return &passingError{err: err, after: retryAfter(resp.Header)}
	}
	return &Error{Path: d.name(), Kind: ErrDownload, Err: err, Remedy: "check the address"}
}

// retryAfter returns how long the server asks to wait, if in seconds; a date
// would have to be compared with a clock.
func retryAfter(h http.Header) time.Duration {
	s, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(s) * time.Second
}

// certificateError says whether the server could not prove who it is, which
// trying again doesn't change.
func certificateError(err error) bool {
	var e *tls.CertificateVerificationError
	return errors.As(err, &e)
}
