package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/piimg/piimg/imagebuild/artifacts"
)

// image fetches a container image for one architecture, and writes it as docker
// save does. The same image always gives the same bytes.
func (p *puller) image(ctx context.Context, j job) error {
	part := j.parts[0]
	full, err := artifacts.FullName(part.requirement.Name)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(full)
	if err != nil {
		return fmt.Errorf("%s: an image is needed by a tag, as NAME:TAG", part.requirement.Name)
	}
	img, err := p.resolve(ctx, j)
	if err != nil {
		return plain(err)
	}
	digest, err := img.Digest()
	if err != nil {
		return plain(err)
	}
	f, err := p.create(part.rel)
	if err != nil {
		return err
	}
	defer discard(f)
	if err := p.save(ctx, f, tag, img, "fetch "+j.source.Image); err != nil {
		return plain(err)
	}
	l, err := accept(ctx, f, j, part, digest.String())
	if err != nil {
		return err
	}
	return p.publish(f, l)
}

// save writes the image; layers are verified as they come.
func (p *puller) save(ctx context.Context, w io.Writer, tag name.Tag, img v1.Image, step string) error {
	total, err := tarball.CalculateSize(map[name.Reference]v1.Image{tag: img})
	if err != nil {
		return err
	}
	counted := &counter{ctx: ctx, w: w, tell: func(done int64) { p.Progress(step, min(done, total), total) }}
	if err := tarball.Write(tag, img, counted); err != nil {
		return err
	}
	p.Progress(step, total, total)
	return nil
}

// resolve finds the image: by its locked digest, or else by its name.
func (p *puller) resolve(ctx context.Context, j job) (v1.Image, error) {
	ref, err := name.ParseReference(j.source.Image)
	if err != nil {
		return nil, err
	}
	if d := p.lock.Digest(j.source.Image, j.arch); d != "" && !p.Update {
		img, err := remote.Image(ref.Context().Digest(d), p.remote(ctx)...)
		var e *transport.Error
		if errors.As(err, &e) && e.StatusCode == http.StatusNotFound {
			return nil, fmt.Errorf("the registry no longer has the image that %s names, %s; to take what has its name now, run piimg artifacts pull --update", artifacts.LockName, d)
		}
		return img, err
	}
	arch, variant := artifacts.GoArch(j.arch)
	img, err := remote.Image(ref, append(p.remote(ctx), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch, Variant: variant}))...)
	if err != nil && variant != "" && ctx.Err() == nil {
		// Some say arm alone, or have nothing newer than v6.
		img, err = remote.Image(ref, append(p.remote(ctx), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))...)
	}
	return img, err
}

func (p *puller) remote(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(p.client.Transport),
		remote.WithAuth(authn.Anonymous), remote.WithUserAgent("piimg"),
	}
}

// plain leaves out what the errors of registries repeat.
func plain(err error) error {
	var not errNotHTTPS
	if errors.As(err, &not) {
		return not
	}
	var e *url.Error
	if errors.As(err, &e) {
		return fmt.Errorf("%s: %w", e.URL, e.Err)
	}
	return err
}

// counter counts what is written, and ends with its context.
type counter struct {
	ctx  context.Context
	w    io.Writer
	n    int64
	tell func(int64)
}

func (c *counter) Write(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.tell(c.n)
	return n, err
}
