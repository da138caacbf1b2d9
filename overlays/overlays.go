// Package overlays holds the files that piimg itself puts into images, as real
// files at their real paths: one folder for each purpose, in it root/ for the
// root partition.
//
// Programs begin with "#!" and become 0755 in the image, other files 0644; all
// belong to root. What differs from node to node is not here but made by the
// packages that plan.
package overlays

import (
	"embed"
	"io/fs"
)

//go:embed locale kubernetes k3s
var files embed.FS

// Locale returns the root tree that makes locales on the first boot.
func Locale() fs.FS { return sub("locale/root") }

// Kubernetes returns the root tree that makes a node of a cluster on the first boot.
func Kubernetes() fs.FS { return sub("kubernetes/root") }

// K3s returns the root tree that puts k3s into its places and starts it.
func K3s() fs.FS { return sub("k3s/root") }

// sub returns a folder of the embedded files. fs.Sub fails for unclean names only,
// and those here are constants.
func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err)
	}
	return f
}
