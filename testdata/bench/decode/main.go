// Command decode is what ../run.sh measures beside xz -dc: it unpacks a packed image
// from end to end on two decoders, and keeps nothing of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/piimg/piimg/imagebuild/source"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "decode:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) != 1 {
		return errors.New("usage: decode IMAGE")
	}
	ctx := context.Background()
	image, err := source.Open(ctx, args[0], source.Options{Workers: 2})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	var n int64
	err = image.Scan(ctx, func(c source.Chunk) error {
		n += c.Len
		return nil
	})
	if err == nil && n != image.Size() {
		err = fmt.Errorf("%d bytes came of %d", n, image.Size())
	}
	return err
}
