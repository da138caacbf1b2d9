package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// maxText bounds the size of a file of digests, in bytes.
const maxText = 1 << 20

// onlyHTTPS makes requests over https, and refuses all others, whoever asks for
// them: a redirect, or a library that tries http where the host looks local.
type onlyHTTPS struct{ next http.RoundTripper }

// errNotHTTPS is what every request but those over https ends with.
type errNotHTTPS struct{ url *url.URL }

func (e errNotHTTPS) Error() string {
	return fmt.Sprintf("%s://%s is not https: nothing else is accepted", e.url.Scheme, e.url.Host)
}

func (t onlyHTTPS) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" {
		return nil, errNotHTTPS{req.URL}
	}
	return t.next.RoundTrip(req)
}

// secureClient returns a client that speaks https only.
func secureClient(c *http.Client) *http.Client {
	secure := http.Client{}
	if c != nil {
		secure = *c
	}
	if secure.Transport == nil {
		secure.Transport = http.DefaultTransport
	}
	secure.Transport = onlyHTTPS{secure.Transport}
	return &secure
}

// text fetches a small file.
func (p *puller) text(ctx context.Context, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err // it repeats the address
		}
		return "", fmt.Errorf("%s: %w", address, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: the server answers %s", address, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxText))
	if err != nil {
		return "", fmt.Errorf("%s: %w", address, err)
	}
	return string(text), nil
}
