package hostfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ReadSmall returns the content of a regular file of at most that many bytes. A pipe
// or a device is refused without being opened, for its end might be waited for
// forever; so is a larger file, which nothing is to be made of in memory.
func ReadSmall(path string, most int64) ([]byte, error) {
	refuse := func(format string, args ...any) ([]byte, error) {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf(format, args...)}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return refuse("it is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() <= most { // one that grows is cut off, and then too large
		content, err := io.ReadAll(io.LimitReader(f, most+1))
		if err != nil || int64(len(content)) <= most {
			return content, err
		}
	}
	return refuse("it has more than %d bytes, which are the most that is read", most)
}
