package source

import (
	"errors"
	"io"
)

// writeSparse writes data at off, but for runs of zeros, which it leaves out:
// they become holes where nothing was before.
func writeSparse(w io.WriterAt, off int64, data []byte) error {
	return deliver(off, data, func(c Chunk) error {
		if c.Data == nil {
			return nil
		}
		_, err := w.WriteAt(c.Data, c.Off)
		return err
	})
}

func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
