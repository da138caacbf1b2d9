package imagebuild

import (
	"testing"

	"github.com/piimg/piimg/imagebuild/nodes"
)

// The name of the base image goes into images and manifests: no key to a download does.
func TestImageName(t *testing.T) {
	for _, c := range []struct {
		image nodes.Image
		want  string
	}{
		{nodes.Image{Path: "/images/raspios lite.img.xz"}, "raspios lite.img.xz"},
		{nodes.Image{URL: "https://example.net/raspios.img.xz"}, "raspios.img.xz"},
		{nodes.Image{URL: "https://example.net/raspi%20os.img.xz"}, "raspi%20os.img.xz"},
		{nodes.Image{URL: "https://example.net/a/raspios.img.xz?key=a1b2/c3"}, "raspios.img.xz"},
		{nodes.Image{URL: "https://example.net/download/?key=a1b2"}, "download"},
	} {
		if got := imageName(c.image); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.image, got, c.want)
		}
	}
}
