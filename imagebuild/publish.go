package imagebuild

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"

	"github.com/piimg/piimg/imagebuild/bmap"
	"github.com/piimg/piimg/imagebuild/sink"
)

// bmapPath is where the block map of a node's image is published. It is the same for
// all formats, and bmaptool finds it beside any of them.
func bmapPath(dir, hostname string) string { return filepath.Join(dir, hostname+".img.bmap") }

// checkMap returns an error unless content is a block map.
func checkMap(content []byte) error {
	_, err := bmap.Decode(content)
	return err
}

// writeMaps writes the nodes' block maps. They are as private as the images: the
// digest of a block tells as much about a weak password in it as its hash does.
func (p *prepared) writeMaps(o Options, outputs []*output) ([]sink.Result, error) {
	results := make([]sink.Result, len(outputs))
	return results, parallel(o.Jobs, len(outputs), func(_, i int) error {
		content, err := outputs[i].tally.Map().Encode()
		if err != nil {
			return fmt.Errorf("%s: %w", p.hostname(i), err)
		}
		path := bmapPath(o.Out, p.hostname(i))
		results[i] = sink.Result{Path: path, Size: int64(len(content)), SHA256: sha256.Sum256(content)}
		return sink.WriteFile(path, content, 0o600)
	})
}
