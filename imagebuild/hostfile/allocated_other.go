//go:build !unix

package hostfile

import "os"

func allocated(info os.FileInfo) int64 { return info.Size() }
