package raspios

import (
	"bytes"
	"io/fs"
)

// executable reports whether a file of an overlay is a program. The file systems
// of Windows do not know, so scripts and ELF programs are taken for such. A
// program that is streamed (content is nil) has to be given under files with its
// mode.
func executable(_ fs.FileMode, content []byte) bool {
	return bytes.HasPrefix(content, []byte("#!")) || bytes.HasPrefix(content, []byte("\x7fELF"))
}
