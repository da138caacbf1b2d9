// Package imagebuild turns one Raspberry Pi OS image and one nodes.yaml into a
// ready image for every node. It is the façade over the packages below it and
// the only one that a program needs to know: [Build] makes images, [Plan] says
// what Build would change, [Inspect] says what an image is, [Check] what is wrong with
// it, and [Verify] whether all that a build made is still what it was.
//
// The way of the data is one direction. nodes.yaml, the secrets and the facts
// read from the base image become plans, which are data; everything that can be
// wrong with them is reported before a byte is written. The edits that all nodes
// share are applied once, to a copy-on-write layer over the base; each node's own
// go to a layer over that one. Then a single pass over the base feeds all nodes'
// outputs, which appear under their names only when all of them are complete.
//
// The outcome depends on nothing but the inputs: no clock, no randomness, no
// number of workers.
package imagebuild

import (
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/piimg/piimg/imagebuild/secrets"
)

// Options says what to build, and how. The zero value of a field is its default.
type Options struct {
	NodesFile   string // path of nodes.yaml; default "nodes.yaml"
	SecretsFile string // path of secrets.yaml; default: beside nodes.yaml
	// SecretsContent is used in the place of a secrets file, if it is not nil.
	SecretsContent []byte
	// Unlock opens encrypted secrets.
	Unlock secrets.Unlock
	// NoCreateSecrets makes Build fail if there are no secrets, instead of making some.
	NoCreateSecrets bool
	Out             string // folder for the images; default "dist"
	// Only are the hostnames to build; default: all. Plans are made and checked
	// for all nodes in any case.
	Only []string
	// Shard is the slice of these nodes to build; default: all of it.
	Shard Shard
	// Format is how images are packed; default FormatImg: not at all.
	Format string
	// Jobs is how many images or blocks are worked on at once; default: one for
	// each processor. It changes how long a build takes, never what it makes.
	Jobs int
	// Force lets existing files be replaced that are no earlier output of the
	// same node.
	Force bool
	// CheckAgainst is the folder of an earlier build, or "": Build fails, and publishes
	// nothing, if any byte of what it made differs from it.
	CheckAgainst string
	// CacheDir holds downloads and unpacked images; default: the user's cache folder.
	CacheDir string
	// Version is written into the images' piimg-node.txt.
	Version string
	// Time is the time of everything that a build changes; default: the time
	// at which the base image was made.
	Time time.Time
	// Client makes the requests of ArtifactsPull; default: one that finds its proxy
	// in the environment.
	Client *http.Client
	// Env looks environment variables up; default: os.LookupEnv.
	Env func(string) (string, bool)
	// Notice is told what the user should know, one matter at a time: a sentence, or
	// several lines without a newline at the end.
	Notice func(string)
	// Progress is told how far a long step has come, in bytes. A step has ended
	// when done equals total; total is -1 where it is not known. Calls overlap neither
	// each other nor those of Notice.
	Progress func(step string, done, total int64)

	batch int // how many images to write at once; 0: as many as fit
}

func (o Options) withDefaults() Options {
	if o.NodesFile == "" {
		o.NodesFile = "nodes.yaml"
	}
	if o.Out == "" {
		o.Out = "dist"
	}
	o.Out = filepath.Clean(o.Out) // as all paths in it will be
	if o.Format == "" {
		o.Format = FormatImg
	}
	if o.Jobs <= 0 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
	// The base image is read, and its digest computed, by several goroutines.
	var one sync.Mutex
	notice, progress := o.Notice, o.Progress
	o.Notice = func(text string) {
		if notice != nil {
			one.Lock()
			defer one.Unlock()
			notice(text)
		}
	}
	o.Progress = func(step string, done, total int64) {
		if progress != nil {
			one.Lock()
			defer one.Unlock()
			progress(step, done, total)
		}
	}
	return o
}
