// Package sink writes finished images to where the user will find them.
//
// A [Sink] receives one image from front to back and hides it under a temporary
// name until all of it is on the disk: [Sink.Finish] makes the bytes durable,
// [Sink.Publish] gives them their final name. Whatever goes wrong before that,
// [Sink.Abort] leaves nothing behind. Formats differ only in what they do with
// the bytes; so far there is one, the raw image ([CreateRaw]).
package sink

import "fmt"

// Sink takes the consecutive pieces of one image. It is used by one goroutine
// at a time.
type Sink interface {
	// Write takes the image's next bytes. It does not keep p.
	Write(p []byte) (int, error)
	// Zeros says that the image's next n bytes are zero.
	Zeros(n int64) error
	// Finish ends the image: everything is flushed to the disk. The file
	// still has its temporary name.
	Finish() (Result, error)
	// Publish gives a finished file its final name, in place of what had it.
	Publish() error
	// Abort closes and removes what has not been published. It may be called
	// at any time and more than once.
	Abort()
}

// Result describes a finished file.
type Result struct {
	Path   string   // the final path
	Size   int64    // of the file, in bytes
	SHA256 [32]byte // of the file
}

// SpaceError says that a folder's file system has too little room.
type SpaceError struct {
	Dir        string
	Need, Free int64 // bytes
	Err        error // what the operating system said, if it was found out the hard way
}

func (e *SpaceError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: the disk is full: %v; free some space or choose another folder with --out", e.Dir, e.Err)
	}
	return fmt.Sprintf("%s: %s are needed and %s are free: free some space or choose another folder with --out",
		e.Dir, mib(e.Need), mib(e.Free))
}

func (e *SpaceError) Unwrap() error { return e.Err }

// mib prints a number of bytes as the user reads it in a file manager.
func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
